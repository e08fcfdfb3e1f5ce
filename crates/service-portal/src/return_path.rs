//! Where a visitor goes after the login: a path on the same host and port, and nothing else.

/// The longest path that is carried through the login form, in bytes.
const LONGEST: usize = 4_000;

/// The path if it is one that a login may lead to, else the start page.
pub fn safe_path(wanted: &str) -> &str {
    if is_local(wanted) && wanted.len() <= LONGEST && !is_login(wanted) { wanted } else { "/" }
}

/// True for a path on the same host and port.
///
/// Browsers read `//host`, `/\host` and paths with tabs or newlines as other hosts, so only printable ASCII without a
/// backslash and with exactly one leading slash passes.
pub fn is_local(path: &str) -> bool {
    let printable = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    printable && path.starts_with('/') && !path.starts_with("//")
}

/// Going back to the form after a login would look like a failure.
fn is_login(path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    matches!(path, "/leonardo/login" | "/leonardo/logout")
}

/// The form's address with the way back, relative to whatever host and port the visitor used.
pub fn login_path(back: &str) -> String {
    match safe_path(back) {
        "/" => "/leonardo/login".to_owned(),
        back => format!("/leonardo/login?next={}", percent_encode(back)),
    }
}

/// Percent-encoding of what a query value cannot hold (RFC 3986, 2.3).
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
    fn only_paths_on_the_same_host_pass() {
        for good in ["/", "/a/b?c=d&e=%2F#f", "/@evil", "/https://evil/"] {
            assert_eq!(safe_path(good), good);
        }
        let long = format!("/{}", "a".repeat(LONGEST));
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
    fn the_way_back_survives_as_one_query_value() {
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
