//! Compares given settings with those of a running supervisord.

use std::ffi::OsStr;

use env_store::{Refusal, check_storable};
use kit::variables::{self, Kind, Variable};
use kit::{Env, Secret, SettingsReader};
use web_login::Login;

use crate::settings::Settings;
use crate::web_credentials;

/// Variables that `init` always sets itself.
const SETTLED: [&str; 6] =
    ["MAMBA_ROOT_PREFIX", "PATH", "WEB_PASSWORD_B64", "WORKSPACE_GID", "WORKSPACE_MOUNTED", "WORKSPACE_UID"];

/// A given setting that is not in use.
#[derive(Debug, PartialEq, Eq)]
pub struct SettingDiff {
    /// The variable.
    pub name: String,
    /// Command that applies it.
    pub remedy: String,
}

/// The settings in use.
pub struct CurrentSettings<'a> {
    /// The environment of supervisord.
    pub env: &'a Env,
    /// The login of the web services.
    pub login: Option<&'a Login>,
    /// True if the system user's password is the given one.
    pub user_password: bool,
    /// The token of the named tunnel.
    pub tunnel_token: Option<Secret>,
}

/// Returns the given settings that are not in use. A variable that is not given is not compared.
pub fn diff(given: &Env, current: &CurrentSettings<'_>) -> Vec<SettingDiff> {
    let (asked, _) = Settings::read(given);
    let (settled, _) = Settings::read(current.env);
    let same_login =
        current.login.is_some_and(|login| login.asked == web_credentials::request_digest(&asked.web));
    let agrees = |name: &str, value: &OsStr| match documented(name) {
        None => current.env.get(name) == Some(value),
        Some(_) if given.text(name).is_none() => true,
        Some(variable) => match (name, current.login) {
            ("WEB_USER" | "WEB_PASSWORD" | "WEB_TOKEN", _) if same_login => true,
            ("WEB_USER", Some(login)) => login.user == asked.web.user,
            ("WEB_PASSWORD", Some(login)) => asked
                .web
                .password
                .as_ref()
                .is_none_or(|password| password.matches(login.password.expose().as_bytes())),
            ("WEB_TOKEN", Some(login)) => {
                asked.web.token.as_ref().is_none_or(|token| token.matches(login.token.expose().as_bytes()))
            }
            ("USER_PASSWORD", _) => current.user_password || asked.user_password.is_none(),
            ("CF_TUNNEL_TOKEN", _) => asked.tunnel_token.as_ref().is_none_or(|token| {
                current.tunnel_token.as_ref().is_some_and(|now| token.matches(now.expose().as_bytes()))
            }),
            ("USER_NAME", _) => asked.user_name == settled.user_name,
            ("IMAGE_SLUG", _) => asked.image_slug == settled.image_slug,
            ("SSH_PORT", _) => asked.ssh_port == settled.ssh_port,
            ("WORKSPACE", _) => asked.workspace == settled.workspace,
            _ if variable.kind == Kind::Switch => {
                SettingsReader::new(given).switch(variable)
                    == SettingsReader::new(current.env).switch(variable)
            }
            _ => given.text(name) == current.env.text(name),
        },
    };
    given
        .iter()
        .map(|(name, value)| (name.to_string_lossy(), value))
        .filter(|(name, value)| counts(name) && !agrees(name, value))
        .map(|(name, _)| SettingDiff { remedy: remedy(&name, &asked), name: name.into_owned() })
        .collect()
}

fn documented(name: &str) -> Option<&'static Variable> {
    variables::ALL.iter().find(|variable| variable.name == name)
}

/// False for variables with a different value in every session.
fn counts(name: &str) -> bool {
    let of_a_session = matches!(check_storable(name), Err(Refusal::OfASession | Refusal::OfTheShell));
    !of_a_session && !name.starts_with("LEONARDO_") && !SETTLED.contains(&name)
}

fn remedy(name: &str, asked: &Settings) -> String {
    match name {
        "WEB_USER" | "WEB_PASSWORD" => format!("sudo set-web-credentials {}", asked.web.user),
        "USER_PASSWORD" => format!("sudo passwd {}", asked.user_name),
        "SSH_PUBKEY" | "PUBLIC_KEY" | "SSH_PUBLIC_KEY" => {
            "add the key to /root/.ssh/authorized_keys, then: supervisorctl start sshd".to_owned()
        }
        _ if documented(name).is_none() && check_storable(name).is_ok() => {
            format!("for new sessions: env-store set {name}=…")
        }
        _ => format!("create a new container with: docker run --env {name}=…"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(user: &str, password: &str) -> Login {
        Login {
            user: user.into(),
            password: Secret::new(password).unwrap(),
            token: Secret::new("token").unwrap(),
            instance: "a".into(),
            asked: String::new(),
        }
    }

    fn found(given: &[(&str, &str)], login: &Login) -> Vec<String> {
        let force = [
            ("A.B", "1"),
            ("HOME", "/root"),
            ("GREETING", "hello"),
            ("PATH", "/opt/leonardo/bin:/usr/bin"),
            ("SSH_PORT", "22"),
            ("WEB_ENABLE_AUTH", "true"),
            ("WORKSPACE", "/data/"),
            ("WORKSPACE_SYNC", "maybe"),
            ("WEB_PASSWORD", "of the start"),
        ];
        let (given, env) = (given.iter().copied().collect(), force.into_iter().collect());
        let current = CurrentSettings {
            env: &env,
            login: Some(login),
            user_password: false,
            tunnel_token: Secret::new("eyJ"),
        };
        diff(&given, &current)
            .into_iter()
            .map(|SettingDiff { name, remedy }| format!("{name}: {remedy}"))
            .collect()
    }

    #[test]
    fn what_means_the_same_agrees() {
        for (name, value) in [
            ("A.B", "1"),
            ("CF_TUNNEL_TOKEN", "eyJ\n"),
            ("GREETING", "hello"),
            ("HOME", "/home/ada"),
            ("LEONARDO_ENVIRONMENT", "x"),
            ("PATH", "/usr/bin"),
            ("SSH_PORT", "1111"),
            ("SSH_PUBKEY", " "),
            ("TERM", "xterm"),
            ("USER_PASSWORD", ""),
            ("WEB_ENABLE_AUTH", "flase"),
            ("WEB_PASSWORD", "now\n"),
            ("WEB_USER", "ada"),
            ("WORKSPACE", "/data"),
            ("WORKSPACE_SYNC", "no"),
        ] {
            assert_eq!(found(&[(name, value)], &login("ada", "now")), [""; 0], "{name}={value:?}");
        }
    }

    #[test]
    fn what_differs_is_named_with_its_remedy_and_without_its_value() {
        let keys = "add the key to /root/.ssh/authorized_keys, then: supervisorctl start sshd";
        for (name, value, remedy) in [
            ("A.B", "2", "create a new container with: docker run --env A.B=…"),
            ("CF_TUNNEL_TOKEN", "eyK", "create a new container with: docker run --env CF_TUNNEL_TOKEN=…"),
            ("GREETING", "bye", "for new sessions: env-store set GREETING=…"),
            ("NEW", "", "for new sessions: env-store set NEW=…"),
            ("SSH_PORT", "2222", "create a new container with: docker run --env SSH_PORT=…"),
            ("SSH_PUBKEY", "ssh-rsa A", keys),
            ("USER_PASSWORD", "secret", "sudo passwd user"),
            ("WEB_ENABLE_AUTH", "false", "create a new container with: docker run --env WEB_ENABLE_AUTH=…"),
            ("WEB_PASSWORD", "of the start", "sudo set-web-credentials user"),
            ("WEB_TOKEN", "other", "create a new container with: docker run --env WEB_TOKEN=…"),
            ("WEB_USER", "eve", "sudo set-web-credentials eve"),
            ("WORKSPACE", "/other", "create a new container with: docker run --env WORKSPACE=…"),
        ] {
            assert_eq!(found(&[(name, value)], &login("ada", "now")), [format!("{name}: {remedy}")]);
        }
    }

    #[test]
    fn a_login_that_was_changed_since_is_what_the_container_asks_for() {
        let given = [("WEB_USER", "ada"), ("WEB_PASSWORD", "of the start")];
        let asked = web_credentials::request_digest(&Settings::read(&given.into_iter().collect()).0.web);
        let changed = Login { asked, ..login("eve", "changed") };
        assert_eq!(found(&given, &changed), [""; 0]);
    }
}
