//! Secrets in variables: by the name, and by the value.

use env_store::looks_secret;

use crate::token::has_token;
use crate::url_password::has_url_password;

/// Minimum length of a value that makes a secret of a name such as `OPENAI_KEY`.
const KEY_LENGTH: usize = 12;

/// Parts of names whose every value is a secret: a key may also be of a table or a keyboard.
const PASSWORDS: [&str; 9] =
    ["PASS", "PWD", "TOKEN", "SECRET", "CRED", "APIKEY", "API_KEY", "ACCESS_KEY", "PRIVATE_KEY"];
/// Last words of names that say something about a secret.
const ABOUT: [&str; 16] = [
    "AUTHENTICATION",
    "COUNT",
    "ENDPOINT",
    "EXPIRATION",
    "EXPIRY",
    "HELPER",
    "HOST",
    "ID",
    "LIMIT",
    "MODE",
    "POLICY",
    "PREFIX",
    "STDIN",
    "TIMEOUT",
    "URI",
    "URL",
];
/// Words beside `TOKEN` where it is a part of a text for a language model.
const OF_A_MODEL: [&str; 16] = [
    "BOS", "CLS", "DECODER", "END", "EOS", "MASK", "MAX", "MIN", "NUM", "PAD", "PER", "SEP", "SPECIAL",
    "START", "STOP", "UNK",
];

/// First names of paths on which directories with other letters follow.
const ROOTS: [&str; 17] = [
    "app",
    "config",
    "data",
    "dev",
    "etc",
    "home",
    "media",
    "mnt",
    "opt",
    "proc",
    "root",
    "run",
    "srv",
    "tmp",
    "usr",
    "var",
    "workspace",
];

/// True if a variable with this name and value is a secret. A switch, a path and a placeholder are none.
#[must_use]
pub fn is_secret(name: &str, value: &str) -> bool {
    let value = value.trim().trim_matches(['"', '\'']);
    if value.is_empty() {
        return false;
    }
    if has_token(value.as_bytes()) || has_url_password(value.as_bytes()) {
        return true;
    }
    let is_named = names_secret(name) || looks_secret(name) && is_random(value);
    is_named && !is_switch(value) && !is_location(value) && !is_placeholder(value)
}

/// True if a name is that of a password, a token or the like, whatever its value. Narrower than `env_store::looks_secret`, which
/// hides a value rather than shows it.
pub fn names_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace(['-', '.'], "_");
    let words: Vec<&str> = name.split('_').collect();
    let is_about = words.last().is_some_and(|last| ABOUT.contains(last)) && !name.ends_with("ACCESS_KEY_ID");
    let is_of_a_model = name.contains("TOKEN") && words.iter().any(|word| OF_A_MODEL.contains(word));
    looks_secret(&name) && PASSWORDS.iter().any(|part| name.contains(part)) && !is_about && !is_of_a_model
}

fn is_switch(value: &str) -> bool {
    const WORDS: [&str; 8] = ["true", "false", "yes", "no", "on", "off", "none", "null"];
    // One digit is 0 or 1; two are a number of something, and too short for a password.
    value.len() <= 2 && value.bytes().all(|byte| byte.is_ascii_digit())
        || WORDS.contains(&value.to_ascii_lowercase().as_str())
}

/// True for a URL, and for a path: a random value can begin with a slash and have more, but not names in lower case alone.
fn is_location(value: &str) -> bool {
    let Some(path) =
        value.strip_prefix('/').or_else(|| value.strip_prefix("~/")).or_else(|| value.strip_prefix("./"))
    else {
        return ["http://", "https://", "file://"].iter().any(|scheme| value.starts_with(scheme));
    };
    let names: Vec<_> = path.split('/').collect();
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"/._-".contains(&byte);
    let has_extension = names.last().and_then(|name| name.rsplit_once('.')).is_some_and(|(_, extension)| {
        (2..=5).contains(&extension.len()) && extension.bytes().all(|byte| byte.is_ascii_lowercase())
    });
    let is_below_root = names.len() > 1 && ROOTS.contains(&names[0]);
    is_below_root || has_extension || names.len() > 1 && path.bytes().all(is_plain)
}

/// True for what stands for a value: `$NAME`, `${NAME}`, `$(command)`, `<token>`, `{token}`, `%(ENV_X)s`, `****`, `xxxx`.
///
/// `$ecret` is none: in a variable of an image, nothing expands it.
pub fn is_placeholder(value: &str) -> bool {
    const BRACKETS: [(&str, &str); 7] =
        [("${", "}"), ("$(", ")"), ("`", "`"), ("<", ">"), ("{", "}"), ("[", "]"), ("%(", ")s")];
    let is_name = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    value.strip_prefix('$').is_some_and(|name| name.bytes().all(is_name))
        || BRACKETS.iter().any(|(start, end)| value.starts_with(start) && value.ends_with(end))
        || value.bytes().all(|byte| byte.is_ascii_punctuation())
        || value.bytes().all(|byte| b"xX".contains(&byte)) && value.len() > 2
}

/// True for letters and digits of the length of a key, without blanks.
pub fn is_random(value: &str) -> bool {
    value.len() >= KEY_LENGTH
        && value.bytes().all(|byte| byte.is_ascii_graphic())
        && value.bytes().any(|byte| byte.is_ascii_digit())
        && value.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_its_name_or_its_form_and_a_setting_is_none() {
        let token = format!("hf_{}", "a".repeat(34));
        for (name, value, secret) in [
            ("HF_TOKEN", "abc", true),
            ("OPENAI_API_KEY", "x y", true),
            ("WEB_PASSWORD", "sesame", true),
            ("WEB_PASSWORD", "20240815", true),
            ("WEB_PASSWORD", "$ecret99", true),
            ("WEB_PASSWORD", "$SESAME99", true),
            ("WEB_PASSWORD", "{sesame", true),
            ("WEB_PASSWORD", "/sesame", true),
            ("AWS_SECRET_ACCESS_KEY", "/wJalrXUtnFEMI/K7MDENG/bPxRfiCYzABCDEFGH", true),
            ("PGPASSWORD", "sesame12", true),
            ("RCLONE_CONFIG_X_PASS", "abcdefgh", true),
            ("DB_PASS", "1234", true),
            ("MYSQL_PWD", "sesame", true),
            ("AWS_ACCESS_KEY_ID", "abc", true),
            ("CIVITAI_KEY", "0123456789abcdef0123", true),
            ("INDEX", "https://ada:sesame@pypi.example/simple", true),
            ("MODEL", token.as_str(), true),
            ("HF_TOKEN", "", false),
            ("HF_TOKEN", "$TOKEN", false),
            ("HF_TOKEN", "${TOKEN:-}", false),
            ("WEB_TOKEN_FILE", "/run/secrets/token", false),
            ("SSL_PRIVATE_KEY", "/etc/ssl/private/Server.Key", false),
            ("GOOGLE_APPLICATION_CREDENTIALS", "/key.json", false),
            ("CREDENTIALS", "/secrets/gcp", false),
            ("MAX_TOKENS", "4096", false),
            ("TOKEN_LIMIT", "4096", false),
            ("TOKEN_URL", "/oauth/Token", false),
            ("EOS_TOKEN", "50256", false),
            ("USE_TOKEN", "true", false),
            ("REQUIRE_PASSWORD", "1", false),
            ("MODIFIER_KEY", "ctrl", false),
            ("GPG_KEY", "7169605F62C751356D054A26A821E680E5FA6305", false),
            ("REPOSITORY", "ssh://git@github.com/a/b", false),
            ("MODEL", "hf_short", false),
        ] {
            assert_eq!(is_secret(name, value), secret, "{name}={value}");
        }
    }
}
