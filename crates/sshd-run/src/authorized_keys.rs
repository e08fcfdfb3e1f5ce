//! Parses the lines of `authorized_keys` files.

use std::collections::HashSet;

use kit::Problem;

use crate::authorized_key;

/// Number of rejected lines reported for each source; a file of something else has thousands.
const MAX_LISTED: usize = 5;

/// The lines with a usable key, without duplicates.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AuthorizedKeys(Vec<String>);

impl AuthorizedKeys {
    /// Reads the sources in their order, each a name and its text; a line that is neither a key nor a comment is reported
    /// by source and number. Options of a line stay with it.
    #[must_use]
    pub fn parse<'a>(sources: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Self, Vec<Problem>) {
        let (mut seen, mut keys, mut problems) = (HashSet::new(), Vec::new(), Vec::new());
        for (source, text) in sources {
            let (mut refused, mut in_block) = (0, false);
            // Windows editors add a byte order mark.
            let lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines();
            for (number, line) in lines.enumerate().map(|(index, line)| (index + 1, line.trim())) {
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                // The lines of a block are reported as one.
                let block = line.starts_with("----").then(|| line.trim_matches(['-', ' ']));
                in_block &= !block.is_some_and(|block| block.starts_with("END "));
                let mut report = |what: &str| {
                    refused += 1;
                    if refused <= MAX_LISTED {
                        problems.push(Problem::new(source, format!("line {number} {what}; ignored")));
                    }
                };
                let line = match usable(line) {
                    Ok((line, "")) => line,
                    Ok((line, _)) => {
                        report("contains a second key; put each key on its own line");
                        line
                    }
                    Err(_) if in_block || block.is_some_and(|block| block.starts_with("END ")) => continue,
                    Err(why) => {
                        in_block = block.is_some_and(|block| block.starts_with("BEGIN "));
                        report(block.and_then(of_block).unwrap_or(why));
                        continue;
                    }
                };
                in_block = false;
                if seen.insert(line) {
                    keys.push(line.to_owned());
                }
            }
            if let Some(more) = refused.checked_sub(MAX_LISTED).filter(|&more| more > 0) {
                problems.push(Problem::new(
                    source,
                    format!("{more} more lines have no usable key, or more than one; ignored"),
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

/// Returns the kind of a block by its first line (RFC 7468, RFC 4716).
fn of_block(begin: &str) -> Option<&'static str> {
    if begin.ends_with("PRIVATE KEY") {
        Some("is a private key, which must not leave your machine; use the .pub file")
    } else if begin == "BEGIN SSH2 PUBLIC KEY" {
        Some("begins a key in the format of PuTTY; convert it with: ssh-keygen -i -f FILE")
    } else {
        None
    }
}

/// Splits a line after its usable key and comment: sshd would take a second key for a part of the comment.
fn usable(line: &str) -> Result<(&str, &str), &'static str> {
    if line.chars().any(|character| character.is_control() && character != '\t') {
        return Err("is not a public SSH key");
    }
    let comment = authorized_key::parse_comment(line)?;
    let (line, other) = line
        .split_at(line.len() - comment.len() + authorized_key::find_key(comment).unwrap_or(comment.len()));
    Ok((line.trim_end(), other))
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
        let (keys, problems) = AuthorizedKeys::parse([("mounted", many.as_str()), ("PUBLIC_KEY", ADA)]);
        assert_eq!(keys.render(), format!("{BOB}\n{ADA}\n"));
        assert_eq!(problems, []);
    }

    #[test]
    fn options_stay_with_their_key_and_make_it_another_line() {
        let here = format!("from=\"10.0.0.0/8\",no-pty {BOB}");
        let there = format!("from=\"192.168.0.0/16\",command=\"echo a b\"\t{BOB}");
        let (keys, problems) = AuthorizedKeys::parse([("own", format!("{here}\n{there}\n").as_str())]);
        assert_eq!((keys.render(), problems), (format!("{here}\n{there}\n"), vec![]));
    }

    #[test]
    fn what_is_not_a_key_is_named_by_line_and_the_rest_is_kept() {
        let text = format!("nonsense\n{ADA}\nssh-ed25519 AAAA\nssh-rsa {}", &ADA[12..80]);
        let (keys, problems) = AuthorizedKeys::parse([("SSH_PUBKEY", text.as_str())]);
        assert_eq!(keys.render(), format!("{ADA}\n"));
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "SSH_PUBKEY: line 1 is not a public SSH key; ignored",
                "SSH_PUBKEY: line 3 has a key that is cut off or damaged; ignored",
                "SSH_PUBKEY: line 4 has a key that is cut off or damaged; ignored",
            ]
        );
    }

    #[test]
    fn a_key_of_another_format_is_named_once_and_what_follows_counts() {
        let text = format!(
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz\naC1rZXkt\n-----END OPENSSH PRIVATE KEY-----\n\
             ---- BEGIN SSH2 PUBLIC KEY ----\nComment: \"x\"\nAAAAC3Nz\n---- END SSH2 PUBLIC KEY ----\n{ADA}\nnonsense"
        );
        let (keys, problems) = AuthorizedKeys::parse([("SSH_PUBKEY", text.as_str())]);
        assert_eq!(keys.render(), format!("{ADA}\n"));
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "SSH_PUBKEY: line 1 is a private key, which must not leave your machine; use the .pub file; ignored",
                "SSH_PUBKEY: line 5 begins a key in the format of PuTTY; convert it with: ssh-keygen -i -f FILE; \
                 ignored",
                "SSH_PUBKEY: line 10 is not a public SSH key; ignored",
            ]
        );
    }

    #[test]
    fn a_file_of_something_else_is_not_reported_line_by_line() {
        let (keys, problems) = AuthorizedKeys::parse([("own", "text\n".repeat(1_000).as_str())]);
        assert!(keys.is_empty());
        assert_eq!(problems.len(), MAX_LISTED + 1);
        let last = problems.last().map(ToString::to_string);
        assert_eq!(
            last.as_deref(),
            Some("own: 995 more lines have no usable key, or more than one; ignored")
        );
    }

    #[test]
    fn another_key_in_a_line_is_reported_and_does_not_count() {
        for between in [" ", ",", "|", " restrict "] {
            let (keys, problems) = AuthorizedKeys::parse([("own", format!("{ADA}{between}{BOB}").as_str())]);
            assert_eq!(keys.render().split_whitespace().nth(1), ADA.split_whitespace().nth(1));
            assert_eq!(keys.render().matches("ssh-ed25519").count(), 1, "{between}");
            let problem = "line 1 contains a second key; put each key on its own line; ignored";
            assert_eq!(problems, [Problem::new("own", problem)]);
        }
    }
}
