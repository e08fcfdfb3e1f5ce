//! Private keys, as text.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

/// Minimum number of base64 characters of a key: the shortest, of Ed25519, has 64.
const MIN_KEY: usize = 40;
/// Bytes behind the first line in which they have to begin.
const WINDOW: usize = 1_024;

static BEGINNING: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| AhoCorasick::new(["-----BEGIN "]).ok());

/// True if a text contains a private key: its first line and base64 behind it, also as a string of JSON or of a program. An
/// expression that searches for keys has the line alone.
pub fn has_private_key(text: &[u8]) -> bool {
    let Some(beginning) = BEGINNING.as_ref() else { return false };
    text.starts_with(b"PuTTY-User-Key-File-")
        || beginning.find_iter(text).any(|found| {
            let rest = &text[found.end()..text.len().min(found.end() + WINDOW)];
            has_body(&String::from_utf8_lossy(rest))
        })
}

/// True if a text, behind `-----BEGIN`, goes on as a private key.
fn has_body(text: &str) -> bool {
    let Some((kind, body)) = text.split_once("-----") else { return false };
    if !kind.ends_with("PRIVATE KEY") && !kind.ends_with("PRIVATE KEY BLOCK") || kind.contains('\n') {
        return false;
    }
    let mut length = 0;
    for line in body.replace("\\r", "").replace("\\n", "\n").split(['\n', '\r']) {
        let line = line.split_once("-----").map_or(line, |(line, _)| line);
        let line = line
            .trim_matches(|character: char| character.is_whitespace() || "\"'`,+\\|#>".contains(character));
        if line.is_empty() || line.contains(": ") {
            // A header, such as "Proc-Type: 4,ENCRYPTED".
            continue;
        }
        if !line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)) {
            return false;
        }
        length += line.len();
        if length >= MIN_KEY {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_first_line_and_base64_behind_it() {
        let body = "MC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let (begin, end) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
        for (text, expected) in [
            (format!("{begin}\n{body}\n{end}\n"), true),
            (format!("Bag Attributes\r\n{begin}\r\n{body}\r\n{end}"), true),
            (format!("{{\"private_key\": \"{begin}\\n{body}\\n{end}\\n\"}}"), true),
            (format!("key: |\n  {begin}\n  {}\n  {}\n", &body[..32], &body[32..]), true),
            (
                format!("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: X,1\n\n{body}"),
                true,
            ),
            (format!("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{body}"), true),
            ("PuTTY-User-Key-File-3: ssh-ed25519\n".to_owned(), true),
            (format!("-----BEGIN CERTIFICATE-----\n{body}"), false),
            (format!("-----BEGIN PUBLIC KEY-----\n{body}"), false),
            (format!("{begin}\n...\n{end}\n{body}"), false),
            (format!("if line == \"{begin}\" {{\n    inside = true\n"), false),
            (format!("{begin}[A-Za-z0-9+/=\\s]+{end}"), false),
            (begin.to_owned(), false),
        ] {
            assert_eq!(has_private_key(text.as_bytes()), expected, "{text}");
        }
    }
}
