//! Characters around a value that its author did not see: line breaks, blanks, byte order marks, kept quotes.
//!
//! `docker run --env-file` keeps quotes and blanks, `$(cat file)` of a Windows file keeps a carriage return, and a form
//! may add a byte order mark. None of these is typed into a login form.

/// Returns the value without the characters around it, and their names.
///
/// A pair of quotes is removed only if the value has no other such quote inside, so that `"a" or "b"` stays.
#[must_use]
pub fn strip_invisible(text: &str) -> (&str, Vec<&'static str>) {
    let bare = text.trim_matches(is_invisible);
    let mut removed = Vec::new();
    let around = text.len() > bare.len();
    let cut: String = if bare.is_empty() { text.to_owned() } else { text.replacen(bare, "", 1) };
    for (what, is_it) in [
        ("a line break", (|c| matches!(c, '\r' | '\n')) as fn(char) -> bool),
        ("blanks", |c| c.is_whitespace() && !matches!(c, '\r' | '\n')),
        ("invisible characters", |c| is_invisible(c) && !c.is_whitespace()),
    ] {
        if around && cut.contains(is_it) {
            removed.push(what);
        }
    }
    let quoted = ['"', '\''].into_iter().find_map(|quote| {
        let inside = bare.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inside.contains(quote)).then_some(inside)
    });
    if quoted.is_some() {
        removed.push("quotes");
    }
    (quoted.unwrap_or(bare), removed)
}

/// True for blanks, control characters and zero-width characters.
#[must_use]
pub fn is_invisible(character: char) -> bool {
    character.is_whitespace()
        || character.is_control()
        || matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_surrounds_a_value_is_removed_and_named() {
        for (given, value, removed) in [
            ("secret", "secret", &[][..]),
            ("secret\n", "secret", &["a line break"]),
            ("secret\r", "secret", &["a line break"]),
            (" secret\t", "secret", &["blanks"]),
            ("\u{feff}secret", "secret", &["invisible characters"]),
            ("secret\u{200b}", "secret", &["invisible characters"]),
            ("\u{a0}secret", "secret", &["blanks"]),
            ("\"secret\"", "secret", &["quotes"]),
            ("'secret'\r\n", "secret", &["a line break", "quotes"]),
            ("' secret '", " secret ", &["quotes"]),
            ("\"\"", "", &["quotes"]),
            ("  ", "", &["blanks"]),
            ("", "", &[]),
            ("\"", "\"", &[]),
            ("\"secret", "\"secret", &[]),
            ("\"a\" or \"b\"", "\"a\" or \"b\"", &[]),
            ("it's", "it's", &[]),
            ("a\nb", "a\nb", &[]),
            ("a b=", "a b=", &[]),
        ] {
            assert_eq!(strip_invisible(given), (value, removed.to_vec()), "{given:?}");
        }
    }
}
