//! The login as `init` settled it, and whether the file still says so.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kit::Secret;
use web_login::Login;

/// How the session cookies of all our containers begin; applications never see any of them.
pub const COOKIE_PREFIX: &str = "leonardo_";

/// Which version of the file was read: replacing it atomically makes a new inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileVersion {
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
}

/// The login, ready to be compared with.
#[derive(Debug)]
pub struct Credentials {
    user: Secret,
    login: Login,
    cookie: String,
    version: FileVersion,
}

impl Credentials {
    /// Reads the file; that there is none is an error, because nobody could log in.
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

    /// Whether the file is still the one that was read.
    pub fn is_current(&self, path: &Path) -> bool {
        FileVersion::of(path).is_ok_and(|version| version == self.version)
    }

    /// Tells this login from an earlier or a later one, and nothing else about it.
    pub fn fingerprint(&self) -> String {
        format!("{}-{}-{}", self.version.inode, self.version.seconds, self.version.nanoseconds)
    }

    /// The token.
    pub fn token(&self) -> &Secret {
        &self.login.token
    }

    /// The name of this container's session cookie.
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// Whether these are the user and the password; both are always compared.
    pub fn accepts(&self, user: &[u8], password: &[u8]) -> bool {
        let (user, password) = (self.user.matches(user), self.login.password.matches(password));
        user & password
    }

    /// Whether an `Authorization` header may be meant for us, right or wrong.
    pub fn is_our_scheme(authorization: &[u8]) -> bool {
        let scheme = authorization.split(|&byte| byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"bearer") || scheme.eq_ignore_ascii_case(b"basic")
    }

    /// Whether an `Authorization` header is ours: `Bearer TOKEN` or `Basic base64(user:password)` (RFC 6750, 7617).
    pub fn matching_scheme(&self, authorization: &[u8]) -> Option<AuthScheme> {
        let space = authorization.iter().position(|&byte| byte == b' ')?;
        let (scheme, rest) = (&authorization[..space], authorization[space..].trim_ascii());
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return self.login.token.matches(rest).then_some(AuthScheme::Bearer);
        }
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return None;
        }
        let pair = STANDARD.decode(rest).ok()?;
        let colon = pair.iter().position(|&byte| byte == b':')?;
        self.accepts(&pair[..colon], &pair[colon + 1..]).then_some(AuthScheme::Basic)
    }
}

/// How a program proved itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthScheme {
    /// With the token.
    Bearer,
    /// With user and password.
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
    fn only_exactly_our_header_opens() {
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
    fn an_attempt_is_a_header_of_a_scheme_of_ours() {
        for attempt in ["Bearer x", "bearer", "BASIC YWRh", "Basic"] {
            assert!(Credentials::is_our_scheme(attempt.as_bytes()), "{attempt}");
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
    fn a_file_that_was_replaced_is_another_login() {
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
        fn no_header_but_ours_opens(header in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60)) {
            let own = credentials("ada", "a password that nobody guesses", "a token that nobody guesses");
            proptest::prop_assert_eq!(own.matching_scheme(&header), None);
        }
    }
}
