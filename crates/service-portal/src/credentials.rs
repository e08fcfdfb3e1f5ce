//! The login as `init` settled it, and whether the file still says so.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kit::Secret;
use serde::Deserialize;

/// How the session cookies of all our containers begin; applications never see any of them.
pub const COOKIE_PREFIX: &str = "leonardo_";

#[derive(Deserialize)]
struct Written {
    web_user: String,
    web_password: String,
    web_token: String,
    instance: String,
}

/// Which version of the file was read: replacing it atomically makes a new inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
}

/// User, password and token; none of them empty.
#[derive(Debug)]
pub struct Credentials {
    user: Secret,
    password: Secret,
    token: Secret,
    cookie: String,
    version: Version,
}

impl Credentials {
    /// Reads the file; an empty secret is an error, because it would open everything.
    pub fn read(path: &Path) -> Result<Self> {
        let cannot = || format!("cannot read the login from {}", path.display());
        let version = Version::of(path).with_context(cannot)?;
        let bytes = fs::read(path).with_context(cannot)?;
        // The parser's own message could repeat a part of the password.
        let written: Written =
            serde_json::from_slice(&bytes).map_err(|_| anyhow!("not a login")).with_context(cannot)?;
        Self::new(written, version).with_context(cannot)
    }

    fn new(written: Written, version: Version) -> Result<Self> {
        let secret = |name: &str, text: String| Secret::new(text).with_context(|| format!("{name} is empty"));
        Ok(Self {
            user: secret("web_user", written.web_user)?,
            password: secret("web_password", written.web_password)?,
            token: secret("web_token", written.web_token)?,
            cookie: format!(
                "{COOKIE_PREFIX}{}",
                written.instance.replace(|c: char| !c.is_ascii_alphanumeric(), "")
            ),
            version,
        })
    }

    /// Whether the file is still the one that was read.
    pub fn is_current(&self, path: &Path) -> bool {
        Version::of(path).is_ok_and(|version| version == self.version)
    }

    /// The name of this container's session cookie.
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// Whether these are the user and the password; both are always compared.
    pub fn accepts(&self, user: &[u8], password: &[u8]) -> bool {
        let (user, password) = (self.user.matches(user), self.password.matches(password));
        user & password
    }

    /// Whether an `Authorization` header may be meant for us, right or wrong.
    pub fn is_attempt(authorization: &[u8]) -> bool {
        let scheme = authorization.split(|&byte| byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"bearer") || scheme.eq_ignore_ascii_case(b"basic")
    }

    /// Whether an `Authorization` header is ours: `Bearer TOKEN` or `Basic base64(user:password)` (RFC 6750, 7617).
    pub fn authorizes(&self, authorization: &[u8]) -> Option<Scheme> {
        let space = authorization.iter().position(|&byte| byte == b' ')?;
        let (scheme, rest) = (&authorization[..space], authorization[space..].trim_ascii());
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return self.token.matches(rest).then_some(Scheme::Bearer);
        }
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return None;
        }
        let pair = STANDARD.decode(rest).ok()?;
        let colon = pair.iter().position(|&byte| byte == b':')?;
        self.accepts(&pair[..colon], &pair[colon + 1..]).then_some(Scheme::Basic)
    }
}

/// How a program proved itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// With the token.
    Bearer,
    /// With user and password.
    Basic,
}

impl Version {
    fn of(path: &Path) -> std::io::Result<Self> {
        let meta = fs::metadata(path)?;
        Ok(Self { inode: meta.ino(), seconds: meta.mtime(), nanoseconds: meta.mtime_nsec() })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub fn credentials(user: &str, password: &str, token: &str) -> Result<Credentials> {
        let written = Written {
            web_user: user.into(),
            web_password: password.into(),
            web_token: token.into(),
            instance: "0badcafe".into(),
        };
        Credentials::new(written, Version { inode: 0, seconds: 0, nanoseconds: 0 })
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn only_exactly_our_header_opens() {
        let own = credentials("ada", "pass:word", "tok*").unwrap();
        assert_eq!(own.authorizes(b"Bearer tok*"), Some(Scheme::Bearer));
        assert_eq!(own.authorizes(b"bearer  tok*"), Some(Scheme::Bearer));
        assert_eq!(own.authorizes(basic("ada:pass:word").as_bytes()), Some(Scheme::Basic));
        let wrong = [
            "",
            "Bearer",
            "Bearer ",
            "Bearer tok",
            "Bearer token",
            "Token tok*",
            "Basic",
            "Basic !",
            "Basic YWRh",
        ];
        for header in
            wrong.map(str::to_owned).into_iter().chain([basic("ada:"), basic(":"), basic("eve:pass:word")])
        {
            assert_eq!(own.authorizes(header.as_bytes()), None, "{header:?}");
        }
    }

    #[test]
    fn an_empty_secret_refuses_to_start() {
        for (user, password, token) in [("", "p", "t"), ("u", "", "t"), ("u", "p", "")] {
            assert!(credentials(user, password, token).is_err());
        }
    }

    #[test]
    fn a_damaged_file_is_named_and_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("login.json");
        fs::write(&path, r#"{"web_password": hunter2"#).unwrap();
        let error = format!("{:#}", Credentials::read(&path).unwrap_err());
        assert_eq!(error, format!("cannot read the login from {}: not a login", path.display()));
    }
}
