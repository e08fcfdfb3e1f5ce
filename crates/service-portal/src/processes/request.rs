//! An action that a page asks for.

use std::time::Duration;

use process_control::{Action, Program};
use serde::Deserialize;

/// Time after which a response to the browser is taken for sent.
pub const RESPONSE_TIME: Duration = Duration::from_millis(400);

/// Programs through which the visitor may be connected: their restart would end the request that asks for it.
const IN_BETWEEN: [&str; 4] = ["caddy", "serviceportal", "cloudflared", "quicktunnel"];

/// An action on a program or a group.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct ActionRequest {
    /// Change.
    pub action: Action,
    /// Name of a program, or `GROUP:*`.
    pub name: String,
    /// True if the user has confirmed the consequence.
    #[serde(default)]
    pub confirmed: bool,
}

impl ActionRequest {
    /// Reads the fields of a form.
    pub fn from_form(body: &[u8]) -> Option<Self> {
        let field = |wanted: &str| {
            let mut fields = form_urlencoded::parse(body);
            fields.find_map(|(name, value)| (name == wanted).then(|| value.into_owned()))
        };
        Some(Self {
            action: parse_action(&field("action")?)?,
            name: field("name")?,
            confirmed: field("confirmed").is_some(),
        })
    }

    /// Reads JSON.
    pub fn from_json(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

/// Returns the action of this name.
pub fn parse_action(name: &str) -> Option<Action> {
    [Action::Start, Action::Stop, Action::Restart].into_iter().find(|action| action.to_string() == name)
}

/// True if stopping or restarting these programs ends connections to the portal.
pub fn cuts_connections(programs: &[Program], name: &str) -> bool {
    let is_in_between = |name: &str| IN_BETWEEN.contains(&name.rsplit(':').next().unwrap_or(name));
    is_in_between(name) || meant(programs, name).any(|program| is_in_between(&program.name))
}

/// Returns the consequence of a stop or restart that the user should confirm.
pub fn caution(programs: &[Program], name: &str) -> Option<String> {
    meant(programs, name).find_map(|program| program.caution.clone())
}

/// Returns the program of this name, or those of `GROUP:*`.
fn meant<'a>(programs: &'a [Program], name: &'a str) -> impl Iterator<Item = &'a Program> {
    programs.iter().filter(move |program| match name.strip_suffix(":*") {
        Some(group) => program.group == group,
        None => program.name == name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_names_an_action_and_a_program() {
        let request =
            |action, name: &str, confirmed| Some(ActionRequest { action, name: name.to_owned(), confirmed });
        for (form, expected) in [
            ("action=stop&name=a%3A*", request(Action::Stop, "a:*", false)),
            ("name=%3Cb%3E&action=restart&confirmed=yes", request(Action::Restart, "<b>", true)),
            ("name=a&action=stop&next=//evil", request(Action::Stop, "a", false)),
            ("name=a&action=kill", None),
            ("name=a", None),
            ("action=stop", None),
            ("", None),
        ] {
            assert_eq!(ActionRequest::from_form(form.as_bytes()), expected, "{form}");
        }
        let json = r#"{"action":"start","name":"a"}"#;
        assert_eq!(ActionRequest::from_json(json.as_bytes()), request(Action::Start, "a", false));
        assert_eq!(ActionRequest::from_json(br#"{"action":"START","name":"a"}"#), None);
        let moved = Program { name: "web:caddy".into(), group: "web".into(), ..Program::default() };
        let cuts = |name: &str| cuts_connections(std::slice::from_ref(&moved), name);
        assert!(cuts("caddy") && cuts("web:caddy") && cuts("web:*") && !cuts("mine:*") && !cuts("mine"));
    }
}
