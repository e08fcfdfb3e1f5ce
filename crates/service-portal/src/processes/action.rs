//! An action that a page or a program asks for.

use std::path::PathBuf;
use std::time::Duration;

use kit::duration::words;
use process_control::{Action, Outcome, Program, Refusal};
use serde::Deserialize;

use super::programs;
use crate::api::processes::{ACTIONS, ask};
use crate::app_state::AppState;
use crate::client::Client;
use crate::requester;

/// Time after which a response is taken for sent: nothing reports that.
const RESPONSE_TIME: Duration = Duration::from_millis(400);

/// Programs through which the requester may be connected: their end would end the request that asks for it.
const IN_BETWEEN: [&str; 4] = ["caddy", "serviceportal", "cloudflared", "quicktunnel"];

/// An action on a program or a group.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct ActionRequest {
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

    pub fn from_json(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

pub fn parse_action(name: &str) -> Option<Action> {
    [Action::Start, Action::Stop, Action::Restart].into_iter().find(|action| action.to_string() == name)
}

pub struct Performed {
    pub outcome: Outcome,
    /// True if the action was only begun, because it cuts the connection over which it was requested.
    pub is_detached: bool,
}

impl Performed {
    /// Returns the class of the message.
    pub fn class(&self) -> &'static str {
        match (self.outcome.ok, self.outcome.finished) {
            (true, _) => "good",
            (false, true) => "bad",
            (false, false) => "busy",
        }
    }
}

impl From<Refusal> for Performed {
    fn from(Refusal { message, .. }: Refusal) -> Self {
        let outcome = Outcome { ok: false, finished: true, message, programs: Vec::new() };
        Self { outcome, is_detached: false }
    }
}

/// Carries out an action of the owner. One that cuts connections is only begun, so that there is a response to it.
pub async fn perform(
    state: &AppState,
    client: Client<'_>,
    action: Action,
    name: &str,
) -> Result<Performed, Refusal> {
    let is_detached = cuts_connections(&programs(state).await?, action, name);
    let (requester, target) = (requester::describe(state, client), name.to_owned());
    let act = move |socket: PathBuf| process_control::act(&socket, action, &target, &requester);
    if !is_detached {
        return Ok(Performed { outcome: ask(state, &ACTIONS, act).await?, is_detached });
    }
    let state = state.clone();
    tokio::spawn(async move {
        tokio::time::sleep(RESPONSE_TIME).await;
        ask(&state, &ACTIONS, act).await
    });
    let message = format!("{action} of {name} has begun; connections are interrupted");
    Ok(Performed {
        outcome: Outcome { ok: false, finished: false, message, programs: Vec::new() },
        is_detached,
    })
}

/// True if an action that is possible ends connections to the portal.
fn cuts_connections(programs: &[Program], action: Action, name: &str) -> bool {
    let is_possible = |program: &Program| {
        program.action.is_none()
            && match action {
                Action::Start => false,
                Action::Stop => program.can_stop,
                Action::Restart => program.can_restart,
            }
    };
    let is_in_between = |program: &Program| {
        // A program of the user has no description.
        let is_own = program.description.is_some() && program.pid.is_some();
        is_own && IN_BETWEEN.contains(&program.name.rsplit(':').next().unwrap_or_default())
    };
    meant(programs, name).all(is_possible) && meant(programs, name).any(is_in_between)
}

/// Returns the consequence of an action on these programs that the user should confirm.
pub fn caution<'a>(programs: impl IntoIterator<Item = &'a Program>, action: Action) -> Option<String> {
    let runs = |program: &&Program| action != Action::Start && program.pid.is_some();
    let running: Vec<&Program> = programs.into_iter().filter(runs).collect();
    let of_user = || running.iter().filter(|program| program.description.is_none());
    let lost = || {
        let uptime = words(of_user().filter_map(|program| program.uptime).max()?);
        Some(match of_user().count() {
            1 => format!("It has run for {uptime}; its work and its connections are lost."),
            _ => format!("They have run for up to {uptime}; their work and their connections are lost."),
        })
    };
    running.iter().find_map(|program| program.caution.clone()).or_else(lost)
}

/// Returns the program of this name, or those of `GROUP:*`.
pub fn meant<'a>(programs: &'a [Program], name: &'a str) -> impl Iterator<Item = &'a Program> {
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
    }

    #[test]
    fn what_is_lost_is_said_and_only_the_end_of_a_program_in_between_cuts_connections() {
        let program = |group: &str, name: &str, pid: Option<u32>, of_image: bool| Program {
            name: if group == name { name.to_owned() } else { format!("{group}:{name}") },
            group: group.to_owned(),
            pid,
            uptime: pid.map(|_| 7_200),
            can_stop: name != "caddy",
            can_restart: true,
            description: of_image.then(String::new),
            ..Program::default()
        };
        let in_progress =
            Program { action: Some(Action::Restart), ..program("busy", "cloudflared", Some(7), true) };
        let of_base = [
            in_progress,
            program("cloudflared", "cloudflared", Some(1), true),
            program("quicktunnel", "quicktunnel", None, true),
            program("sshd", "sshd", Some(2), true),
            program("web", "caddy", Some(3), true),
            program("web", "mine", Some(4), false),
        ];
        let of_user = [program("mine", "caddy", Some(5), false), program("mine", "b", Some(6), false)];
        let programs = [&of_base[..], &of_user[..]].concat();
        for (name, cut) in [
            ("cloudflared", "stop restart"),
            ("busy:cloudflared", ""),
            ("quicktunnel", ""),
            ("sshd", ""),
            ("web:caddy", "restart"),
            ("web:*", "restart"),
            ("web:mine", ""),
            ("mine:caddy", ""),
            ("mine:*", ""),
            ("caddy", ""),
        ] {
            let cuts = [Action::Start, Action::Stop, Action::Restart]
                .into_iter()
                .filter(|action| cuts_connections(&programs, *action, name))
                .map(|action| action.to_string());
            assert_eq!(cuts.collect::<Vec<_>>().join(" "), cut, "{name}");
        }
        let caution = |name: &str, action| caution(meant(&programs, name), action);
        assert_eq!(
            caution("mine:b", Action::Stop).as_deref(),
            Some("It has run for 2 h; its work and its connections are lost.")
        );
        assert_eq!(
            caution("mine:*", Action::Restart).as_deref(),
            Some("They have run for up to 2 h; their work and their connections are lost.")
        );
        assert_eq!((caution("mine:b", Action::Start), caution("sshd", Action::Stop)), (None, None));
    }
}
