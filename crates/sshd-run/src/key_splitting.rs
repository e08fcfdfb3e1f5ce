//! Splits the public SSH keys of a variable.

use kit::invisible::{self, is_invisible};

use crate::authorized_key;

/// Returns the keys of a variable, one per line. Separators are line ends of any kind, a literal `\n`, or `;`; before
/// the type of another key also a blank, `,` or `|`, as forms and YAML put in the place of a line end.
///
/// Separators between the quotes of an option (`command="a; b"`) and in a comment belong to the key: a line ends only where
/// another key or nothing follows. In a line that is disabled by a `#`, a `;` separates nothing: the text after it is
/// disabled too.
#[must_use]
pub fn split_keys(text: &str) -> String {
    let text = invisible::strip_invisible(text).0.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut line_starts = true;
        for (separator, piece) in pieces(line) {
            let bare = invisible::strip_invisible(piece).0;
            match lines.last_mut().filter(|_| !line_starts) {
                Some(_) if bare.is_empty() => {}
                Some(last) if !names_a_key(bare) => last.extend([separator, piece]),
                _ => lines.push(bare.trim_end_matches([' ', ',', '|']).to_owned()),
            }
            line_starts = false;
        }
    }
    lines.join("\n")
}

/// Splits a line at each separator outside quotes; each piece is paired with the separator before it.
fn pieces(line: &str) -> Vec<(&str, &str)> {
    let (mut pieces, mut before, mut start, mut quoted) = (Vec::new(), "", 0, false);
    let mut at = 0;
    let is_comment = |start: usize| {
        line[start..].trim_start_matches(|c| is_invisible(c) || c == '"' || c == '\'').starts_with('#')
    };
    let mut comment = is_comment(0);
    while at < line.len() {
        let rest = &line[at..];
        let separator = ["\\r\\n", "\\n", "\\r", ";"]
            .into_iter()
            .find(|separator| rest.starts_with(separator) && !(comment && *separator == ";"));
        let in_line = || {
            let other = rest.strip_prefix([' ', '\t', ',', '|'])?;
            let splits = !comment && authorized_key::begins_with_key(other) && is_plain_key(&line[start..at]);
            splits.then(|| &rest[..1])
        };
        match separator.or_else(in_line).filter(|_| !quoted || comment) {
            Some(separator) => {
                pieces.push((before, &line[start..at]));
                before = separator;
                at += separator.len();
                start = at;
                (quoted, comment) = (false, is_comment(start));
            }
            // Inside an option, a quote is written \" (sshd(8)).
            None if quoted && rest.starts_with("\\\"") => at += 2,
            None => {
                quoted ^= rest.starts_with('"');
                at += rest.chars().next().map_or(1, char::len_utf8);
            }
        }
    }
    pieces.push((before, &line[start..]));
    pieces
}

/// True if nothing after the first key of a piece may be options of another key: without its options, a key has more
/// rights.
fn is_plain_key(piece: &str) -> bool {
    authorized_key::find_key(piece)
        .is_some_and(|at| !piece[at..].split_ascii_whitespace().any(authorized_key::may_be_options))
}

fn names_a_key(piece: &str) -> bool {
    const TYPES: [&str; 4] = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
    let mut words = piece.split_whitespace();
    words.any(|word| TYPES.iter().any(|kind| word.starts_with(kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_split_where_people_meant_it_and_nowhere_else() {
        let (one, two) = ("ssh-ed25519 AAAAC3 ada@example", "ssh-rsa AAAAB3");
        let both = format!("{one}\n{two}");
        for (given, wanted) in [
            (one.to_owned(), one.to_owned()),
            (both.clone(), both.clone()),
            (format!("{one}\\n{two}"), both.clone()),
            (format!("{one}\\r\\n{two}\\n"), both.clone()),
            (format!("{one};{two};"), both.clone()),
            (format!("{one} ; {two}"), both.clone()),
            (format!("{one}\r\n{two}\r\n"), both.clone()),
            (format!("{one}\r{two}"), both.clone()),
            (format!("\u{feff}\"{one}\\n{two}\"\r"), both.clone()),
            (format!("\"{one}\";\"{two}\""), both.clone()),
            (format!("'{one}'"), one.to_owned()),
            (
                format!("command=\"a;b \\\"c;\\n\\\"\" {one};no-pty {two}"),
                format!("command=\"a;b \\\"c;\\n\\\"\" {one}\nno-pty {two}"),
            ),
            (format!("{one}; laptop"), format!("{one}; laptop")),
            (format!("{two} CORP\\nancy"), format!("{two} CORP\\nancy")),
            (format!("# {one} ä\n\n{two}"), format!("# {one} ä\n\n{two}")),
            (format!("# {one};{two}"), format!("# {one};{two}")),
            (format!("\u{feff} #{one};{two}\n{two}"), format!("#{one};{two}\n{two}")),
            (format!("{two};# {one};{one}"), format!("{two}\n# {one};{one}")),
            (format!("{two}\\n# \" {one};{one}\\n{two}"), format!("{two}\n# \" {one};{one}\n{two}")),
            (format!("\"# {one};{two}\""), format!("# {one};{two}")),
            (String::new(), String::new()),
            // In the place of a line end: what forms for one line and YAML's > make.
            (format!("{one} {two}"), both.clone()),
            (format!("{one}\t {two}"), both.clone()),
            (format!("{one},{two}"), both.clone()),
            (format!("{two}=, {one}"), format!("{two}=\n{one}")),
            (format!("{one} | {two}|"), both.clone()),
            (format!("no-pty {one} {two} a b {one}"), format!("no-pty {both} a b\n{one}")),
            (format!("command=\"{one} {two}\" {one}"), format!("command=\"{one} {two}\" {one}")),
            (format!("# {one} {two}"), format!("# {one} {two}")),
        ]
        .into_iter()
        // What may be options of the other key does not get lost.
        .chain(["no-pty", "a,Restrict", "from=\"10.0.0.0/8\"", "environment=A"].map(|options| {
            let line = format!("{one} {options} {two}");
            (line.clone(), line)
        }))
        .chain([
            (format!("{one},no-pty {two}"), format!("{one},no-pty {two}")),
            (format!("- {one}"), format!("- {one}")),
        ]) {
            assert_eq!(split_keys(&given), wanted, "{given:?}");
        }
    }
}
