//! Names of variables and options whose values are secrets.

/// Ends of words, also in the plural and with a number behind: `OPENAI_KEY`, `PGPASSWORD`, `apiKey`, `password2`.
const ENDS: [&str; 13] = [
    "COOKIE",
    "CRED",
    "CREDENTIAL",
    "HEADERS",
    "KEY",
    "PASS",
    "PASSCODE",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "PWD",
    "SECRET",
    "TOKEN",
];
/// Whole words of a name, one behind the other.
const PHRASES: [&str; 5] =
    ["_ACCESS_GRANT_", "_BASIC_AUTH_", "_CONNECTION_STRING_", "_SAS_URL_", "_SIGNATURE_"];
/// Words and phrases that only look like those above, and programs that ask for a password.
const HARMLESS: [&str; 13] = [
    "_ASKPASS_",
    "_AUTHORIZED_KEYS_",
    "_BYPASS_",
    "_COMPASS_",
    // The fingerprint in Docker's official images.
    "_GPG_KEY_",
    "_GPG_KEYS_",
    "_HOTKEY_",
    "_MONKEY_",
    "_PUBKEY_",
    "_PUBKEYS_",
    "_PUBLICKEY_",
    "_PUBLIC_KEY_",
    "_PUBLIC_KEYS_",
];
/// Last words of a name that says something about a secret, such as the path of its file.
const ABOUT: [&str; 10] =
    ["DIR", "FILE", "FILENAME", "FILES", "LENGTH", "NAME", "PATH", "SIZE", "TTL", "TYPE"];

/// True if a value of this name should not be shown: `OPENAI_KEY`, `MYSQL_PWD` or `RCLONE_CONFIG_B2_PASS`, but not
/// `SSH_PUBKEY`, `WEB_TOKEN_FILE`, `MAX_TOKENS` or `KEYMAP`.
#[must_use]
pub fn looks_secret(name: &str) -> bool {
    // The shell's directories.
    if ["PWD", "OLDPWD"].contains(&name) {
        return false;
    }
    let upper = name.to_ascii_uppercase();
    let words: Vec<&str> =
        upper.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if words.last().is_some_and(|last| ABOUT.contains(last)) {
        return false;
    }
    let mut text = format!("_{}_", words.join("_"));
    for harmless in HARMLESS {
        text = text.replace(harmless, "_");
    }
    let is_limit = words.iter().any(|word| ["MAX", "MIN", "NUM"].contains(word));
    PHRASES.iter().any(|phrase| text.contains(phrase))
        || text.split('_').any(|word| is_secret_word(word) && !(is_limit && word == "TOKENS"))
}

fn is_secret_word(word: &str) -> bool {
    let word = word.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let singular = word.strip_suffix('S').unwrap_or(word);
    ENDS.iter().any(|end| word.ends_with(end) || singular.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_by_their_words() {
        for name in [
            "API_KEYS",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AZURE_STORAGE_CONNECTION_STRING",
            "FLOWER_BASIC_AUTH",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "HF_TOKEN",
            "KEY",
            "MYSQL_PWD",
            "OPENAI_KEY",
            "OTEL_EXPORTER_OTLP_HEADERS",
            "PGPASSWORD",
            "RCLONE_CONFIG_B2_KEY",
            "RCLONE_CONFIG_FILE_PASS",
            "RCLONE_CONFIG_MAX_PASSWORD2",
            "RCLONE_CONFIG_PASS",
            "SSHPASS",
            "TOKENS",
            "TS_AUTHKEY",
            "WEB_PASSWORD_B64",
            "apiKey",
            "key_pem",
            "pwd",
            "secret-access-key",
        ] {
            assert!(looks_secret(name), "{name}");
        }
        for name in [
            "",
            "API_KEY_NAME",
            "DB_PASSWORD_FILE",
            "GIT_ASKPASS",
            "GPG_KEY",
            "HOME",
            "KEYMAP",
            "LLM_MAX_NEW_TOKENS",
            "MONKEY_PATCH",
            "OLDPWD",
            "PASSENGER",
            "PUBLIC_KEY",
            "PWD",
            "SSH_KEY_PATH",
            "SSH_PUBKEY",
            "SSH_PUBLIC_KEY",
            "TOKENIZERS_PARALLELISM",
            "WEB_ENABLE_AUTH",
            "WEB_TOKEN_FILE",
            "key_file",
        ] {
            assert!(!looks_secret(name), "{name}");
        }
    }

    #[test]
    fn the_documented_secrets_and_no_others_look_secret() {
        for variable in kit::variables::ALL {
            let is_secret = variable.kind == kit::variables::Kind::Secret;
            assert_eq!(looks_secret(variable.name), is_secret, "{}", variable.name);
        }
    }
}
