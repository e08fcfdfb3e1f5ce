//! Lines of `authorized_keys` files: which of them are public keys.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kit::Problem;

/// The key types that OpenSSH accepts today (sshd(8), `PubkeyAcceptedAlgorithms`).
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];
/// Lines of one source that are reported one by one; a file that is no list of keys has thousands.
const MOST_REPORTED: usize = 5;

/// The lines that name a usable key, each once.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Keys(Vec<String>);

impl Keys {
    /// Reads the sources in their order, each a name and its text; a line that is neither a key nor a comment is reported
    /// by source and number. Options of a line stay with it.
    #[must_use]
    pub fn parse<'a>(sources: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Self, Vec<Problem>) {
        let (mut seen, mut keys, mut problems) = (HashSet::new(), Vec::new(), Vec::new());
        for (source, text) in sources {
            let mut refused = 0;
            // Editors of Windows begin a file with a mark.
            let lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines();
            for (number, line) in lines.enumerate().map(|(index, line)| (index + 1, line.trim())) {
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                if !is_key_line(line) {
                    refused += 1;
                    if refused <= MOST_REPORTED {
                        let message = format!("line {number} is not a public SSH key; ignored");
                        problems.push(Problem::new(source, message));
                    }
                } else if seen.insert(line) {
                    keys.push(line.to_owned());
                }
            }
            if let Some(more) = refused.checked_sub(MOST_REPORTED).filter(|&more| more > 0) {
                problems.push(Problem::new(
                    source,
                    format!("{more} more lines are not public SSH keys; ignored"),
                ));
            }
        }
        (Self(keys), problems)
    }

    /// True if there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the content of an `authorized_keys` file.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

/// True if a line has a key, whatever options or comment it has besides.
///
/// A key begins with the length-prefixed name of its own type (RFC 4253, 6.6), which tells it from a private key,
/// a fingerprint or half a line pasted by mistake.
fn is_key_line(line: &str) -> bool {
    if line.chars().any(|character| character.is_control() && character != '\t') {
        return false;
    }
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    words.windows(2).any(|pair| TYPES.contains(&pair[0]) && is_key(pair[0], pair[1]))
}

fn is_key(kind: &str, base64: &str) -> bool {
    let Ok(blob) = STANDARD.decode(base64) else { return false };
    let named = [&u32::try_from(kind.len()).unwrap_or(0).to_be_bytes()[..], kind.as_bytes()].concat();
    blob.len() > named.len() + 4 && blob.starts_with(&named)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const ADA: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJhc2UgaW1hZ2UgdGVzdCBrZXkgbnVtYmVyIG9uZSEh ada@example";
    pub(crate) const BOB: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJhc2UgaW1hZ2UgdGVzdCBrZXkgbnVtYmVyIHR3byEh";

    #[test]
    fn comments_and_line_ends_of_windows_are_no_keys_and_each_line_is_kept_once() {
        let many = format!("\u{feff}{BOB}\r\n\r\n# a comment\r\n{ADA}");
        let (keys, problems) = Keys::parse([("mounted", many.as_str()), ("PUBLIC_KEY", ADA)]);
        assert_eq!(keys.render(), format!("{BOB}\n{ADA}\n"));
        assert_eq!(problems, []);
    }

    #[test]
    fn options_stay_with_their_key_and_make_it_another_line() {
        let here = format!("from=\"10.0.0.0/8\",no-pty {BOB}");
        let there = format!("from=\"192.168.0.0/16\",command=\"echo a b\"\t{BOB}");
        let (keys, problems) = Keys::parse([("own", format!("{here}\n{there}\n").as_str())]);
        assert_eq!((keys.render(), problems), (format!("{here}\n{there}\n"), vec![]));
    }

    #[test]
    fn what_is_not_a_key_is_named_by_line_and_the_rest_is_kept() {
        let text =
            format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{ADA}\nssh-ed25519 AAAA\nssh-rsa {}", &ADA[12..80]);
        let (keys, problems) = Keys::parse([("SSH_PUBKEY", text.as_str())]);
        assert_eq!(keys.render(), format!("{ADA}\n"));
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [1, 3, 4].map(|line| format!("SSH_PUBKEY: line {line} is not a public SSH key; ignored"))
        );
    }

    #[test]
    fn a_file_of_something_else_is_not_reported_line_by_line() {
        let (keys, problems) = Keys::parse([("own", "text\n".repeat(1_000).as_str())]);
        assert!(keys.is_empty());
        assert_eq!(problems.len(), MOST_REPORTED + 1);
        let last = problems.last().map(ToString::to_string);
        assert_eq!(last.as_deref(), Some("own: 995 more lines are not public SSH keys; ignored"));
    }
}
