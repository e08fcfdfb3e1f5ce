//! Start the SSH server with key authentication only.
//!
//! Host keys are made at the first start, never in the image: everybody has the image. sshd reads no configuration
//! file: all its options are on its command line (see [`sshd_options`]), so that no file can bring passwords back. At each
//! login it asks this program for the keys (see [`key_sources`]).

mod authorized_key;
pub mod authorized_keys;
mod cli;
pub mod key_sources;
pub mod key_splitting;
mod sshd_options;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use kit::capabilities::{self, CapabilitySet};
use kit::{Env, Exit, HintExt, Outcome, SettingsReader, cmd, missing_ok, variables};

pub use cli::command;
pub use sshd_options::KEYS_COMMAND;

const SSHD: &str = "/usr/sbin/sshd";
/// Kinds and paths of the private host keys. No RSA: generating it takes seconds, and every client of the last ten years supports these two.
pub const HOST_KEYS: [(&str, &str); 2] =
    [("ed25519", "/etc/ssh/ssh_host_ed25519_key"), ("ecdsa", "/etc/ssh/ssh_host_ecdsa_key")];
/// Compiled-in privilege separation directory of sshd.
const PRIVSEP_DIRECTORY: &str = "/run/sshd";

/// Capabilities without which every login fails: sshd changes its root to [`PRIVSEP_DIRECTORY`] and its account to the
/// user's.
pub const REQUIRED_CAPABILITIES: CapabilitySet =
    CapabilitySet::SYS_CHROOT.union(CapabilitySet::SETUID).union(CapabilitySet::SETGID);

/// Runs the command line; returns only an error, or after printing.
pub fn run() -> Outcome {
    let cli = cli::Cli::try_parse()?;
    if let Some(user) = &cli.keys {
        return print_keys(user);
    }
    if uzers::get_effective_uid() != 0 {
        return Err(anyhow!("only root can start the SSH server")).hint(|| "run: sudo sshd-run".to_owned());
    }
    let env = Env::from_process();
    let mut reader = SettingsReader::new(&env);
    let effective = capabilities::effective()?;
    let port = reader.port(&variables::SSH_PORT);
    let options = sshd_options::options(port, effective.contains(CapabilitySet::AUDIT_WRITE));
    for problem in reader.into_problems() {
        log::warn!("{problem}");
    }
    fs::create_dir_all(PRIVSEP_DIRECTORY).with_context(|| format!("cannot create {PRIVSEP_DIRECTORY}"))?;
    for (kind, path) in HOST_KEYS {
        // One key is enough; sshd refuses to run without any.
        ensure_key(kind, Path::new(path)).unwrap_or_else(|error| log::warn!("{error:#}"));
    }
    if cli.show {
        let settings = cmd::stdout(Command::new(SSHD).arg("-T").args(&options))?;
        io::stdout().write_all(settings.as_bytes())?;
        return Ok(Exit::Done);
    }
    let missing: Vec<&str> =
        REQUIRED_CAPABILITIES.difference(effective).iter_names().map(|(name, _)| name).collect();
    if !missing.is_empty() {
        bail!("every login would fail: the container lacks the capability {}", missing.join(", "));
    }
    if let Some(path) = open_to_others(Path::new(sshd_options::KEYS_COMMAND))? {
        let path = path.display();
        return Err(anyhow!(
            "every login would fail: users other than root can change {path}, part of the path to the keys"
        ))
        .hint(|| format!("run: chown root {path}; chmod go-w {path}"));
    }
    // -D stays in the foreground for supervisord, -e logs to stderr.
    let error = Command::new(SSHD).args(["-D", "-e"]).args(&options).exec();
    bail!("cannot run {SSHD}: {error}")
}

/// Prints the keys accepted for `user`, one per line.
fn print_keys(user: &str) -> Outcome {
    if !key_sources::is_permitted_user(user) {
        return Ok(Exit::Done);
    }
    let (keys, problems) = key_sources::KeySources::default().read();
    problems.iter().for_each(|problem| log::warn!("{problem}"));
    io::stdout().write_all(keys.render().as_bytes())?;
    Ok(Exit::Done)
}

/// Returns the first part of the path to `command` that users other than root can change: sshd would refuse to run it.
pub fn open_to_others(command: &Path) -> Result<Option<PathBuf>> {
    let cannot = || format!("cannot access {}", command.display());
    for path in fs::canonicalize(command).with_context(cannot)?.ancestors() {
        let meta = fs::metadata(path).with_context(cannot)?;
        if meta.uid() != 0 || meta.mode() & 0o022 != 0 {
            return Ok(Some(path.to_owned()));
        }
    }
    Ok(None)
}

/// Creates a host key if it is missing; a partial one of a killed start is replaced. A mounted key may lack its public
/// half.
fn ensure_key(kind: &str, path: &Path) -> Result<()> {
    let public = path.with_extension("pub");
    if is_filled(path) && (is_filled(&public) || is_whole(path)) {
        return Ok(());
    }
    for half in [path, &public] {
        missing_ok(fs::remove_file(half)).with_context(|| format!("cannot replace {}", half.display()))?;
    }
    cmd::run(
        Command::new("/usr/bin/ssh-keygen")
            .args(["-q", "-N", "", "-C", "leonardo", "-t", kind, "-f"])
            .arg(path),
    )
}

/// True if ssh-keygen can read the private key without a passphrase.
fn is_whole(path: &Path) -> bool {
    cmd::stdout(Command::new("/usr/bin/ssh-keygen").args(["-y", "-P", "", "-f"]).arg(path)).is_ok()
}

fn is_filled(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.len() > 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn what_keeps_sshd_from_asking_for_keys_is_named() {
        // Not below /tmp, where everybody may write.
        let dir = tempfile::tempdir_in("/var/lib").unwrap();
        let inner = dir.path().join("inner");
        let (file, link) = (inner.join("command"), dir.path().join("link"));
        fs::create_dir(&inner).unwrap();
        fs::write(&file, "").unwrap();
        symlink(&file, &link).unwrap();
        let open = || open_to_others(&link).unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(open(), None);
        mode(&inner, 0o775);
        assert_eq!(open(), Some(inner.clone()));
        mode(&file, 0o757);
        assert_eq!(open(), Some(file.clone()));
        mode(&file, 0o755);
        mode(&inner, 0o755);
        chown(dir.path(), Some(1000), None).unwrap();
        assert_eq!(open().as_deref(), Some(dir.path()));
    }
}
