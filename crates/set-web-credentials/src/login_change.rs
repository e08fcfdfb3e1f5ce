//! A change of some fields of the login.

use kit::Secret;
use web_login::Login;

/// New values of the login; `None` keeps the old one.
#[derive(Debug, Default)]
pub struct LoginChange {
    /// New user name.
    pub user: Option<String>,
    /// New password.
    pub password: Option<Secret>,
    /// New token.
    pub token: Option<Secret>,
}

impl LoginChange {
    /// Returns the changed login.
    ///
    /// The digest of the settings that the container's environment asked for is kept, so that a restart with the same
    /// settings does not undo the change.
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

/// Returns the password if a form, a header and a shell file can carry it, otherwise the reason.
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
    fn fields_without_a_new_value_are_kept() {
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
    fn a_password_is_a_single_line_that_is_not_empty() {
        assert_eq!(password("  a b:c'\"$(x) ž ".into()).unwrap().expose(), "  a b:c'\"$(x) ž ");
        assert_eq!(password(String::new()).unwrap_err(), "is empty");
        for text in ["a\nb", "a\r", "a\0b"] {
            assert_eq!(password(text.into()).unwrap_err(), "contains control characters");
        }
    }
}
