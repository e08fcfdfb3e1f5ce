//! The login of the web services: its file, and the variables that sessions have of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Result;
use kit::{SettingsReader, variables};
use uzers::get_user_by_name;
use web_login::Login;

use crate::context::{Context, stored};
use crate::finding::Finding;

// set-web-credentials changes a login; init creates one.
const REMEDY: &str = "restart the container: docker restart NAME";

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    if !SettingsReader::new(&context.env).switch(&variables::WEB_ENABLE_AUTH) {
        return Ok(vec![Finding::skip("the login is disabled (WEB_ENABLE_AUTH=false)")]);
    }
    if !context.is_root {
        let is_stored = stored("WEB_TOKEN").is_some() && stored("WEB_PASSWORD").is_some();
        return Ok(vec![if is_stored {
            Finding::pass("sessions have it")
        } else {
            Finding::warn("the environment store has no login, or cannot be read by this user", "id -nG")
        }]);
    }
    let path = web_login::path();
    if let Some(finding) = unreadable(path) {
        return Ok(vec![finding]);
    }
    Ok(vec![match Login::read(Path::new(path)) {
        Ok(Some(login)) => in_step(&login, stored),
        Ok(None) => Finding::fail(format!("{path} is missing: no one can log in"), REMEDY),
        Err(error) => Finding::fail(format!("no one can log in: {error:#}"), REMEDY),
    }])
}

/// Returns the fault of a login that the portal cannot read, which root can.
pub fn unreadable(path: &str) -> Option<Finding> {
    let meta = fs::symlink_metadata(path).ok()?;
    let portal = get_user_by_name("portal")?;
    let is_readable = meta.uid() == portal.uid() && meta.mode() & 0o400 != 0;
    let seen = format!("the portal cannot read {path}: from its next start on, no one can log in");
    (!is_readable).then(|| Finding::fail(seen, format!("sudo chown portal {path}; sudo chmod 0600 {path}")))
}

/// Compares the login with the variables that new sessions get.
fn in_step(login: &Login, stored: impl Fn(&str) -> Option<String>) -> Finding {
    let variables = login.env_variables();
    let differ: Vec<&str> = variables
        .iter()
        .filter(|(name, value)| stored(name).as_ref() != Some(value))
        .map(|(name, _)| *name)
        .collect();
    if differ.is_empty() {
        return Finding::pass("readable, and the same in new sessions");
    }
    let seen = format!("new sessions have another {} than the portal", differ.join(", "));
    Finding::warn(seen, "sudo set-web-credentials USER")
}

#[cfg(test)]
mod tests {
    use kit::Secret;

    use super::*;

    #[test]
    fn sessions_with_another_login_are_noticed_without_its_secrets() {
        let login = Login {
            user: "ada".into(),
            password: Secret::new("secret-1").unwrap(),
            token: Secret::new("secret-2").unwrap(),
            instance: "a".into(),
            asked: String::new(),
        };
        let same = |name: &str| {
            let of_login = login.env_variables();
            of_login.iter().find(|(own, _)| *own == name).map(|(_, value)| value.clone())
        };
        assert_eq!(in_step(&login, same), Finding::pass("readable, and the same in new sessions"));
        let other = |name: &str| if name == "WEB_TOKEN" { Some("secret-3".into()) } else { same(name) };
        assert_eq!(
            in_step(&login, other),
            Finding::warn(
                "new sessions have another WEB_TOKEN than the portal",
                "sudo set-web-credentials USER"
            )
        );
    }
}
