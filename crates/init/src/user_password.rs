//! The system user's password, which no service accepts from outside.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use kit::atomic::{self, WriteOptions};
use kit::{Secret, cmd};

use crate::digest;

/// Documented default; harmless, because no service accepts passwords of system accounts.
const DEFAULT: &str = "password";
/// Digest of the last requested password: setting one takes a tenth of a second by design.
const ASKED: &str = "/opt/leonardo/etc/user_password.digest";

/// Sets the requested password once: a later change inside survives a restart.
pub fn apply(name: &str, asked: Option<&Secret>) -> Result<()> {
    let password = asked.map_or(DEFAULT, Secret::expose);
    let digest = digest::of_parts([name, password]);
    let shadow = fs::read("/etc/shadow").context("cannot read /etc/shadow")?;
    if has_one(&String::from_utf8_lossy(&shadow), name)
        && atomic::has_content(Path::new(ASKED), digest.as_bytes())
    {
        return Ok(());
    }
    cmd::run_with_input(&mut Command::new("/usr/sbin/chpasswd"), format!("{name}:{password}\n").as_bytes())?;
    atomic::write(Path::new(ASKED), digest.as_bytes(), WriteOptions::durable(0o600).owned_by(0, 0))
}

/// True if this password was the last requested one.
pub fn is_current(name: &str, password: &Secret) -> bool {
    atomic::has_content(Path::new(ASKED), digest::of_parts([name, password.expose()]).as_bytes())
}

/// True if shadow(5) has a password for an account, locked or not; `useradd` leaves a lone `!`.
fn has_one(shadow: &str, name: &str) -> bool {
    let mut fields = shadow
        .lines()
        .map(|line| line.split(':'))
        .filter_map(|mut fields| Some((fields.next()?, fields.next()?)));
    fields.any(|(found, hash)| found == name && !["", "!", "*", "!!"].contains(&hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_password_is_one_and_a_fresh_account_has_none() {
        let shadow = "a:$y$j9T$x:1::::::\nb:!:1::::::\nc:!$y$j9T$x:1::::::\nd::1::::::\naa:*:1::::::\n";
        let having: Vec<_> = ["a", "b", "c", "d", "aa", "none"].map(|name| has_one(shadow, name)).into();
        assert_eq!(having, [true, false, true, false, false, false]);
    }
}
