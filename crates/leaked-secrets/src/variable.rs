//! Secrets in variables and in command lines.

use env_store::find_url_credentials;

/// Beginnings of tokens with a recognizable form, with the least number of characters that follow.
const TOKENS: &[(&str, usize)] = &[
    ("hf_", 30),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghs_", 30),
    ("github_pat_", 30),
    ("glpat-", 20),
    ("npm_", 30),
    ("pypi-AgEI", 30),
    ("sk-ant-", 30),
    ("sk-proj-", 30),
    ("xoxb-", 20),
    ("AKIA", 16),
];

/// True if a variable with this name and value is a secret. A number, a switch, a path and a reference are none.
#[must_use]
pub fn is_secret(name: &str, value: &str) -> bool {
    let value = value.trim().trim_matches(['"', '\'']);
    if value.is_empty() {
        return false;
    }
    if has_token(value) || !find_url_credentials(value.as_bytes()).is_empty() {
        return true;
    }
    let is_plain = value.starts_with(['/', '$'])
        || value.bytes().all(|byte| byte.is_ascii_digit())
        || ["true", "false", "yes", "no", "none"].contains(&value.to_ascii_lowercase().as_str());
    names_secret(name) && !is_plain
}

/// Narrower than `env_store::looks_secret`, which hides too much rather than too little: `TOKENIZERS_PARALLELISM` is none.
fn names_secret(name: &str) -> bool {
    const WORDS: [&str; 7] = ["PASSWORD", "PASSWD", "TOKEN", "SECRET", "CREDENTIALS", "APIKEY", "PASSPHRASE"];
    const PAIRS: [&str; 4] = ["API_KEY", "ACCESS_KEY", "PRIVATE_KEY", "PASSWORD_B64"];
    let name = name.to_ascii_uppercase();
    let is_file = name.ends_with("_FILE") || name.ends_with("_PATH");
    !is_file
        && (name.split('_').any(|word| WORDS.contains(&word)) || PAIRS.iter().any(|pair| name.contains(pair)))
}

/// Returns what in a command line is a secret: the name of a variable, or a description; never the value.
#[must_use]
pub fn find_in_line(line: &str) -> Option<String> {
    let words = line.split_whitespace().map(|word| word.trim_start_matches(['"', '\'', '-']));
    let mut assignments = words.filter_map(|word| word.split_once('='));
    if let Some((name, _)) = assignments.find(|(name, value)| is_name(name) && is_secret(name, value)) {
        return Some(name.to_owned());
    }
    if has_token(line) {
        return Some("a token".to_owned());
    }
    (!find_url_credentials(line.as_bytes()).is_empty()).then(|| "a password in a URL".to_owned())
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// True if a text contains a token of a known form.
pub(crate) fn has_token(text: &str) -> bool {
    let ends = |character: char| !(character.is_ascii_alphanumeric() || "_-".contains(character));
    text.split(ends).any(|word| {
        TOKENS
            .iter()
            .any(|(start, length)| word.strip_prefix(start).is_some_and(|rest| rest.len() >= *length))
    })
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
            ("AWS_SECRET_ACCESS_KEY", "x", true),
            ("INDEX", "https://ada:sesame@pypi.example/simple", true),
            ("MODEL", token.as_str(), true),
            ("HF_TOKEN", "", false),
            ("HF_TOKEN", "$TOKEN", false),
            ("WEB_TOKEN_FILE", "/run/secrets/token", false),
            ("TOKENIZERS_PARALLELISM", "false", false),
            ("MAX_TOKENS", "4096", false),
            ("USE_TOKEN", "true", false),
            ("MODEL", "hf_short", false),
        ] {
            assert_eq!(is_secret(name, value), secret, "{name}={value}");
        }
    }

    #[test]
    fn a_secret_in_a_line_is_named_without_its_value() {
        let token = format!("RUN echo {}{}", "ghp_", "a".repeat(36));
        for (line, found) in [
            ("RUN |1 HF_TOKEN=abc /bin/sh -c make", Some("HF_TOKEN")),
            ("ENV WEB_PASSWORD=\"sesame\"", Some("WEB_PASSWORD")),
            ("RUN login --token=abc", Some("token")),
            ("RUN git clone https://ada:sesame@git.example/x", Some("a password in a URL")),
            (token.as_str(), Some("a token")),
            ("RUN pip install a==1 --no-cache-dir", None),
            ("ENV PATH=/opt/x:$PATH", None),
        ] {
            assert_eq!(find_in_line(line).as_deref(), found, "{line}");
        }
    }
}
