//! Public SSH keys of the environment, for sshd, which asks for all keys at each login.

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

/// Puts the environment's keys where sshd finds them, and returns all keys that would log in now.
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

/// Makes it unless it is there; a mounted one keeps its owner and its modes.
fn make_directory(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("cannot create {}", path.display()))
}
