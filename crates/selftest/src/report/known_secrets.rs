//! Values of secrets that this container has.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use env_store::{Store, find_url_credentials, looks_secret};
use journal::Timeline;
use kit::variables::Kind;
use kit::{Env, ReadPolicy, variables};
use redact::login_secrets;
use web_login::Login;

use crate::context::Context;

/// Files with one secret each.
const FILES: [&str; 1] = ["/run/cloudflared/token"];
const RCLONE: &str = "/etc/rclone/rclone.conf";
/// In the cause of a failed script, before its last line.
const LAST_OUTPUT: &str = "; last output: ";
const INPUT: ReadPolicy = ReadPolicy::max_size(1 << 20);

/// Returns the secrets in variables of the first process, of sessions and of this process, in the files that variables name,
/// the login, the tunnel's token, rclone's configuration, and the last line of the user's script: what this user may read of them.
pub fn of(context: &Context) -> Vec<Vec<u8>> {
    let mut secrets = Vec::new();
    for (name, value) in
        first_process().into_iter().chain(pairs(&stored())).chain(pairs(&Env::from_process()))
    {
        secrets.extend(of_variable(&name, &value));
    }
    for (_, name) in variables::secret_files() {
        let file = context.env.get(&name).map(Path::new);
        secrets.extend(file.and_then(|file| INPUT.read(file).ok()));
    }
    secrets.extend(FILES.iter().filter_map(|file| INPUT.read(Path::new(file)).ok()));
    if let Ok(Some(login)) = Login::read(Path::new(web_login::path())) {
        let variables = login.env_variables().into_iter().filter(|(name, _)| *name != "WEB_USER");
        secrets.extend(variables.map(|(_, value)| value.into_bytes()));
    }
    secrets.extend(of_configuration(&INPUT.read(Path::new(RCLONE)).unwrap_or_default()));
    let causes = context.timeline.iter().flat_map(Timeline::failures).filter_map(|run| run.cause.as_deref());
    secrets.extend(causes.filter_map(last_output));
    secrets
}

/// Returns what the user's script printed last, which only log readers may see: it may be anything.
fn last_output(cause: &str) -> Option<Vec<u8>> {
    cause.split_once(LAST_OUTPUT).map(|(_, line)| line.as_bytes().to_vec())
}

fn stored() -> Env {
    let store = Store::read(Path::new(env_store::PATH)).unwrap_or_default();
    store.iter().collect()
}

fn pairs(env: &Env) -> Vec<(String, Vec<u8>)> {
    let pair = |(name, value): (&std::ffi::OsStr, &std::ffi::OsStr)| {
        (name.to_string_lossy().into_owned(), value.as_bytes().to_vec())
    };
    env.iter().map(pair).collect()
}

fn first_process() -> Vec<(String, Vec<u8>)> {
    let variables = fs::read("/proc/1/environ").unwrap_or_default();
    variables
        .split(|byte| *byte == 0)
        .filter_map(split)
        .map(|(name, value)| (name.to_owned(), value.to_vec()))
        .collect()
}

/// Splits `NAME=VALUE`.
fn split(line: &[u8]) -> Option<(&str, &[u8])> {
    let equals = line.iter().position(|byte| *byte == b'=')?;
    Some((std::str::from_utf8(&line[..equals]).ok()?, &line[equals + 1..]))
}

fn of_variable(name: &str, value: &[u8]) -> Vec<Vec<u8>> {
    let documented = variables::ALL.iter().find(|variable| variable.name == name);
    // A documented default is no secret, and may be a word of every sentence.
    if documented.is_some_and(|variable| variable.default.as_bytes() == value) {
        return Vec::new();
    }
    if looks_secret(name) {
        return vec![value.to_vec()];
    }
    let is_url = documented.is_some_and(|variable| variable.kind == Kind::Url);
    let parts = value.split(|byte| b"/?#".contains(byte)).filter(|part| is_url && is_identifier(part));
    let logins = find_url_credentials(value).into_iter().flat_map(|login| login_secrets(&value[login]));
    logins.chain(parts.map(<[u8]>::to_vec)).collect()
}

/// True for a part of a path that nobody guesses: who knows the address of a secret gist, or a signed one, can read the script.
fn is_identifier(part: &[u8]) -> bool {
    part.len() >= 20 && part.iter().any(u8::is_ascii_digit)
}

/// Returns the values of rclone's options whose names look secret.
fn of_configuration(text: &[u8]) -> Vec<Vec<u8>> {
    let lines = text.split(|byte| *byte == b'\n').filter_map(split);
    lines
        .filter(|(name, _)| looks_secret(name.trim()))
        .map(|(_, value)| value.trim_ascii().to_vec())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_script_is_a_secret() {
        let cause = "exit code 3; last output: my own words; last output: too";
        assert_eq!(last_output(cause).as_deref(), Some(&b"my own words; last output: too"[..]));
        assert_eq!(last_output("exit code 3"), None);
    }

    #[test]
    fn secrets_are_found_in_variables_and_in_rclones_options() {
        for (name, value, expected) in [
            ("HF_TOKEN", "hf_1", vec!["hf_1"]),
            ("RCLONE_CONFIG_S3_PASS", "x y", vec!["x y"]),
            ("RCLONE_CONFIG_B2_KEY", "K001", vec!["K001"]),
            ("OPENAI_KEY", "x y", vec!["x y"]),
            ("MYSQL_PWD", "x y", vec!["x y"]),
            ("USER_PASSWORD", "password", vec![]),
            ("USER_PASSWORD", "other", vec!["other"]),
            ("PIP_INDEX_URL", "https://a:b%20c@h/", vec!["b%20c", "b c"]),
            ("WEB_USER", "ada", vec![]),
            (
                "PROVISIONING_SCRIPT",
                "https://gist.example/ada/0123456789abcdef0123456789abcdef/raw/setup.sh",
                vec!["0123456789abcdef0123456789abcdef"],
            ),
        ] {
            let found = of_variable(name, value.as_bytes());
            let expected: Vec<Vec<u8>> = expected.into_iter().map(|text| text.as_bytes().to_vec()).collect();
            assert_eq!(found, expected, "{name}");
        }
        let found =
            of_configuration(b"[s3]\ntype = s3\nsecret_access_key = abc=\npass = d\ntoken = {\"a\":1}\n");
        assert_eq!(found, [b"abc=".to_vec(), b"d".to_vec(), b"{\"a\":1}".to_vec()]);
    }
}
