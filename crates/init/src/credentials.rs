//! Login of the web services: what was given, else what is there from earlier, else something new.

use std::path::Path;

use anyhow::Result;
use kit::{Problem, Secret};
use sha2::{Digest, Sha256};
use web_login::Login;

use crate::account;
use crate::settings::Web;

/// Settles the login and keeps it over restarts; a damaged file is reported and made anew.
pub fn settle(given: &Web, problems: &mut Vec<Problem>) -> Result<Login> {
    let path = Path::new(web_login::PATH);
    let kept = Login::read(path).unwrap_or_else(|error| {
        problems.push(Problem::new("web login", format!("{error:#}; it is made anew")));
        None
    });
    let settled = choose(given, kept, &Kernel)?;
    let portal = account::user_id("portal")?;
    settled.write(path, (portal.uid, portal.gid))?;
    Ok(settled)
}

/// Where new secrets come from; a test brings its own.
trait Source {
    fn password(&self) -> Result<String>;
    fn token(&self) -> Result<String>;
    fn instance(&self) -> Result<String>;
}

struct Kernel;

impl Source for Kernel {
    fn password(&self) -> Result<String> {
        web_login::password()
    }
    fn token(&self) -> Result<String> {
        web_login::token()
    }
    fn instance(&self) -> Result<String> {
        web_login::instance()
    }
}

/// What is asked for wins over what is there, once: `set-web-credentials` may change it afterwards, and a restart of the
/// same container, which asks for the same again, does not take that back.
fn choose(given: &Web, kept: Option<Login>, source: &impl Source) -> Result<Login> {
    let asked = digest(given);
    let new = |text: Result<String>| text.map(Secret::new);
    match kept {
        Some(kept) if kept.asked == asked => Ok(kept),
        Some(kept) => Ok(Login {
            user: given.user.clone(),
            password: given.password.clone().unwrap_or(kept.password),
            token: given.token.clone().unwrap_or(kept.token),
            instance: kept.instance,
            asked,
        }),
        None => Ok(Login {
            user: given.user.clone(),
            password: match given.password.clone() {
                Some(password) => password,
                None => new(source.password())?.ok_or_else(empty)?,
            },
            token: match given.token.clone() {
                Some(token) => token,
                None => new(source.token())?.ok_or_else(empty)?,
            },
            instance: source.instance()?,
            asked,
        }),
    }
}

fn empty() -> anyhow::Error {
    anyhow::anyhow!("a generated secret is empty")
}

/// Tells whether the environment asks for the same as before, without keeping what it asks for.
pub fn digest(given: &Web) -> String {
    let text = |secret: &Option<Secret>| secret.as_ref().map_or("", Secret::expose).to_owned();
    let mut digest = Sha256::new();
    for part in [given.user.clone(), text(&given.password), text(&given.token)] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Source for Fixed {
        fn password(&self) -> Result<String> {
            Ok("new-password".into())
        }
        fn token(&self) -> Result<String> {
            Ok("new-token".into())
        }
        fn instance(&self) -> Result<String> {
            Ok("new".into())
        }
    }

    fn web(password: &str, token: &str) -> Web {
        Web {
            enable_auth: true,
            enable_https: false,
            user: "ada".into(),
            password: Secret::new(password),
            token: Secret::new(token),
        }
    }

    fn shown(login: &Login) -> [&str; 4] {
        [&login.user, login.password.expose(), login.token.expose(), &login.instance]
    }

    #[test]
    fn given_beats_kept_and_kept_beats_generated() {
        let generated = choose(&web("", ""), None, &Fixed).unwrap();
        assert_eq!(shown(&generated), ["ada", "new-password", "new-token", "new"]);
        let given = choose(&web("given", "t"), Some(generated.clone()), &Fixed).unwrap();
        assert_eq!(shown(&given), ["ada", "given", "t", "new"]);
        let half = choose(&web("", "t2"), Some(given), &Fixed).unwrap();
        assert_eq!(shown(&half), ["ada", "given", "t2", "new"]);
    }

    #[test]
    fn a_change_made_inside_survives_a_restart_until_something_else_is_asked_for() {
        let mut login = choose(&web("given", ""), None, &Fixed).unwrap();
        login.password = Secret::new("changed").unwrap();
        login.user = "eve".into();
        let restarted = choose(&web("given", ""), Some(login), &Fixed).unwrap();
        assert_eq!(shown(&restarted), ["eve", "changed", "new-token", "new"]);
        let asked_anew = choose(&web("other", ""), Some(restarted), &Fixed).unwrap();
        assert_eq!(shown(&asked_anew), ["ada", "other", "new-token", "new"]);
    }

    #[test]
    fn nothing_of_what_was_asked_for_is_kept_in_the_clear() {
        assert!(!digest(&web("secret", "token")).contains("secret"));
        assert_ne!(digest(&web("ab", "c")), digest(&web("a", "bc")));
    }
}
