//! Public SSH keys from the environment, stored for sshd, which reads all keys at each login.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, Result};
use kit::Problem;
use kit::atomic::{self, WriteOptions};
use sshd_run::authorized_keys::AuthorizedKeys;
use sshd_run::key_sources::{ENVIRONMENT_KEYS, KeySources};

use crate::note_failure;
use crate::settings::Settings;

/// Directory to which people add keys while the container runs.
const ROOTS: &str = "/root/.ssh";

/// Writes the environment's keys to a file for sshd, and returns all keys accepted now.
pub fn install(settings: &Settings, problems: &mut Vec<Problem>) -> AuthorizedKeys {
    let (given, refused) =
        AuthorizedKeys::parse(settings.keys.iter().map(|(name, text)| (*name, text.as_str())));
    problems.extend(refused);
    for done in [keep(&given), make_directory(Path::new(ROOTS))] {
        note_failure("SSH keys", done, problems);
    }
    let (keys, unusable) = KeySources::default().read();
    problems.extend(unusable);
    keys
}

fn keep(given: &AuthorizedKeys) -> Result<()> {
    let placement = WriteOptions::volatile(0o600).owned_by(0, 0);
    atomic::write_if_changed(Path::new(ENVIRONMENT_KEYS), given.render().as_bytes(), placement).map(drop)
}

/// Creates the directory if it is missing; a mounted one keeps its owner and mode.
fn make_directory(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("cannot create {}", path.display()))
}
