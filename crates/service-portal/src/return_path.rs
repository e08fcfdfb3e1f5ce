//! The path to which a visitor returns after the login, on the same host and port.

/// Maximum length of a path, in bytes.
const MAX_LENGTH: usize = 4_000;

/// Returns the path if it is safe, otherwise the start page.
pub fn safe_path(wanted: &str) -> &str {
    if is_local(wanted) && wanted.len() <= MAX_LENGTH && !is_login(wanted) { wanted } else { "/" }
}

/// True for a path on the same host and port.
///
/// Browsers take `//host`, `/\host` and paths with tabs or newlines for other hosts. Only printable ASCII without a backslash
/// and with exactly one leading slash is accepted.
pub fn is_local(path: &str) -> bool {
    let printable = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    printable && path.starts_with('/') && !path.starts_with("//")
}

/// True for the login form and the logout; returning to them after a login would look like a failure.
fn is_login(path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    matches!(path, "/leonardo/login" | "/leonardo/logout")
}

/// Returns the path of the login form, with the path to return to.
pub fn login_path(back: &str) -> String {
    match safe_path(back) {
        "/" => "/leonardo/login".to_owned(),
        back => format!("/leonardo/login?next={}", percent_encode(back)),
    }
}

/// Percent-encodes a query value (RFC 3986, 2.3); `/` is kept for readability.
pub fn percent_encode(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.extend(['%', hex(byte >> 4), hex(byte & 15)]);
        }
    }
    escaped
}

fn hex(digit: u8) -> char {
    char::from(b"0123456789ABCDEF"[usize::from(digit)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_paths_on_the_same_host_are_safe() {
        for good in ["/", "/a/b?c=d&e=%2F#f", "/@evil", "/https://evil/"] {
            assert_eq!(safe_path(good), good);
        }
        let long = format!("/{}", "a".repeat(MAX_LENGTH));
        for bad in [
            "",
            "a",
            "//evil/",
            "/\\evil",
            "\\\\evil",
            "https://evil/",
            "@evil",
            "/\t/evil",
            "/\n/evil",
            " //evil",
            "/ä",
            "javascript:alert(1)",
            "/leonardo/login?next=/x",
            &long,
        ] {
            assert_eq!(safe_path(bad), "/", "{bad:?}");
        }
    }

    #[test]
    fn the_path_to_return_to_is_one_query_value() {
        assert_eq!(login_path("/a?b=c&d=e"), "/leonardo/login?next=/a%3Fb%3Dc%26d%3De");
        assert_eq!(login_path("/"), "/leonardo/login");
    }

    proptest! {
        #[test]
        fn no_path_leaves_the_host(wanted in "[/\\\\@:.a-z\t\n %?#-]{0,24}") {
            let path = safe_path(&wanted);
            prop_assert!(path.starts_with('/') && !path.starts_with("//"));
            prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'));
            prop_assert!(login_path(&wanted).starts_with("/leonardo/login"));
        }
    }
}
