//! The login that visitors are checked against, and detection of changes to its file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kit::Secret;
use web_login::Login;

/// Prefix of the session cookies of all our containers, which services never see.
pub const COOKIE_PREFIX: &str = "leonardo_";

/// Identity of the file that was read; an atomic replacement has a new inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileVersion {
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
}

/// User, password and token, for comparison.
#[derive(Debug)]
pub struct Credentials {
    user: Secret,
    login: Login,
    cookie: String,
    version: FileVersion,
}

impl Credentials {
    /// Reads the login; a missing file is an error.
    pub fn read(path: &Path) -> Result<Self> {
        let cannot = || format!("cannot read the login from {}", path.display());
        let version = FileVersion::of(path).with_context(cannot)?;
        let login = Login::read(path)?.with_context(cannot)?;
        Self::new(login, version)
    }

    fn new(login: Login, version: FileVersion) -> Result<Self> {
        let user = Secret::new(login.user.clone()).context("web_user is empty")?;
        let cookie = format!("{COOKIE_PREFIX}{}", login.instance);
        Ok(Self { user, login, cookie, version })
    }

    /// True if the file is still the one that was read.
    pub fn is_current(&self, path: &Path) -> bool {
        FileVersion::of(path).is_ok_and(|version| version == self.version)
    }

    /// Returns a text that differs between versions of the login and reveals nothing about it.
    pub fn fingerprint(&self) -> String {
        format!("{}-{}-{}", self.version.inode, self.version.seconds, self.version.nanoseconds)
    }

    /// Returns the user name, which is not secret.
    pub fn user(&self) -> &str {
        &self.login.user
    }

    /// Returns the token.
    pub fn token(&self) -> &Secret {
        &self.login.token
    }

    /// Returns the name of this container's session cookie.
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// True if both user and password match; both are always compared.
    pub fn accepts(&self, user: &[u8], password: &[u8]) -> bool {
        let (user, password) = (self.user.matches(user), self.login.password.matches(password));
        user & password
    }

    /// True if an `Authorization` header has a scheme that the gate accepts, so that it may be meant for the gate.
    pub fn is_our_scheme(authorization: &[u8]) -> bool {
        let scheme = authorization.split(|&byte| byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"bearer") || scheme.eq_ignore_ascii_case(b"basic")
    }

    /// Returns the scheme of an `Authorization` header with our token or our user and password (RFC 6750, 7617).
    pub fn matching_scheme(&self, authorization: &[u8]) -> Option<AuthScheme> {
        if let Some(word) = bearer_word(authorization) {
            return self.login.token.matches(word).then_some(AuthScheme::Bearer);
        }
        let (scheme, rest) = split_scheme(authorization)?;
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return None;
        }
        let pair = STANDARD.decode(rest).ok()?;
        let colon = pair.iter().position(|&byte| byte == b':')?;
        self.accepts(&pair[..colon], &pair[colon + 1..]).then_some(AuthScheme::Basic)
    }
}

/// Returns the token of an `Authorization` header with the scheme Bearer (RFC 6750).
pub fn bearer_word(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = split_scheme(authorization)?;
    scheme.eq_ignore_ascii_case(b"bearer").then_some(rest)
}

fn split_scheme(authorization: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = authorization.iter().position(|&byte| byte == b' ')?;
    Some((&authorization[..space], authorization[space..].trim_ascii()))
}

/// Scheme of a valid `Authorization` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthScheme {
    /// Token.
    Bearer,
    /// User and password.
    Basic,
}

impl FileVersion {
    fn of(path: &Path) -> std::io::Result<Self> {
        let meta = fs::metadata(path)?;
        Ok(Self { inode: meta.ino(), seconds: meta.mtime(), nanoseconds: meta.mtime_nsec() })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub fn credentials(user: &str, password: &str, token: &str) -> Credentials {
        let login = Login {
            user: user.into(),
            password: Secret::new(password).unwrap(),
            token: Secret::new(token).unwrap(),
            instance: "0badcafe".into(),
            asked: String::new(),
        };
        Credentials::new(login, FileVersion { inode: 0, seconds: 0, nanoseconds: 0 }).unwrap()
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn only_our_token_or_password_matches() {
        let own = credentials("ada", "pass:word", "tok*");
        assert_eq!(own.matching_scheme(b"Bearer tok*"), Some(AuthScheme::Bearer));
        assert_eq!(own.matching_scheme(b"bearer  tok*"), Some(AuthScheme::Bearer));
        assert_eq!(own.matching_scheme(basic("ada:pass:word").as_bytes()), Some(AuthScheme::Basic));
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
            assert_eq!(own.matching_scheme(header.as_bytes()), None, "{header:?}");
        }
    }

    #[test]
    fn bearer_and_basic_are_our_schemes() {
        for ours in ["Bearer x", "bearer", "BASIC YWRh", "Basic"] {
            assert!(Credentials::is_our_scheme(ours.as_bytes()), "{ours}");
        }
        for other in ["", "Digest x", "Bearerx y", " Basic x", "x Basic"] {
            assert!(!Credentials::is_our_scheme(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn both_user_and_password_must_be_right() {
        let own = credentials("ada", "secret", "token");
        let accepts = |user: &str, password: &str| own.accepts(user.as_bytes(), password.as_bytes());
        assert!(accepts("ada", "secret"));
        assert!(!accepts("ada", "x") && !accepts("x", "secret") && !accepts("x", "x") && !accepts("", ""));
    }

    #[test]
    fn a_replaced_file_is_detected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("login");
        let mut login = credentials("ada", "secret", "token").login;
        login.write(&path, (0, 0)).unwrap();
        let first = Credentials::read(&path).unwrap();
        assert!(first.is_current(&path));
        assert_eq!((first.cookie(), first.token().expose()), ("leonardo_0badcafe", "token"));
        login.asked = "more".into();
        login.write(&path, (0, 0)).unwrap();
        let second = Credentials::read(&path).unwrap();
        assert!(!first.is_current(&path) && second.is_current(&path));
        assert_ne!(first.fingerprint(), second.fingerprint());
        assert_eq!(second.fingerprint(), Credentials::read(&path).unwrap().fingerprint());
        fs::remove_file(&path).unwrap();
        assert!(!second.is_current(&path) && Credentials::read(&path).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_other_header_matches(header in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60)) {
            let own = credentials("ada", "a password that nobody guesses", "a token that nobody guesses");
            proptest::prop_assert_eq!(own.matching_scheme(&header), None);
        }
    }
}
