//! Secrets from the environment: passwords and tokens, without invisible characters around them.

use kit::{Env, Secret, SettingsReader, invisible};

/// Longest password that PAM accepts (`PAM_MAX_RESP_SIZE`, without the closing zero).
const MAX_PASSWORD_BYTES: usize = 511;

/// Reads a secret as its author sees it; an empty one counts as not given. Characters around it that cannot be typed
/// are removed and reported; a secret with control characters inside fits no login form and is ignored.
pub fn secret(env: &Env, name: &str, reader: &mut SettingsReader<'_>) -> Option<Secret> {
    let Some(text) = env.get(name)?.to_str() else {
        reader.problem(name, "the value is not UTF-8 text; ignored");
        return None;
    };
    let (text, removed) = invisible::strip_invisible(text);
    if !removed.is_empty() {
        let removed = removed.join(" and ");
        reader.problem(
            name,
            match text {
                "" => format!("the value is empty after removing {removed}; {}", fallback(name)),
                _ => format!("the value is used without {removed} around it"),
            },
        );
    }
    if text.chars().any(char::is_control) {
        reader.problem(name, "the value has a line break or another control character inside; ignored");
        return None;
    }
    report_invisible(name, text, reader);
    Secret::new(text)
}

/// Names the value used without a usable one.
pub fn fallback(name: &str) -> &'static str {
    match name {
        "CF_TUNNEL_TOKEN" => "ignored",
        "USER_PASSWORD" => "using the default",
        _ => "using a generated one",
    }
}

/// Reports characters inside that a keyboard does not produce; ordinary spaces are fine.
pub fn report_invisible(name: &str, text: &str, reader: &mut SettingsReader<'_>) {
    if text.chars().any(|character| invisible::is_invisible(character) && character != ' ') {
        reader.problem(name, "the value contains invisible characters, which are part of it");
    }
    // The docker client replaces bytes that are not UTF-8 by it.
    if text.contains(char::REPLACEMENT_CHARACTER) {
        reader.problem(
            name,
            "the value contains U+FFFD, which usually replaces invalid UTF-8; it is used as is",
        );
    }
}

/// Reads a secret of the web login.
pub fn web_secret(env: &Env, name: &str, reader: &mut SettingsReader<'_>) -> Option<Secret> {
    let secret = secret(env, name, reader)?;
    match web_login::check_secret(secret.expose()) {
        Ok(()) => Some(secret),
        Err(refusal) => {
            reader.problem(name, format!("the value {refusal}; ignored"));
            None
        }
    }
}

/// Reads the password of the system user; PAM limits its length.
pub fn user_password(env: &Env, reader: &mut SettingsReader<'_>) -> Option<Secret> {
    let password = secret(env, "USER_PASSWORD", reader)?;
    if password.expose().len() <= MAX_PASSWORD_BYTES {
        return Some(password);
    }
    let rule = format!("a system password has at most {MAX_PASSWORD_BYTES} bytes; using the default");
    reader.problem("USER_PASSWORD", rule);
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use kit::Problem;

    use super::*;
    use crate::settings::Settings;
    use crate::settings::tests::read;

    #[test]
    fn a_secret_is_what_its_author_sees_and_the_rest_is_reported() {
        for (given, used, problem) in [
            ("", None, None),
            ("a b=\"c'$(id)ü", Some("a b=\"c'$(id)ü"), None),
            ("secret\n", Some("secret"), Some("the value is used without a line break around it")),
            (" secret ", Some("secret"), Some("the value is used without blanks around it")),
            (
                "\"secret\"\r",
                Some("secret"),
                Some("the value is used without a line break and quotes around it"),
            ),
            (
                "\u{feff}secret",
                Some("secret"),
                Some("the value is used without invisible characters around it"),
            ),
            (
                "sec\nret",
                None,
                Some("the value has a line break or another control character inside; ignored"),
            ),
            (
                "sec\u{200b}ret",
                Some("sec\u{200b}ret"),
                Some("the value contains invisible characters, which are part of it"),
            ),
            (
                "secret\u{fffd}",
                Some("secret\u{fffd}"),
                Some("the value contains U+FFFD, which usually replaces invalid UTF-8; it is used as is"),
            ),
        ] {
            for name in ["WEB_PASSWORD", "WEB_TOKEN", "USER_PASSWORD", "CF_TUNNEL_TOKEN"] {
                let (settings, problems) = read(&[(name, given)]);
                let secret = match name {
                    "WEB_PASSWORD" => settings.web.password,
                    "WEB_TOKEN" => settings.web.token,
                    "USER_PASSWORD" => settings.user_password,
                    _ => settings.tunnel_token,
                };
                assert_eq!(secret.as_ref().map(Secret::expose), used, "{name}={given:?}");
                let expected: Vec<_> = problem.iter().map(|problem| format!("{name}: {problem}")).collect();
                assert_eq!(problems, expected, "{given:?}");
            }
        }
    }

    #[test]
    fn a_secret_of_which_nothing_is_left_is_reported_with_what_holds_instead() {
        for (name, otherwise) in [
            ("WEB_PASSWORD", "using a generated one"),
            ("WEB_TOKEN", "using a generated one"),
            ("USER_PASSWORD", "using the default"),
            ("CF_TUNNEL_TOKEN", "ignored"),
        ] {
            for (given, removed) in [("\"\"", "quotes"), (" \t", "blanks")] {
                let (settings, problems) = read(&[(name, given)]);
                let expected = format!("{name}: the value is empty after removing {removed}; {otherwise}");
                assert_eq!(problems, [expected]);
                assert!(settings.web.password.is_none() && settings.user_password.is_none());
                assert!(settings.web.token.is_none() && settings.tunnel_token.is_none());
            }
        }
    }

    #[test]
    fn a_password_that_the_system_could_not_take_is_reported_without_it() {
        let (settings, problems) = read(&[("USER_PASSWORD", &"x".repeat(100_000))]);
        assert!(settings.user_password.is_none());
        assert_eq!(problems, ["USER_PASSWORD: a system password has at most 511 bytes; using the default"]);
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
}
