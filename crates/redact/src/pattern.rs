//! Masks what looks like a secret.

use std::sync::LazyLock;

use regex_lite::{Captures, Regex};

use crate::MASK;

/// Minimum length of a random word without a known beginning.
const RANDOM_LENGTH: usize = 32;

/// Expressions; what they match behind their first group is masked.
static SECRETS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let expressions = [
        r#"(?i)(\bauthorization["']?\s*[:=]\s*)[^\r\n]+"#,
        r"(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{6,}",
        // Logins in options of curl and wget, passwords of sshpass and of MySQL's programs, keys without an option.
        r#"((?:^|[\s"'\[(`])(?:-u|(?:-[A-Za-z]*[uU]|--user|--proxy-user)(?:["'],|=|[ \t])[ \t]*)[^\s:"'=]+:)[^\s"']+"#,
        r#"((?:^|[\s"'\[(`])(?:-u|(?:-[A-Za-z]*[uU]|--user|--proxy-user)(?:["'],|=|[ \t])[ \t]*)["'][^\s:"']+:)[^"']+"#,
        r#"(\bsshpass\s[^|;&]*?-p[ \t]*)(?:"[^"]*"|'[^']*'|\S+)"#,
        r#"(\b(?:mysql|mariadb)[a-z-]*\s(?:[^|;&]*?\s)?-p)(?:"[^"]*"|'[^']*'|[^\s|;&]+)"#,
        r"(\b(?:wandb[ \t]+login|ngrok[ \t]+authtoken|add-authtoken)[ \t]+(?:--?\S+[ \t]+)*)[^\s-]\S*",
        // Logins, queries and fragments of addresses.
        r#"(://[^\s/:@"'?#]*:)[^\s/"'?#]+(?:@)"#,
        r#"(://)[^\s/:@"'?#]{6,}(?:@)"#,
        r#"(://[^\s?#"'<>]*[?#])[^\s"'<>]+"#,
        r"()\b(?:hf_|gh[pousr]_|github_pat_|glpat-|sk-|xox[abeprs]-|AKIA|AIza|eyJ|npm_|pypi-|r8_|dckr_pat_)[A-Za-z0-9_.=/+-]{10,}",
    ];
    expressions.iter().filter_map(|expression| Regex::new(expression).ok()).collect()
});

/// Names, as their first group, and the values behind them, which are masked if the name looks secret.
static NAMED: LazyLock<Vec<(Regex, Regex)>> = LazyLock::new(|| {
    const QUOTED: &str = r#""[^"]*"|'[^']*'"#;
    let pairs = [
        (r#"([A-Za-z0-9_.-]+)["']?\s*=+\s*"#, r#"[^\s,;&"']+"#),
        // Not a short word of a sentence or a small number.
        (
            r#"([A-Za-z0-9_.-]+)["']?\s*:\s*"#,
            r#"[^\s,;&"']{12,}|(?i:[^\s,;&"']*[a-z][^\s,;&"']*[0-9][^\s,;&"']*|[^\s,;&"']*[0-9][^\s,;&"']*[a-z][^\s,;&"']*)|[0-9]{6,}[^\s,;&"']*|[^\s,;&"']*[!@#$%^*+~][^\s,;&"']+|[^\s,;&"']*[a-z][^\s,;&"']*[A-Z][^\s,;&"']*"#,
        ),
        // Options with the value behind a blank, and commands such as `aws configure set NAME VALUE`.
        (r#"(?:^|[\s"'\[(`])(--?[A-Za-z0-9_-]+)["']?,?[ \t]+"#, r#"[^\s,;&"'-][^\s,;&"']*"#),
        (r#"\bset[ \t]+["']?([A-Za-z0-9_.:/-]+)["']?[ \t]+"#, r#"[^\s,;&"'-][^\s,;&"']*"#),
    ];
    let value = |plain: &str| Regex::new(&format!("^(?:{QUOTED}|{plain})"));
    pairs.iter().filter_map(|(name, plain)| Some((Regex::new(name).ok()?, value(plain).ok()?))).collect()
});

static WORDS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[A-Za-z0-9+/=_-]{32,}").ok());

/// Masks private keys, tokens, values of names such as `password`, logins and queries of addresses, and random words.
#[must_use]
pub fn mask_secret_looking(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    // True inside of a private key, and after a line that looks like a part of one.
    let (mut in_key, mut was_encoded) = (false, false);
    for line in text.split_inclusive('\n') {
        let (content, end) = line.strip_suffix('\n').map_or((line, ""), |content| (content, "\n"));
        let begins = content.contains("-----BEGIN ") && content.contains("PRIVATE KEY");
        in_key |= begins;
        let last_word = content.split_whitespace().next_back().unwrap_or_default();
        let is_encoded = is_base64(last_word) && (last_word.len() >= 40 || was_encoded);
        if in_key || is_encoded {
            masked.push_str(MASK);
        } else {
            masked.push_str(&line_masked(content));
        }
        masked.push_str(end);
        in_key &= !content.contains("-----END ");
        was_encoded = is_encoded;
    }
    masked
}

/// True for a line of base64, which a path or a digest in hexadecimal digits is not.
fn is_base64(word: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    !word.is_empty() && !word.starts_with('/') && word.bytes().all(is_letter) && is_mixed(word)
}

fn is_mixed(word: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| word.bytes().any(|byte| kind(&byte));
    has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit)
}

fn line_masked(line: &str) -> String {
    let replaced = |text: String, expression: &Regex| {
        let mask = |found: &Captures<'_>| {
            let kept = found.get(1).map_or("", |kept| kept.as_str());
            let end = if found[0].ends_with('@') { "@" } else { "" };
            format!("{kept}{MASK}{end}")
        };
        expression.replace_all(&text, mask).into_owned()
    };
    let text = NAMED.iter().fold(line.to_owned(), |text, (name, value)| named_masked(&text, name, value));
    let text = SECRETS.iter().fold(text, replaced);
    let Some(words) = WORDS.as_ref() else { return text };
    let random = |found: &Captures<'_>| {
        let parts = found[0]
            .split('/')
            .map(|part| if part.len() >= RANDOM_LENGTH && is_mixed(part) { MASK } else { part });
        parts.collect::<Vec<_>>().join("/")
    };
    words.replace_all(&text, random).into_owned()
}

/// Masks each value behind a name that looks secret.
fn named_masked(text: &str, name: &Regex, value: &Regex) -> String {
    let mut masked = String::with_capacity(text.len());
    let (mut shown, mut next) = (0, 0);
    while let Some(found) = name.captures_at(text, next) {
        let end = found.get(0).map_or(text.len(), |whole| whole.end());
        next = end;
        let Some(value) = value.find(&text[end..]) else { continue };
        if names_secret(&found[1], value.as_str()) {
            masked.push_str(&text[shown..end]);
            masked.push_str(MASK);
            shown = end + value.end();
            next = shown;
        }
    }
    masked.push_str(&text[shown..]);
    masked
}

fn names_secret(name: &str, value: &str) -> bool {
    // The shell's directory, or the password in the connection string of a database.
    let is_password = name.eq_ignore_ascii_case("pwd") && !value.starts_with('/');
    is_password || (env_store::looks_secret(name) && !name.eq_ignore_ascii_case("pwd"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_expression_is_valid() {
        assert_eq!((SECRETS.len(), NAMED.len(), WORDS.is_some()), (11, 4, true));
    }

    #[test]
    fn what_looks_secret_is_masked_and_the_rest_stays() {
        for (text, expected) in [
            ("Authorization: Basic dXNlcjpw, then", "Authorization: ********"),
            ("sent Bearer abcdef123 to x", "sent Bearer ******** to x"),
            ("HF_TOKEN=abc next", "HF_TOKEN=******** next"),
            ("RCLONE_CONFIG_S3_PASS='a b'", "RCLONE_CONFIG_S3_PASS=********"),
            (r#"{"token": "abc", "n": 1}"#, r#"{"token": ********, "n": 1}"#),
            ("WEB_TOKEN: is empty", "WEB_TOKEN: is empty"),
            ("password: correcthorsebattery", "password: ********"),
            ("password: hunter2", "password: ********"),
            ("Generated password: Ab3dE9xK.", "Generated password: ********"),
            ("Password: correctHorse, token: 123456", "Password: ********, token: ********"),
            ("secret: pa$$word", "secret: ********"),
            ("password: required, token: none", "password: required, token: none"),
            ("Password: Required, max_token: 42", "Password: Required, max_token: 42"),
            ("run --password x --port 1", "run --password ******** --port 1"),
            ("run --token abc", "run --token ********"),
            ("run --api-key=abc -v", "run --api-key=******** -v"),
            ("['run', '--hf-token', 'abc', '-v']", "['run', '--hf-token', ********, '-v']"),
            ("run --token --port 1, --token-file x", "run --token --port 1, --token-file x"),
            ("git+https://ada:p@ss@host/x", "git+https://ada:********@host/x"),
            ("https://token-1@host/x", "https://********@host/x"),
            ("https://h/x.sh?sig=abc&y=1 done", "https://h/x.sh?******** done"),
            ("https://h/x.sh#abc done", "https://h/x.sh#******** done"),
            ("https://h:8080/plain/path", "https://h:8080/plain/path"),
            ("curl -u ada:sesame https://h", "curl -u ada:******** https://h"),
            ("curl -sSu 'ada:open sesame'", "curl -sSu 'ada:********'"),
            ("['curl', '-u', 'ada:pw']", "['curl', '-u', 'ada:********']"),
            ("sort -u x, chown -R user: /w", "sort -u x, chown -R user: /w"),
            ("wget --user=ada:pw x", "wget --user=ada:******** x"),
            ("sshpass -p sesame ssh h -p 22", "sshpass -p ******** ssh h -p 22"),
            ("mysql -u ada -psesame -h db", "mysql -u ada -p******** -h db"),
            ("mysql -p'open sesame' x", "mysql -p******** x"),
            ("mysql -u ada -p < dump.sql", "mysql -u ada -p < dump.sql"),
            ("Server=db;UID=sa;PWD=ab1;x=1", "Server=db;UID=sa;PWD=********;x=1"),
            ("PWD=/workspace OLDPWD=/root pwd=/tmp", "PWD=/workspace OLDPWD=/root pwd=/tmp"),
            ("pwd=ab1 key=cd2, x=key=ef3", "pwd=******** key=********, x=key=********"),
            ("+ export OPENAI_KEY=ab MYSQL_PWD=cd", "+ export OPENAI_KEY=******** MYSQL_PWD=********"),
            (
                "aws configure set aws_secret_access_key ab1",
                "aws configure set aws_secret_access_key ********",
            ),
            (
                "npm config set //registry.example/:_authToken ab1",
                "npm config set //registry.example/:_authToken ********",
            ),
            ("wandb login --relogin ab1", "wandb login --relogin ********"),
            ("AccountName=ada;AccountKey=ab1==;x", "AccountName=ada;AccountKey=********;x"),
            ("SSH_PUBKEY=ssh-ed25519 x, KEYMAP=us", "SSH_PUBKEY=ssh-ed25519 x, KEYMAP=us"),
            ("KeyError: 'a1', set -x; max_tokens=42", "KeyError: 'a1', set -x; max_tokens=42"),
            ("key ghp_0123456789abcdef in use", "key ******** in use"),
            ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "jwt ********"),
            ("id AbCdEfGh0123456789AbCdEfGh0123456789 x", "id ******** x"),
            // A digest, a path and a name are no secrets.
            (
                "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            ),
            (
                "/opt/micromamba/envs/Python3/lib/python3.12/site-packages/Torch1 found",
                "/opt/micromamba/envs/Python3/lib/python3.12/site-packages/Torch1 found",
            ),
        ] {
            assert_eq!(mask_secret_looking(text), expected, "{text}");
        }
    }

    #[test]
    fn private_keys_are_masked_whole_and_from_their_middle() {
        let key =
            "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\ndef==\n-----END OPENSSH PRIVATE KEY-----\nnext\n";
        assert_eq!(mask_secret_looking(key), "********\n********\n********\n********\nnext\n");
        let rest = "x | b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\nx | QyN1aB==\nx | end\n";
        assert_eq!(mask_secret_looking(rest), "********\n********\nx | end\n");
    }
}
