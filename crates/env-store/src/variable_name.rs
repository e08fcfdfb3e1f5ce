//! Variable names that a shell can keep, and those that belong to a session rather than to the container.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use kit::UsageError;

/// Set by every login or shell; storing them would copy one session's value into all others.
const SESSION_VARIABLES: [&str; 15] = [
    "_",
    "HOME",
    "HOSTNAME",
    "LOGNAME",
    "MAIL",
    "OLDPWD",
    "PWD",
    "SHELL",
    "SHLVL",
    "TERM",
    "USER",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_TTY",
    // The session has seen the banner.
    "LEONARDO_BANNER",
];

/// Names that bash or dash does not simply store (bash(1), "Shell Variables"): the shell refuses to assign them, computes
/// the value, expands it as code, or exits if the value is not a number. `BASH` and names that begin with `BASH_` are
/// excluded too.
const SHELL_VARIABLES: [&str; 27] = [
    "BASHOPTS",
    "BASHPID",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "HISTCMD",
    "IFS",
    "LINENO",
    "MAILCHECK",
    "MAILPATH",
    "OPTIND",
    "PIPESTATUS",
    "PPID",
    "PROMPT_COMMAND",
    "PS0",
    "PS1",
    "PS2",
    "PS3",
    "PS4",
    "RANDOM",
    "SECONDS",
    "SHELLOPTS",
    "SRANDOM",
    "UID",
];

/// Set by the store's own file: which version of it a shell has read (see `/etc/bash.bashrc`).
pub const VERSION_VARIABLE: &str = "LEONARDO_ENVIRONMENT";

/// Reason why a variable is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No shell can export a variable of this name.
    NotAName,
    /// Every session has its own value.
    OfASession,
    /// The shell itself owns it.
    OfTheShell,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotAName => "not a variable name (letters, digits and _, no digit first)",
            Self::OfASession => "it has a different value in every session, so it is not stored",
            Self::OfTheShell => "it is reserved by the shell, so it is not stored",
        })
    }
}

/// Returns an error if a variable of this name cannot be stored.
pub fn check_storable(name: &str) -> Result<(), Refusal> {
    if !is_name(name) {
        Err(Refusal::NotAName)
    } else if SESSION_VARIABLES.contains(&name) || name == VERSION_VARIABLE || name.starts_with("SUPERVISOR_")
    {
        Err(Refusal::OfASession)
    } else if SHELL_VARIABLES.contains(&name) || name == "BASH" || name.starts_with("BASH_") {
        Err(Refusal::OfTheShell)
    } else {
        Ok(())
    }
}

/// Splits `NAME=VALUE` at the first `=`; every byte behind it is the value.
pub fn parse_assignment(assignment: &OsStr) -> Result<(String, OsString), UsageError> {
    let bytes = assignment.as_bytes();
    let malformed = || UsageError(format!("{} is not NAME=VALUE", assignment.to_string_lossy()));
    let equals = bytes.iter().position(|&byte| byte == b'=').ok_or_else(malformed)?;
    let name = std::str::from_utf8(&bytes[..equals]).map_err(|_| malformed())?;
    Ok((name.to_owned(), OsString::from_vec(bytes[equals + 1..].to_vec())))
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first == b'_' || first.is_ascii_alphabetic())
        && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_reason() {
        assert_eq!(check_storable("HF_TOKEN"), Ok(()));
        assert_eq!(check_storable("PATH"), Ok(()));
        for name in ["", "1A", "A-B", "A B", "A;id", "Ä", "BASH_FUNC_x%%"] {
            assert_eq!(check_storable(name), Err(Refusal::NotAName), "{name:?}");
        }
        for name in ["HOME", "LEONARDO_BANNER", "LEONARDO_ENVIRONMENT"] {
            assert_eq!(check_storable(name), Err(Refusal::OfASession), "{name}");
        }
        assert_eq!(check_storable("SUPERVISOR_ENABLED"), Err(Refusal::OfASession));
        for name in ["UID", "RANDOM", "BASH", "BASH_ENV"] {
            assert_eq!(check_storable(name), Err(Refusal::OfTheShell), "{name}");
        }
        for name in ["BASHFUL", "ENV", "LANG", "SECONDS_TO_WAIT", "random"] {
            assert_eq!(check_storable(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn only_the_first_equals_sign_splits() {
        let (name, value) = parse_assignment(OsStr::new("A=b=c==")).unwrap();
        assert_eq!((name.as_str(), value.to_str()), ("A", Some("b=c==")));
        assert!(parse_assignment(OsStr::new("FOO")).is_err());
    }
}
