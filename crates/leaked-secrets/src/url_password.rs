//! Passwords in URLs.

use env_store::find_url_credentials;

use crate::assignment::is_expansion;
use crate::variable::is_placeholder;

/// Minimum length of a user name that is a token.
const TOKEN_LENGTH: usize = 20;

/// True if a text contains a URL with a password, or with a token as its user; `ssh://git@host` has none.
pub fn has_url_password(text: &[u8]) -> bool {
    find_url_credentials(text).into_iter().any(|range| {
        let login = String::from_utf8_lossy(&text[range]);
        match login.split_once(':') {
            // Some services take the token as the user.
            Some((user, "" | "x-oauth-basic")) => is_token(user),
            Some((_, password)) => !is_reference(password),
            None => is_token(&login),
        }
    })
}

fn is_token(user: &str) -> bool {
    user.len() >= TOKEN_LENGTH && !is_reference(user)
}

fn is_reference(text: &str) -> bool {
    is_placeholder(text) || is_expansion(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_and_a_reference_are_no_password() {
        for (text, expected) in [
            ("url = https://ada:sesame@h/x", true),
            ("https://0123456789abcdef0123@h/x", true),
            ("https://0123456789abcdef0123:x-oauth-basic@h/x", true),
            ("ssh://git@github.com/a/b https://git@h", false),
            ("https://ada:$TOKEN@h https://ada:$token@h https://ada:${TOKEN}@h", false),
            ("https://user:<password>@h https://ada:****@h", false),
            ("https://h/x", false),
        ] {
            assert_eq!(has_url_password(text.as_bytes()), expected, "{text}");
        }
    }
}
