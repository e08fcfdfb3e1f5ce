//! Login of the web services: its file, its checks and its environment variables.
//!
//! `init` creates it when the container starts, `set-web-credentials` changes it, and the portal checks visitors against
//! it. The file is replaced atomically and reread whenever it has changed, so a change needs no restart.

mod generate;

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kit::atomic::{self, WriteOptions};
use kit::{ReadPolicy, Secret};
use serde::{Deserialize, Serialize};

pub use generate::{instance, password, token};

/// Path of the login; only the portal's account and root can read it.
pub const PATH: &str = "/opt/leonardo/etc/web_credentials.json";
/// Path that `init` uses if it cannot write [`PATH`]: a mount is in the way, or the disk is full.
pub const FALLBACK_PATH: &str = "/run/leonardo/web_credentials.json";
/// Maximum length of a user name, in bytes.
const MAX_USER_LENGTH: usize = 255;
/// Maximum length of a password or token, in bytes: environment variables and request headers carry them.
const MAX_SECRET_LENGTH: usize = 4096;
/// Maximum length of the other fields, in bytes.
const MAX_WORD_LENGTH: usize = 128;
/// Maximum size of the file, in bytes: more than all fields need with every byte escaped.
const MAX_BYTES: u64 = 64 * 1024;

/// Returns the path of the current login: [`FALLBACK_PATH`] if it exists, else [`PATH`].
#[must_use]
pub fn path() -> &'static str {
    if Path::new(FALLBACK_PATH).exists() { FALLBACK_PATH } else { PATH }
}

/// User, password and token of the web services, none of them empty.
#[derive(Debug, Clone)]
pub struct Login {
    /// User name, which is not secret.
    pub user: String,
    /// Password for the login form and HTTP Basic.
    pub password: Secret,
    /// Token for HTTP Bearer.
    pub token: Secret,
    /// Id in the name of this container's session cookie, because other containers on the address share its cookies.
    pub instance: String,
    /// Digest of the login settings in the container's environment when this login was created. A later change is kept
    /// until these settings change.
    pub asked: String,
}

/// Content of the file.
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
    /// Reads the login; `None` if there is no file. Errors do not quote the content.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        // No link is followed: the portal's account owns the file, and must not choose what root reads.
        let Some(bytes) = ReadPolicy::max_size(MAX_BYTES).no_follow().read_if_exists(path)? else {
            return Ok(None);
        };
        Self::parse(&bytes)
            .map(Some)
            .with_context(|| format!("cannot read the login from {}", path.display()))
    }

    /// Replaces the file unless its content is the same, with `portal` (user and group id) as its owner and mode 0600.
    /// Returns true if the content changed.
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

    /// Returns the environment variables that every session gets: `env | grep WEB_`.
    #[must_use]
    pub fn env_variables(&self) -> [(&'static str, String); 4] {
        let (user, password) = (self.user.as_str(), self.password.expose());
        [
            ("WEB_USER", user.to_owned()),
            ("WEB_PASSWORD", password.to_owned()),
            // Value of an HTTP Basic header (RFC 7617), without line breaks.
            ("WEB_PASSWORD_B64", STANDARD.encode(format!("{user}:{password}"))),
            ("WEB_TOKEN", self.token.expose().to_owned()),
        ]
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        // The parser's message could quote a part of the password.
        let written: LoginFile = serde_json::from_slice(bytes).map_err(|_| anyhow!("not a login"))?;
        let secret = |name: &str, text: String| {
            check_secret(&text).map_err(|problem| anyhow!("{name} {problem}"))?;
            Secret::new(text).with_context(|| format!("{name} is empty"))
        };
        check_user(&written.web_user).map_err(|problem| anyhow!("web_user {problem}"))?;
        let is_word = |text: &str| {
            text.len() <= MAX_WORD_LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        if written.instance.is_empty() || !is_word(&written.instance) || !is_word(&written.asked) {
            bail!("instance or asked is not alphanumeric");
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

/// Checks that a form, a header and a shell file can carry a user name; the error is the reason.
pub fn check_user(name: &str) -> std::result::Result<(), &'static str> {
    if name.trim().is_empty() {
        Err("is empty")
    } else if name.len() > MAX_USER_LENGTH {
        Err("is longer than 255 bytes")
    } else if name.contains(':') {
        // HTTP Basic sends user:password (RFC 7617), which is split at the first colon.
        Err("contains a colon")
    } else if name.chars().any(char::is_control) {
        Err("contains control characters")
    } else {
        Ok(())
    }
}

/// Checks that a variable, a header and a form can carry a password or token, and that it has no control characters that a
/// terminal would obey; the error is the reason.
pub fn check_secret(text: &str) -> std::result::Result<(), &'static str> {
    if text.chars().any(char::is_control) {
        Err("contains control characters")
    } else if text.len() > MAX_SECRET_LENGTH {
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
    fn a_written_login_is_read_back() {
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
    fn the_value_for_http_basic_has_no_line_break() {
        let long = Login { password: Secret::new("p".repeat(100)).unwrap(), ..login() };
        let [_, _, (name, encoded), _] = long.env_variables();
        assert_eq!(
            (name, STANDARD.decode(encoded).unwrap()),
            ("WEB_PASSWORD_B64", format!("ada:{}", "p".repeat(100)).into())
        );
    }

    #[test]
    fn an_empty_secret_or_a_corrupt_file_is_an_error_that_quotes_nothing() {
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
    fn content_that_its_owner_must_not_choose_is_rejected() {
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
            (long("instance", 129), "instance or asked is not alphanumeric"),
            (long("asked", 129), "instance or asked is not alphanumeric"),
            (
                long("web_password", 1).replace(r#""x""#, r#""a\u0000b""#),
                "web_password contains control characters",
            ),
            (
                long("web_token", 1).replace(r#""x""#, r#""a\u001b[2Jb""#),
                "web_token contains control characters",
            ),
            (long("web_token", 1).replace(r#""x""#, r#""a\nb""#), "web_token contains control characters"),
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
        assert!(Login::read(&path).unwrap().is_some(), "the longest valid login is read");
    }

    fn nix_uid(path: &Path) -> u32 {
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(path).unwrap())
    }

    fn nix_gid(path: &Path) -> u32 {
        std::os::unix::fs::MetadataExt::gid(&std::fs::metadata(path).unwrap())
    }
}
