//! Assignments in files of settings: `NAME=value`, `name: value`, `"name": "value"`.

use crate::url_password::has_url_password;
use crate::variable::is_secret;

/// Maximum length of a value that is judged, in bytes.
const MAX_VALUE: usize = 1_024;

/// True if a line that is no comment has a password in a URL, or assigns a secret.
pub fn has_secret_setting(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let is_comment = |line: &str| line.trim_start().starts_with(['#', ';']);
    text.lines().filter(|line| !is_comment(line)).any(|line| {
        has_url_password(line.as_bytes())
            || assignments(line).any(|(name, value)| {
                let is_literal = value.starts_with('\'');
                let value = unquoted(value);
                is_secret(name, value) && (is_literal || !is_expansion(value))
            })
    })
}

/// Returns the names that a line assigns, each with the text behind.
fn assignments(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.match_indices(['=', ':']).filter_map(|(index, sign)| {
        let (before, after) = (line[..index].trim_end(), &line[index + 1..]);
        let quoted = before.trim_end_matches(['"', '\'']);
        let name = quoted.rsplit(|character| !is_of_name(character)).next().unwrap_or_default();
        // A comparison, or a colon inside of a value.
        let is_assignment = match sign {
            "=" => !after.starts_with('=') && !before.ends_with(['=', '!', '<', '>', '~']),
            _ => after.starts_with([' ', '"', '\'']),
        };
        (is_assignment && !name.is_empty()).then(|| (name, after.trim_start()))
    })
}

/// Returns the start of a value, up to its closing quote, or else up to a blank or a separator.
fn unquoted(text: &str) -> &str {
    // A line of an untrusted image can have a value behind each of its characters.
    let text = &text[..text.floor_char_boundary(MAX_VALUE)];
    for quote in ['"', '\''] {
        if let Some(quoted) = text.strip_prefix(quote) {
            return quoted.split(quote).next().unwrap_or_default();
        }
    }
    text.split([' ', '\t', ',', ';', '}']).next().unwrap_or_default()
}

/// True for what a shell replaces: `$name`, `${name`, `$(command`, `` `command ``; also if a blank cut its end off.
pub fn is_expansion(value: &str) -> bool {
    let value = value.trim_start_matches(['"', '\'']);
    let is_start = |first: char| "_{(".contains(first) || first.is_ascii_alphanumeric();
    value.starts_with('`') || value.strip_prefix('$').is_some_and(|name| name.starts_with(is_start))
}

fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_-.".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_secret_by_its_name_and_its_value() {
        for (line, expected) in [
            ("export HF_TOKEN='abc'", true),
            ("API_KEY = \"x y\"", true),
            ("WEB_PASSWORD=20240815", true),
            ("environment=A=\"b\",HF_TOKEN=\"abc\"", true),
            ("command=app --hf-token=abc", true),
            ("//registry.npmjs.org/:_authToken=abc", true),
            ("token: abc", true),
            ("{\"user\":\"ada\",\"clientSecret\":\"abc\"}", true),
            ("index-url = https://ada:sesame@h/simple", true),
            ("größe™ API_KEY=x", true),
            ("™=x ™ = ", false),
            ("# API_KEY=x", false),
            ("; password=x", false),
            ("OMP_NUM_THREADS='4'", false),
            ("WEB_PASSWORD=$password", false),
            ("export WEB_PASSWORD='$ecret99'", true),
            ("export HF_TOKEN=$(cat /run/secrets/token)", false),
            ("WEB_PASSWORD=\"${WEB_PASSWORD:-}\"", false),
            ("environment=HF_TOKEN=\"%(ENV_HF_TOKEN)s\"", false),
            ("secret==1.0", false),
            ("WEB_TOKEN_FILE=/run/secrets/token", false),
            ("\"tokens\": 5, \"max_token\": 100", false),
            ("deb [signed-by=/usr/share/keyrings/x.gpg] https://h/x y main", false),
        ] {
            assert_eq!(has_secret_setting(line.as_bytes()), expected, "{line}");
        }
    }
}
