//! Public SSH keys: the union of every way in which they arrive, each once.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kit::Problem;
use kit::atomic::{self, Placement};

use crate::settings::Settings;

const OWN: &str = "/root/.ssh/authorized_keys";
const MOUNTED: &str = "/root/.ssh/authorized_keys_mount";
/// The key types that OpenSSH accepts today (sshd(8), `PubkeyAcceptedAlgorithms`).
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// The lines of an `authorized_keys` file that name a usable key.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Keys(Vec<String>);

impl Keys {
    /// Whether there is nobody who could log in.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The content of an `authorized_keys` file.
    pub fn render(&self) -> String {
        self.0.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

/// Writes root's `authorized_keys`: what is there already, what is mounted, what the environment brings.
pub fn install(settings: &Settings, problems: &mut Vec<Problem>) -> Result<Keys> {
    let own = read(Path::new(OWN))?;
    let mounted = read(Path::new(MOUNTED))?;
    let mut sources = vec![(OWN, own.as_str()), (MOUNTED, mounted.as_str())];
    sources.extend(settings.keys.iter().map(|(name, text)| (*name, text.as_str())));
    let (keys, refused) = union(&sources);
    problems.extend(refused);
    if !keys.is_empty() {
        let directory = Path::new("/root/.ssh");
        fs::create_dir_all(directory).context("cannot create /root/.ssh")?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
            .context("cannot protect /root/.ssh")?;
        atomic::write_if_changed(Path::new(OWN), keys.render().as_bytes(), Placement::durable(0o600))?;
    }
    Ok(keys)
}

fn read(path: &Path) -> Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        // A bind mount of a file that does not exist on the host becomes a directory.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {
            Ok(String::new())
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Keeps each key's first line; what is neither a key nor a comment is reported by source and line.
fn union(sources: &[(&str, &str)]) -> (Keys, Vec<Problem>) {
    let (mut seen, mut keys, mut problems) = (HashSet::new(), Vec::new(), Vec::new());
    for (source, text) in sources {
        for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match identity(line) {
                Some(identity) if seen.insert(identity.to_owned()) => keys.push(line.to_owned()),
                Some(_) => {}
                None => problems
                    .push(Problem::new(*source, format!("line {number} is not a public SSH key; ignored"))),
            }
        }
    }
    (Keys(keys), problems)
}

/// The base64 part of a key line, which identifies the key whatever options or comment the line has.
///
/// It begins with the length-prefixed name of its own type (RFC 4253, 6.6), which tells a key from a private key,
/// a fingerprint or half a line pasted by mistake.
fn identity(line: &str) -> Option<&str> {
    if line.chars().any(char::is_control) {
        return None;
    }
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    words.windows(2).find(|pair| TYPES.contains(&pair[0]) && is_key(pair[0], pair[1])).map(|pair| pair[1])
}

fn is_key(kind: &str, base64: &str) -> bool {
    let Ok(blob) = STANDARD.decode(base64) else { return false };
    let named = [&u32::try_from(kind.len()).unwrap_or(0).to_be_bytes()[..], kind.as_bytes()].concat();
    blob.len() > named.len() + 4 && blob.starts_with(&named)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJhc2UgaW1hZ2UgdGVzdCBrZXkgbnVtYmVyIG9uZSEh ada@example";
    const BOB: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJhc2UgaW1hZ2UgdGVzdCBrZXkgbnVtYmVyIHR3byEh";

    #[test]
    fn each_key_is_kept_once_wherever_it_came_from() {
        let with_option = format!("no-pty {ADA}");
        let many = format!("{BOB}\r\n\n# a comment\n{ADA}");
        let (keys, problems) = union(&[("mounted", &with_option), ("PUBLIC_KEY", &many)]);
        assert_eq!(keys.render(), format!("{with_option}\n{BOB}\n"));
        assert_eq!(problems, []);
    }

    #[test]
    fn running_it_again_over_its_own_result_changes_nothing() {
        let (once, _) = union(&[("SSH_PUBKEY", &format!("{ADA}\n{BOB}"))]);
        let (twice, _) = union(&[("own", &once.render()), ("SSH_PUBKEY", &format!("{BOB}\n{ADA}"))]);
        assert_eq!(once, twice);
    }

    #[test]
    fn what_is_not_a_key_is_named_by_line_and_the_rest_is_kept() {
        let text =
            format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{ADA}\nssh-ed25519 AAAA\nssh-rsa {}", &ADA[12..80]);
        let (keys, problems) = union(&[("SSH_PUBKEY", &text)]);
        assert_eq!(keys.render(), format!("{ADA}\n"));
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [1, 3, 4].map(|line| format!("SSH_PUBKEY: line {line} is not a public SSH key; ignored"))
        );
    }
}
