//! The login of the web services: the file that holds it, and the variables that show it.
//!
//! `init` settles it at a start, `set-web-credentials` changes it later, the portal compares with it. The file is replaced
//! atomically and read again whenever it has changed, so a change needs no restart of anything.

mod generate;

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kit::atomic::{self, WriteOptions};
use kit::{ReadPolicy, Secret};
use serde::{Deserialize, Serialize};

pub use generate::{instance, password, token};

/// Readable by the portal, which compares, and by root; by nobody else.
pub const PATH: &str = "/opt/leonardo/etc/web_credentials.json";
/// Where `init` keeps the login if it cannot write [`PATH`], because something is mounted there or the disk is full.
pub const FALLBACK_PATH: &str = "/run/leonardo/web_credentials.json";
/// Longest name of a user, in bytes.
const LONGEST_USER: usize = 255;
/// Longest password or token, in bytes: every program gets them in variables, and browsers send them in a header.
const LONGEST_SECRET: usize = 4096;
/// Longest of the other fields, in bytes.
const LONGEST_WORD: usize = 128;
/// All fields with every byte escaped as JSON need less.
const LARGEST: u64 = 64 * 1024;

/// Returns the path of the login that is in force.
#[must_use]
pub fn path() -> &'static str {
    if Path::new(FALLBACK_PATH).exists() { FALLBACK_PATH } else { PATH }
}

/// User, password and token, none of them empty, and what belongs to them.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user's name, which is no secret.
    pub user: String,
    /// The password of the form and of HTTP Basic.
    pub password: Secret,
    /// The token of HTTP Bearer.
    pub token: Secret,
    /// Tells this container's session cookie from those of its neighbours on the same address.
    pub instance: String,
    /// What the container's environment asked for when this was settled, as a digest: a change that was made since
    /// then stays until the environment asks for something else.
    pub asked: String,
}

#[derive(Serialize, Deserialize)]
struct LoginFile {
    web_user: String,
    web_password: String,
    web_token: String,
    instance: String,
    #[serde(default)]
    asked: String,
}

impl Login {
    /// Reads the file; nothing if there is none. An empty secret or a damaged file is an error that quotes nothing.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        // The portal's account owns it, and must not decide what root reads.
        let Some(bytes) = ReadPolicy::max_size(LARGEST).no_follow().read_if_exists(path)? else {
            return Ok(None);
        };
        Self::parse(&bytes)
            .map(Some)
            .with_context(|| format!("cannot read the login from {}", path.display()))
    }

    /// Replaces the file unless it already says this; the portal's account gets it and nobody else may read it.
    pub fn write(&self, path: &Path, portal: (u32, u32)) -> Result<bool> {
        let written = LoginFile {
            web_user: self.user.clone(),
            web_password: self.password.expose().to_owned(),
            web_token: self.token.expose().to_owned(),
            instance: self.instance.clone(),
            asked: self.asked.clone(),
        };
        let placement = WriteOptions::durable(0o600).owned_by(portal.0, portal.1);
        atomic::write_if_changed(path, &serde_json::to_vec(&written)?, placement)
    }

    /// The variables in which every session finds the login: `env | grep WEB_`.
    #[must_use]
    pub fn env_variables(&self) -> [(&'static str, String); 4] {
        let (user, password) = (self.user.as_str(), self.password.expose());
        [
            ("WEB_USER", user.to_owned()),
            ("WEB_PASSWORD", password.to_owned()),
            // On one line, because this is what HTTP Basic sends (RFC 7617).
            ("WEB_PASSWORD_B64", STANDARD.encode(format!("{user}:{password}"))),
            ("WEB_TOKEN", self.token.expose().to_owned()),
        ]
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        // The parser's own message could repeat a part of the password.
        let written: LoginFile = serde_json::from_slice(bytes).map_err(|_| anyhow!("not a login"))?;
        let secret = |name: &str, text: String| {
            check_secret(&text).map_err(|problem| anyhow!("{name} {problem}"))?;
            Secret::new(text).with_context(|| format!("{name} is empty"))
        };
        check_user(&written.web_user).map_err(|problem| anyhow!("web_user {problem}"))?;
        let is_word =
            |text: &str| text.len() <= LONGEST_WORD && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if written.instance.is_empty() || !is_word(&written.instance) || !is_word(&written.asked) {
            bail!("instance or asked is not a word");
        }
        Ok(Self {
            user: written.web_user,
            password: secret("web_password", written.web_password)?,
            token: secret("web_token", written.web_token)?,
            instance: written.instance,
            asked: written.asked,
        })
    }
}

/// Refuses user names that a form, a header or a shell file could not carry; says what is wrong.
pub fn check_user(name: &str) -> std::result::Result<(), &'static str> {
    if name.trim().is_empty() {
        Err("is empty")
    } else if name.len() > LONGEST_USER {
        Err("is longer than 255 bytes")
    } else if name.contains(':') {
        // HTTP Basic sends user:password (RFC 7617), so a colon would move the border.
        Err("has a colon")
    } else if name.chars().any(char::is_control) {
        Err("has control characters")
    } else {
        Ok(())
    }
}

/// Refuses passwords and tokens that a variable, a header or a form could not carry, or that a terminal would obey; says
/// what is wrong.
pub fn check_secret(text: &str) -> std::result::Result<(), &'static str> {
    if text.chars().any(char::is_control) {
        Err("has control characters")
    } else if text.len() > LONGEST_SECRET {
        Err("is longer than 4,096 bytes")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        Login {
            user: "ada".into(),
            password: Secret::new("pass:word").unwrap(),
            token: Secret::new("tok*").unwrap(),
            instance: "0badcafe".into(),
            asked: "digest".into(),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("login.json");
        let ids = (nix_uid(dir.path()), nix_gid(dir.path()));
        assert!(Login::read(&path).unwrap().is_none());
        assert!(login().write(&path, ids).unwrap());
        assert!(!login().write(&path, ids).unwrap(), "an unchanged login is not written again");
        let read = Login::read(&path).unwrap().unwrap();
        assert_eq!(read.env_variables(), login().env_variables());
        assert_eq!((read.instance.as_str(), read.asked.as_str()), ("0badcafe", "digest"));
    }

    #[test]
    fn basic_carries_user_and_password_on_one_line() {
        let long = Login { password: Secret::new("p".repeat(100)).unwrap(), ..login() };
        let [_, _, (name, encoded), _] = long.env_variables();
        assert_eq!(
            (name, STANDARD.decode(encoded).unwrap()),
            ("WEB_PASSWORD_B64", format!("ada:{}", "p".repeat(100)).into())
        );
    }

    #[test]
    fn an_empty_secret_or_a_damaged_file_is_refused_and_not_quoted() {
        for (user, password, token, problem) in [
            ("u", "", "t", "web_password is empty"),
            ("u", "p", "", "web_token is empty"),
            ("", "p", "t", "web_user is empty"),
        ] {
            let text = format!(
                r#"{{"web_user":"{user}","web_password":"{password}","web_token":"{token}","instance":"a"}}"#
            );
            assert_eq!(Login::parse(text.as_bytes()).unwrap_err().to_string(), problem);
        }
        assert_eq!(Login::parse(br#"{"web_password": hunter2"#).unwrap_err().to_string(), "not a login");
    }

    #[test]
    fn what_its_owner_may_put_into_the_file_is_refused_and_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("login.json");
        let long = |field: &str, length: usize| {
            let mut login = serde_json::json!({"web_user": "u", "web_password": "p", "web_token": "t", "instance": "a", "asked": ""});
            login[field] = "x".repeat(length).into();
            login.to_string()
        };
        for (text, problem) in [
            ("\0".to_owned(), "not a login"),
            (long("web_token", 3 << 20), "it is larger than 65.5 kB"),
            (long("web_user", 256), "web_user is longer than 255 bytes"),
            (long("web_password", 4097), "web_password is longer than 4,096 bytes"),
            (long("web_token", 4097), "web_token is longer than 4,096 bytes"),
            (long("instance", 129), "instance or asked is not a word"),
            (long("asked", 129), "instance or asked is not a word"),
            (
                long("web_password", 1).replace(r#""x""#, r#""a\u0000b""#),
                "web_password has control characters",
            ),
            (long("web_token", 1).replace(r#""x""#, r#""a\u001b[2Jb""#), "web_token has control characters"),
            (long("web_token", 1).replace(r#""x""#, r#""a\nb""#), "web_token has control characters"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = format!("{:#}", Login::read(&path).unwrap_err());
            assert!(error.starts_with("cannot read ") && error.ends_with(problem), "{error}");
        }
        std::fs::File::create(&path).unwrap().set_len(3 << 30).unwrap();
        assert!(Login::read(&path).unwrap_err().to_string().ends_with("it is larger than 65.5 kB"));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(Login::read(&path).unwrap_err().to_string().ends_with("not a regular file"));
        let most = Login {
            password: Secret::new("\"".repeat(4096)).unwrap(),
            token: Secret::new("\"".repeat(4096)).unwrap(),
            ..login()
        };
        std::fs::remove_file(&path).unwrap();
        most.write(&path, (nix_uid(dir.path()), nix_gid(dir.path()))).unwrap();
        assert!(Login::read(&path).unwrap().is_some(), "what can be written can be read");
    }

    fn nix_uid(path: &Path) -> u32 {
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(path).unwrap())
    }

    fn nix_gid(path: &Path) -> u32 {
        std::os::unix::fs::MetadataExt::gid(&std::fs::metadata(path).unwrap())
    }
}
