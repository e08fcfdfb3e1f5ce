//! The web login: the requested one, else the stored one, else a generated one.

use std::path::Path;

use anyhow::Result;
use kit::{Problem, Secret};
use web_login::Login;

use crate::accounts;
use crate::digest;
use crate::note_failure;
use crate::settings::WebSettings;

const ABOUT: &str = "web login";

/// Determines the login and stores it; a damaged file is reported and replaced.
pub fn ensure(given: &WebSettings, problems: &mut Vec<Problem>) -> Result<Login> {
    let kept = Login::read(Path::new(web_login::path())).unwrap_or_else(|error| {
        problems.push(Problem::new(ABOUT, format!("{error:#}; creating a new login")));
        None
    });
    let settled = choose_login(given, kept, &KernelRandom)?;
    let portal = accounts::user_id("portal")?;
    let [path, fallback] = [web_login::PATH, web_login::FALLBACK_PATH].map(Path::new);
    keep(&settled, path, fallback, (portal.uid, portal.gid), problems);
    Ok(settled)
}

/// Writes the login, or to the fallback path if its own cannot be written: without a file, no login is possible.
fn keep(login: &Login, path: &Path, fallback: &Path, portal: (u32, u32), problems: &mut Vec<Problem>) {
    let Err(error) = login.write(path, portal) else {
        return note_failure(ABOUT, kit::remove_file(fallback), problems);
    };
    let message = match login.write(fallback, portal) {
        Ok(_) => {
            format!(
                "{error:#}; saved to {} instead; it is lost when the container is removed",
                fallback.display()
            )
        }
        Err(other) => format!("{error:#}; {other:#}; nobody can log in"),
    };
    problems.push(Problem::new(ABOUT, message));
}

/// Source of new secrets; tests replace it.
trait SecretSource {
    fn password(&self) -> Result<String>;
    fn token(&self) -> Result<String>;
    fn instance(&self) -> Result<String>;
}

struct KernelRandom;

impl SecretSource for KernelRandom {
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

/// Chooses the login. Requested values win over stored ones, but only once: `set-web-credentials` may change them
/// afterwards, and a restart with the same request does not undo that.
fn choose_login(given: &WebSettings, kept: Option<Login>, source: &impl SecretSource) -> Result<Login> {
    let asked = request_digest(given);
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

/// Returns a digest of the requested login, to detect a changed request without storing it.
pub fn request_digest(given: &WebSettings) -> String {
    let [password, token] =
        [&given.password, &given.token].map(|given| given.as_ref().map_or("", Secret::expose));
    digest::of_parts([&given.user, password, token])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Fixed;

    impl SecretSource for Fixed {
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

    fn web(password: &str, token: &str) -> WebSettings {
        WebSettings {
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
    fn where_the_file_cannot_be_written_another_is_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let (path, fallback) = (dir.path().join("login"), dir.path().join("fallback"));
        let login = choose_login(&web("given", "t"), None, &Fixed).unwrap();
        let owner = (0, 0);
        let problems = |login: &Login| {
            let mut problems = Vec::new();
            keep(login, &path, &fallback, owner, &mut problems);
            let text = |problem: &Problem| problem.to_string().replace(dir.path().to_str().unwrap(), "");
            problems.iter().map(text).collect::<Vec<_>>()
        };
        fs::create_dir(&path).unwrap();
        let expected = "web login: cannot write /login: Is a directory (os error 21); saved to /fallback instead; it is \
                        lost when the container is removed";
        assert_eq!(problems(&login), [expected]);
        assert_eq!(shown(&Login::read(&fallback).unwrap().unwrap()), shown(&login));
        fs::remove_dir(&path).unwrap();
        // What the file's owner may have put in its place is replaced.
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(problems(&login), [""; 0]);
        assert_eq!(shown(&Login::read(&path).unwrap().unwrap()), shown(&login));
        assert!(!fallback.exists());
    }

    #[test]
    fn given_beats_kept_and_kept_beats_generated() {
        let generated = choose_login(&web("", ""), None, &Fixed).unwrap();
        assert_eq!(shown(&generated), ["ada", "new-password", "new-token", "new"]);
        let given = choose_login(&web("given", "t"), Some(generated.clone()), &Fixed).unwrap();
        assert_eq!(shown(&given), ["ada", "given", "t", "new"]);
        let half = choose_login(&web("", "t2"), Some(given), &Fixed).unwrap();
        assert_eq!(shown(&half), ["ada", "given", "t2", "new"]);
    }

    #[test]
    fn a_change_made_inside_survives_a_restart_until_something_else_is_asked_for() {
        let mut login = choose_login(&web("given", ""), None, &Fixed).unwrap();
        login.password = Secret::new("changed").unwrap();
        login.user = "eve".into();
        let restarted = choose_login(&web("given", ""), Some(login), &Fixed).unwrap();
        assert_eq!(shown(&restarted), ["eve", "changed", "new-token", "new"]);
        let asked_again = choose_login(&web("other", ""), Some(restarted), &Fixed).unwrap();
        assert_eq!(shown(&asked_again), ["ada", "other", "new-token", "new"]);
    }

    #[test]
    fn nothing_of_what_was_asked_for_is_kept_in_the_clear() {
        assert!(!request_digest(&web("secret", "token")).contains("secret"));
        assert_ne!(request_digest(&web("ab", "c")), request_digest(&web("a", "bc")));
    }
}
