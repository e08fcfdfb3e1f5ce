//! Every setting that `init` acts on, read once and typed.

use std::path::PathBuf;

use kit::{Env, Problem, Reader, Secret};

const DEFAULT_USER: &str = "user";
/// PAM takes no longer ones, its closing zero included (`PAM_MAX_RESP_SIZE` in its headers).
const LONGEST_PASSWORD: usize = 511;
/// Where keys arrive besides the mounted file: the seed's own variable, runpod.io's and vast.ai's.
const KEY_VARIABLES: [&str; 3] = ["SSH_PUBKEY", "PUBLIC_KEY", "SSH_PUBLIC_KEY"];

/// All settings of a start.
#[derive(Debug)]
pub struct Settings {
    /// The system user's name.
    pub user_name: String,
    /// The system user's password, if given.
    pub user_password: Option<Secret>,
    /// Login of the web services.
    pub web: Web,
    /// The workspace's path, absolute, without a trailing slash.
    pub workspace: PathBuf,
    /// Which image this is, in names of directories.
    pub image_slug: String,
    /// The port on which sshd listens.
    pub ssh_port: u16,
    /// Public keys from the environment: the variable's name and its lines.
    pub keys: Vec<(&'static str, String)>,
}

/// What was given for the login of the web services; what was not is generated.
#[derive(Debug)]
pub struct Web {
    /// Whether the gate asks for a login.
    pub enable_auth: bool,
    /// Whether all web ports speak https.
    pub enable_https: bool,
    /// The user name.
    pub user: String,
    /// The password, if given.
    pub password: Option<Secret>,
    /// The token for programs, if given.
    pub token: Option<Secret>,
}

impl Settings {
    /// Reads all settings; what could not be used comes back as problems.
    pub fn read(env: &Env) -> (Self, Vec<Problem>) {
        let mut reader = Reader::new(env);
        let settings = Self {
            user_name: user_name(&mut reader),
            user_password: user_password(env, &mut reader),
            web: Web {
                enable_auth: reader.flag("WEB_ENABLE_AUTH", true),
                enable_https: reader.flag("WEB_ENABLE_HTTPS", false),
                user: web_user(&mut reader),
                password: secret(env, "WEB_PASSWORD", &mut reader),
                token: secret(env, "WEB_TOKEN", &mut reader),
            },
            workspace: workspace::read_path(&mut reader),
            image_slug: workspace::read_slug(&mut reader),
            ssh_port: reader.port("SSH_PORT", 22),
            keys: KEY_VARIABLES.iter().filter_map(|&name| Some((name, reader.text(name)?))).collect(),
        };
        (settings, reader.into_problems())
    }
}

/// Secrets are taken as they are, spaces included; an empty one counts as not given.
fn secret(env: &Env, name: &str, reader: &mut Reader<'_>) -> Option<Secret> {
    let value = env.get(name)?;
    let Some(text) = value.to_str() else {
        reader.problem(name, "the value is not UTF-8 text; ignored");
        return None;
    };
    Secret::new(text)
}

/// chpasswd(8) reads one line a user, so a password ends where its line does.
fn user_password(env: &Env, reader: &mut Reader<'_>) -> Option<Secret> {
    let password = secret(env, "USER_PASSWORD", reader)?;
    let refusal = if password.expose().chars().any(char::is_control) {
        "has no control characters".to_owned()
    } else if password.expose().len() > LONGEST_PASSWORD {
        format!("has at most {LONGEST_PASSWORD} bytes")
    } else {
        return Some(password);
    };
    reader.problem("USER_PASSWORD", format!("a system password {refusal}; using the default"));
    None
}

fn user_name(reader: &mut Reader<'_>) -> String {
    match reader.text("USER_NAME") {
        Some(name) if is_account_name(&name) => name,
        Some(name) => {
            reader.problem(
                "USER_NAME",
                format!("{name:?} is not a valid account name; using {DEFAULT_USER:?}"),
            );
            DEFAULT_USER.to_owned()
        }
        None => DEFAULT_USER.to_owned(),
    }
}

/// The names that `useradd` takes everywhere (useradd(8)): lower-case letters, digits, `_`, `-`; at most 32.
fn is_account_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 32
        && bytes.next().is_some_and(|first| first == b'_' || first.is_ascii_lowercase())
        && bytes.all(|byte| b"_-".contains(&byte) || byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn web_user(reader: &mut Reader<'_>) -> String {
    match reader.text("WEB_USER") {
        Some(name) if web_login::check_user(&name).is_err() => {
            reader.problem(
                "WEB_USER",
                "a web user's name has no colon and no control character; using \"user\"",
            );
            DEFAULT_USER.to_owned()
        }
        Some(name) => name,
        None => DEFAULT_USER.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Settings, Vec<String>) {
        let env: Env = pairs.iter().copied().collect();
        let (settings, problems) = Settings::read(&env);
        (settings, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn nothing_given_means_the_documented_defaults() {
        let (settings, problems) = read(&[]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(settings.user_name, "user");
        assert!(settings.user_password.is_none());
        assert!(settings.web.enable_auth && settings.web.password.is_none() && settings.web.token.is_none());
        assert_eq!((settings.web.user.as_str(), settings.web.enable_https), ("user", false));
        assert_eq!(settings.workspace, Path::new("/workspace"));
        assert_eq!(settings.image_slug, "base-image");
        assert_eq!((settings.ssh_port, settings.keys.len()), (22, 0));
    }

    #[test]
    fn a_typo_never_opens_the_gate() {
        let (settings, problems) = read(&[("WEB_ENABLE_AUTH", "flase")]);
        assert!(settings.web.enable_auth);
        assert_eq!(problems, ["WEB_ENABLE_AUTH: \"flase\" is neither true nor false; using true"]);
    }

    #[test]
    fn an_empty_secret_counts_as_not_given_and_spaces_belong_to_one() {
        let (settings, problems) = read(&[("WEB_PASSWORD", ""), ("WEB_TOKEN", " x ")]);
        assert!(settings.web.password.is_none());
        assert!(settings.web.token.unwrap().matches(b" x "));
        assert_eq!(problems, [""; 0]);
    }

    #[test]
    fn account_names_that_a_tool_could_misread_are_refused_by_name() {
        for name in [
            "Root",
            "a b",
            "../x",
            "-rf",
            "1st",
            "a:b",
            "a/b",
            "x\ny",
            "..",
            "ALL",
            "$(id)",
            &"a".repeat(33),
            "ä",
        ] {
            let (settings, problems) = read(&[("USER_NAME", name)]);
            assert_eq!(settings.user_name, "user");
            assert_eq!(
                problems,
                [format!("USER_NAME: {name:?} is not a valid account name; using \"user\"")]
            );
        }
        for name in ["ada", "_svc", "a-b_9"] {
            assert_eq!(read(&[("USER_NAME", name)]).0.user_name, name);
        }
    }

    #[test]
    fn a_password_that_the_system_could_not_take_is_reported_without_it() {
        let long = "x".repeat(100_000);
        for (given, rule) in [("a\nroot:b", "no control characters"), (&long, "at most 511 bytes")] {
            let (settings, problems) = read(&[("USER_PASSWORD", given)]);
            assert!(settings.user_password.is_none());
            assert_eq!(problems, [format!("USER_PASSWORD: a system password has {rule}; using the default")]);
        }
        let bytes = std::ffi::OsStr::from_bytes(b"p\xff");
        let (settings, problems) = Settings::read(&[("USER_PASSWORD", bytes)].into_iter().collect());
        assert!(settings.user_password.is_none());
        assert_eq!(problems, [Problem::new("USER_PASSWORD", "the value is not UTF-8 text; ignored")]);
        assert!(
            read(&[("USER_PASSWORD", "a:b c'$(id)ü")])
                .0
                .user_password
                .unwrap()
                .matches("a:b c'$(id)ü".as_bytes())
        );
    }

    #[test]
    fn keys_come_from_the_seed_and_from_the_providers() {
        let (settings, _) = read(&[("PUBLIC_KEY", "k1\nk2"), ("SSH_PUBKEY", "k3"), ("SSH_PUBLIC_KEY", " ")]);
        assert_eq!(settings.keys, [("SSH_PUBKEY", "k3".to_owned()), ("PUBLIC_KEY", "k1\nk2".to_owned())]);
    }
}
