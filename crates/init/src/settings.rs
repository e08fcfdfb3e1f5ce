//! All settings of `init`, read once and typed.

use std::path::PathBuf;

use kit::variables::{self, Variable};
use kit::{Env, Problem, Secret, SettingsReader};
use sshd_run::key_splitting::split_keys;

use crate::secrets::{report_invisible, secret, user_password, web_secret};

/// Default name of the system user.
pub const DEFAULT_USER: &str = "user";
/// Variables with public keys: the documented one, runpod.io's and vast.ai's.
const KEY_VARIABLES: [&Variable; 3] =
    [&variables::SSH_PUBKEY, &variables::PUBLIC_KEY, &variables::SSH_PUBLIC_KEY];

/// All settings of a start.
#[derive(Debug)]
pub struct Settings {
    /// The system user's name.
    pub user_name: String,
    /// The system user's password, if given.
    pub user_password: Option<Secret>,
    /// Login of the web services.
    pub web: WebSettings,
    /// The workspace's path, absolute, without a trailing slash.
    pub workspace: PathBuf,
    /// Name of the image in directory names.
    pub image_slug: String,
    /// Port of sshd.
    pub ssh_port: u16,
    /// True if services get quick tunnels. Without the login, they would be open to everyone.
    pub quick_tunnels: bool,
    /// Token of a named tunnel, if given.
    pub tunnel_token: Option<Secret>,
    /// True if the public address is looked up.
    pub find_wan_address: bool,
    /// Public keys from the environment: the variable's name and its lines.
    pub keys: Vec<(&'static str, String)>,
}

/// Settings of the web login; missing values are generated.
#[derive(Debug)]
pub struct WebSettings {
    /// True if the gate asks for a login.
    pub enable_auth: bool,
    /// True if all web ports use https.
    pub enable_https: bool,
    /// The user name.
    pub user: String,
    /// The password, if given.
    pub password: Option<Secret>,
    /// The token for programs, if given.
    pub token: Option<Secret>,
}

impl Settings {
    /// Reads all settings, and returns the problems, also of variables that other tools use later.
    pub fn read(env: &Env) -> (Self, Vec<Problem>) {
        let mut reader = SettingsReader::new(env);
        variables::ALL.iter().for_each(|variable| reader.check(variable));
        let enable_auth = reader.switch(&variables::WEB_ENABLE_AUTH);
        let settings = Self {
            user_name: user_name(&mut reader),
            user_password: user_password(env, &mut reader),
            web: WebSettings {
                enable_auth,
                enable_https: reader.switch(&variables::WEB_ENABLE_HTTPS),
                user: web_user(&mut reader),
                password: web_secret(env, "WEB_PASSWORD", &mut reader),
                token: web_secret(env, "WEB_TOKEN", &mut reader),
            },
            workspace: workspace::path_from_setting(&mut reader),
            image_slug: workspace::slug_from_setting(&mut reader),
            ssh_port: ssh_port(&mut reader),
            quick_tunnels: quick_tunnels(enable_auth, &mut reader),
            tunnel_token: secret(env, "CF_TUNNEL_TOKEN", &mut reader),
            find_wan_address: reader.switch(&variables::DIRECT_ADDRESS_GET_WAN),
            keys: KEY_VARIABLES
                .iter()
                .filter_map(|variable| Some((variable.name, split_keys(&reader.text(variable.name)?))))
                .collect(),
        };
        let mut problems = reader.into_problems();
        problems.extend(provision::setting_problem(env));
        // Used by caddy-run; mistakes are reported with the other problems of a start.
        problems.extend(cloud::trusted_proxies(env).1);
        problems.extend(cloud::allowed_hosts(env).1);
        problems.extend(cloud::port_problems(env));
        (settings, problems)
    }
}

/// Reads the port of sshd; a port of the image's own programs is refused. The registry refuses a service that registers
/// it later.
fn ssh_port(reader: &mut SettingsReader<'_>) -> u16 {
    let port = reader.port(&variables::SSH_PORT);
    let holder = match port {
        ports::PORTAL => "the portal",
        ports::RCLONE => "rclone's configuration",
        _ => return port,
    };
    reader.problem("SSH_PORT", format!("{port} is the port of {holder}; using 22"));
    22
}

fn quick_tunnels(enable_auth: bool, reader: &mut SettingsReader<'_>) -> bool {
    let wanted = reader.switch(&variables::CF_QUICK_TUNNELS);
    if wanted && !enable_auth && reader.text("CF_QUICK_TUNNELS").is_some() {
        let rule = "quick tunnels need the login, which WEB_ENABLE_AUTH=false turns off; ignored";
        reader.problem("CF_QUICK_TUNNELS", rule);
    }
    wanted && enable_auth
}

fn user_name(reader: &mut SettingsReader<'_>) -> String {
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

/// True for names that `useradd` accepts everywhere (useradd(8)): lower-case letters, digits, `_`, `-`; at most 32.
fn is_account_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 32
        && bytes.next().is_some_and(|first| first == b'_' || first.is_ascii_lowercase())
        && bytes.all(|byte| b"_-".contains(&byte) || byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn web_user(reader: &mut SettingsReader<'_>) -> String {
    match reader.text("WEB_USER") {
        Some(name) => match web_login::check_user(&name) {
            Ok(()) => {
                report_invisible("WEB_USER", &name, reader);
                name
            }
            Err(refusal) => {
                reader.problem("WEB_USER", format!("the name {refusal}; using {DEFAULT_USER:?}"));
                DEFAULT_USER.to_owned()
            }
        },
        None => DEFAULT_USER.to_owned(),
    }
}

#[cfg(test)]
pub mod tests {
    use std::path::Path;

    use super::*;

    pub fn read(pairs: &[(&str, &str)]) -> (Settings, Vec<String>) {
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
        assert!(settings.quick_tunnels && settings.tunnel_token.is_none() && !settings.find_wan_address);
    }

    #[test]
    fn without_the_login_nothing_is_opened_by_a_quick_tunnel() {
        let rule =
            "CF_QUICK_TUNNELS: quick tunnels need the login, which WEB_ENABLE_AUTH=false turns off; ignored";
        let typo = "CF_QUICK_TUNNELS: \"maybe\" is neither true nor false; using true";
        for (auth, tunnels, used, reported) in [
            ("true", "true", true, &[][..]),
            ("true", "false", false, &[]),
            ("false", "", false, &[]),
            ("false", "false", false, &[]),
            ("false", "true", false, &[rule]),
            ("false", "maybe", false, &[typo, rule]),
        ] {
            let (settings, problems) = read(&[("WEB_ENABLE_AUTH", auth), ("CF_QUICK_TUNNELS", tunnels)]);
            assert_eq!(
                (settings.quick_tunnels, &problems[..]),
                (used, &reported.iter().map(ToString::to_string).collect::<Vec<_>>()[..])
            );
        }
    }

    #[test]
    fn a_typo_never_opens_the_gate() {
        let (settings, problems) = read(&[("WEB_ENABLE_AUTH", "flase")]);
        assert!(settings.web.enable_auth);
        assert_eq!(problems, ["WEB_ENABLE_AUTH: \"flase\" is neither true nor false; using true"]);
    }

    #[test]
    fn a_web_user_with_untypable_characters_is_reported() {
        for name in ["ada\u{200b} lovelace", "ada\u{a0}lovelace"] {
            let (settings, problems) = read(&[("WEB_USER", name)]);
            assert_eq!(settings.web.user, name);
            assert_eq!(problems, ["WEB_USER: the value contains invisible characters, which are part of it"]);
        }
        assert_eq!(read(&[("WEB_USER", "ada lovelace")]).1, [""; 0]);
    }

    #[test]
    fn a_port_of_the_image_is_not_sshds() {
        for (port, holder) in [("1111", "the portal"), ("53682", "rclone's configuration")] {
            let (settings, problems) = read(&[("SSH_PORT", port)]);
            assert_eq!(settings.ssh_port, 22);
            assert_eq!(problems, [format!("SSH_PORT: {port} is the port of {holder}; using 22")]);
        }
        assert_eq!(read(&[("SSH_PORT", "2222")]).0.ssh_port, 2222);
    }

    #[test]
    fn every_documented_variable_is_checked() {
        // Later steps of a start report these; the e2e tests see all of them.
        const LATER: [&str; 5] = ["GPU_COUNT", "OPT_SYNC", "SSH_PUBKEY", "PUBLIC_KEY", "SSH_PUBLIC_KEY"];
        for variable in variables::ALL.iter().filter(|variable| !LATER.contains(&variable.name)) {
            let (_, problems) = read(&[(variable.name, variable.invalid)]);
            assert_eq!(problems.len(), 1, "{}: {problems:?}", variable.name);
            assert!(problems[0].starts_with(&format!("{}: ", variable.name)), "{problems:?}");
        }
    }

    #[test]
    fn a_web_login_that_no_variable_could_carry_is_reported_by_name() {
        let (settings, problems) = read(&[
            ("WEB_PASSWORD", &"p".repeat(100_000)),
            ("WEB_TOKEN", &"t".repeat(4097)),
            ("WEB_USER", &"u".repeat(256)),
        ]);
        assert!(settings.web.password.is_none() && settings.web.token.is_none());
        assert_eq!(settings.web.user, "user");
        assert_eq!(
            problems,
            [
                "WEB_USER: the name is longer than 255 bytes; using \"user\"",
                "WEB_PASSWORD: the value is longer than 4,096 bytes; ignored",
                "WEB_TOKEN: the value is longer than 4,096 bytes; ignored",
            ]
        );
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
    fn keys_come_from_the_seed_and_from_the_providers() {
        let given =
            [("PUBLIC_KEY", "k1\nk2"), ("SSH_PUBKEY", "ssh-rsa A;ssh-rsa B"), ("SSH_PUBLIC_KEY", " ")];
        let wanted = [("SSH_PUBKEY", "ssh-rsa A\nssh-rsa B".to_owned()), ("PUBLIC_KEY", "k1\nk2".to_owned())];
        assert_eq!(read(&given).0.keys, wanted);
    }
}
