//! What shall be another, and what stays.

use kit::Secret;
use web_login::Login;

/// A change of the login; what is not named stays as it is.
#[derive(Debug, Default)]
pub struct LoginChange {
    /// Another user.
    pub user: Option<String>,
    /// Another password.
    pub password: Option<Secret>,
    /// Another token.
    pub token: Option<Secret>,
}

impl LoginChange {
    /// The login afterwards. What the container's environment asked for stays noted, so that a restart which asks for
    /// the same again does not take the change back.
    #[must_use]
    pub fn apply_to(self, login: Login) -> Login {
        Login {
            user: self.user.unwrap_or(login.user),
            password: self.password.unwrap_or(login.password),
            token: self.token.unwrap_or(login.token),
            ..login
        }
    }
}

/// Takes a password that a form, a header and a shell file can carry; says what is wrong with another.
pub fn password(text: String) -> Result<Secret, &'static str> {
    web_login::check_secret(&text)?;
    Secret::new(text).ok_or("is empty")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        Login {
            user: "ada".into(),
            password: Secret::new("old").unwrap(),
            token: Secret::new("token").unwrap(),
            instance: "0badcafe".into(),
            asked: "digest".into(),
        }
    }

    fn shown(login: &Login) -> [&str; 5] {
        [&login.user, login.password.expose(), login.token.expose(), &login.instance, &login.asked]
    }

    #[test]
    fn what_is_not_named_stays() {
        assert_eq!(
            shown(&LoginChange::default().apply_to(login())),
            ["ada", "old", "token", "0badcafe", "digest"]
        );
        let change = LoginChange { user: Some("eve".into()), password: Secret::new("new"), token: None };
        assert_eq!(shown(&change.apply_to(login())), ["eve", "new", "token", "0badcafe", "digest"]);
        let change = LoginChange { token: Secret::new("fresh"), ..LoginChange::default() };
        assert_eq!(shown(&change.apply_to(login())), ["ada", "old", "fresh", "0badcafe", "digest"]);
    }

    #[test]
    fn a_password_is_one_line_that_says_something() {
        assert_eq!(password("  a b:c'\"$(x) ž ".into()).unwrap().expose(), "  a b:c'\"$(x) ž ");
        assert_eq!(password(String::new()).unwrap_err(), "is empty");
        for text in ["a\nb", "a\r", "a\0b"] {
            assert_eq!(password(text.into()).unwrap_err(), "has control characters");
        }
    }
}
