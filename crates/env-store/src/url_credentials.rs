//! Logins inside of addresses: `https://user:password@host`, as in the address of a script, a proxy or a package index.

use std::ops::Range;

/// Returns the ranges of credentials in a value that contains URLs (RFC 3986, section 3.2), without the `@`.
#[must_use]
pub fn find_url_credentials(value: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(index) = value[from..].windows(3).position(|bytes| bytes == b"://") {
        let start = from + index + 3;
        let ends =
            |byte: &u8| matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'') || byte.is_ascii_whitespace();
        let end = value[start..].iter().position(ends).map_or(value.len(), |length| start + length);
        // A password with an unescaped @ is against the RFC, and common.
        if let Some(length) =
            value[start..end].iter().rposition(|&byte| byte == b'@').filter(|&length| length > 0)
        {
            found.push(start..start + length);
        }
        from = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_login_is_found_and_nothing_else_is() {
        let found = |value: &str| -> Vec<String> {
            find_url_credentials(value.as_bytes()).into_iter().map(|range| value[range].to_owned()).collect()
        };
        assert_eq!(found("https://ada:sesame@h/x@y?z=@"), ["ada:sesame"]);
        assert_eq!(found("socks5://token@h:1"), ["token"]);
        assert_eq!(found("http://a:p@ss@h"), ["a:p@ss"]);
        assert_eq!(found("https://a:b@h/simple https://h/x \"https://:c@g\""), ["a:b", ":c"]);
        for none in ["", "://", "https://", "https://h/a@b", "https://@h", "ada@h", "a:b@h/x", "git+ssh://h"]
        {
            assert_eq!(found(none), [""; 0], "{none}");
        }
    }
}
