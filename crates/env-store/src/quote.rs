//! Quoting for POSIX shells: inside single quotes every byte but the quote is literal.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A quote inside a quoted value: close, one escaped quote, reopen.
const QUOTE_IN_QUOTES: &[u8] = br"'\''";

/// Returns the value as one shell word.
pub fn quote(value: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in value.as_bytes() {
        match byte {
            b'\'' => quoted.extend_from_slice(QUOTE_IN_QUOTES),
            byte => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

/// Parses a word written by [`quote`] at the start of `text`; returns the value and the rest.
pub fn unquote(text: &[u8]) -> Option<(OsString, &[u8])> {
    let mut rest = text.strip_prefix(b"'")?;
    let mut value = Vec::new();
    loop {
        let end = rest.iter().position(|&byte| byte == b'\'')?;
        value.extend_from_slice(&rest[..end]);
        match rest[end..].strip_prefix(QUOTE_IN_QUOTES) {
            Some(more) => {
                value.push(b'\'');
                rest = more;
            }
            None => return Some((OsString::from_vec(value), &rest[end + 1..])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    proptest! {
        #[test]
        fn any_value_comes_back(bytes in proptest::collection::vec(1_u8.., 0..200)) {
            let value = OsString::from_vec(bytes);
            let mut text = quote(&value);
            text.extend_from_slice(b"\nexport");
            prop_assert_eq!(unquote(&text), Some((value, &b"\nexport"[..])));
        }

        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
            let _ = unquote(&bytes);
        }
    }

    #[test]
    fn a_real_shell_reads_what_was_written() {
        let value = OsStr::from_bytes(b"it's \"$(touch /tmp/owned)\" `id` \\ $HOME\nsecond\tline\xff'");
        let mut script = b"printf %s ".to_vec();
        script.extend(quote(value));
        for shell in ["sh", "bash"] {
            let output = Command::new(shell).arg("-c").arg(OsStr::from_bytes(&script)).output().unwrap();
            assert_eq!(output.stdout, value.as_bytes(), "{shell}");
        }
    }
}
