//! Whose script it is: the system user of this container.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use kit::{Env, HintExt};
use uzers::os::unix::UserExt;

/// Who the system user is if nobody said otherwise, or said something that cannot be a name.
const DEFAULT: &str = "user";

/// The account that a script runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: PathBuf,
}

impl Account {
    /// The system user that `init` has made for `USER_NAME`.
    pub fn of(env: &Env) -> Result<Self> {
        let asked = env.text("USER_NAME").unwrap_or(DEFAULT);
        let found = uzers::get_user_by_name(asked).or_else(|| uzers::get_user_by_name(DEFAULT));
        let found = found.ok_or_else(|| anyhow!("there is no account {asked:?} to run the script"));
        let found =
            found.hint(|| "the container's log says why it was not made: look for USER_NAME".to_owned())?;
        Self::of_user(&found)
    }

    /// An account by its name, for whoever was told it.
    pub fn named(name: &str) -> Result<Self> {
        let user = uzers::get_user_by_name(name).ok_or_else(|| anyhow!("there is no account {name:?}"))?;
        Self::of_user(&user)
    }

    fn of_user(user: &uzers::User) -> Result<Self> {
        let name = user.name().to_string_lossy().into_owned();
        if user.uid() == 0 {
            // init makes no user of this name either.
            let hint = "give USER_NAME another name; the script can use sudo for what takes root".to_owned();
            return Err(kit::exit::with_hint(anyhow!("scripts do not run as {name:?}"), hint));
        }
        let home = user.home_dir().to_owned();
        Ok(Self { name, uid: user.uid(), gid: user.primary_group_id(), home })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_never_roots() {
        let env: Env = [("USER_NAME", "root")].into_iter().collect();
        assert_eq!(Account::of(&env).unwrap_err().to_string(), "scripts do not run as \"root\"");
        let nobody = Account::named("nobody").unwrap();
        assert_eq!((nobody.name.as_str(), nobody.uid == 0), ("nobody", false));
    }
}
