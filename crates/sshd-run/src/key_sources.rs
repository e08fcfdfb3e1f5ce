//! Files with public keys. sshd asks for keys at each login, so a change applies at once.
//!
//! None of them is on the volume: a key in the home directory there would admit everyone who can write to the volume.

use std::fs;
use std::path::{Path, PathBuf};

use kit::{Problem, ReadPolicy, windows_text};
use uzers::os::unix::GroupExt;

use crate::authorized_keys::AuthorizedKeys;

/// File with the environment's keys, as checked by `init`.
pub const ENVIRONMENT_KEYS: &str = "/run/leonardo/authorized_keys";
/// Maximum size of a file in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The files with keys for root and the system user.
#[derive(Debug)]
pub struct KeySources {
    /// Root's own file, edited or mounted.
    own: PathBuf,
    /// A file mounted from the host.
    mounted: PathBuf,
    given: PathBuf,
    /// Mount points, without the container's root.
    mounts: Vec<PathBuf>,
}

impl Default for KeySources {
    /// The files of this container.
    fn default() -> Self {
        Self {
            own: "/root/.ssh/authorized_keys".into(),
            mounted: "/root/.ssh/authorized_keys_mount".into(),
            given: ENVIRONMENT_KEYS.into(),
            mounts: workspace::mount_points(),
        }
    }
}

impl KeySources {
    /// Reads all keys; an unusable file is reported and skipped.
    #[must_use]
    pub fn read(&self) -> (AuthorizedKeys, Vec<Problem>) {
        let open = ReadPolicy::max_size(MAX_BYTES);
        let trusted = open.owned_by(&[0]);
        // A mounted file has its owner on the host.
        let own = if self.is_mounted(&self.own) { open } else { trusted };
        let (mut texts, mut problems) = (Vec::new(), Vec::new());
        for (path, terms) in [(&self.own, own), (&self.mounted, open), (&self.given, trusted)] {
            let name = path.display().to_string();
            // A missing file has no keys.
            match terms.read_if_exists(path).map(Option::unwrap_or_default) {
                Ok(bytes) if windows_text::is_utf16(&bytes) => {
                    problems.push(Problem::new(name, "it is UTF-16; save it as UTF-8; ignored"));
                }
                // Comments may have another encoding.
                Ok(bytes) => texts.push((name, String::from_utf8_lossy(&bytes).into_owned())),
                Err(refused) => {
                    problems.push(Problem::new(name, format!("{}; ignored", refused.reason)));
                }
            }
        }
        let (keys, refused) =
            AuthorizedKeys::parse(texts.iter().map(|(path, text)| (path.as_str(), text.as_str())));
        problems.extend(refused);
        (keys, problems)
    }

    /// True if the file itself, not the target of a link, is a mount or in one.
    fn is_mounted(&self, path: &Path) -> bool {
        // The last name is not resolved: a link belongs to the directory it is in.
        let real = path.parent().zip(path.file_name()).and_then(|(directory, name)| {
            fs::canonicalize(directory).ok().map(|directory| directory.join(name))
        });
        real.is_some_and(|real| self.mounts.iter().any(|mount| real.starts_with(mount)))
    }
}

/// True for root and for members of group `leonardo`: the system user, who may become root.
#[must_use]
pub fn is_permitted_user(user: &str) -> bool {
    let group = uzers::get_group_by_name("leonardo");
    user == "root" || group.is_some_and(|group| group.members().iter().any(|member| member == user))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;
    use crate::authorized_keys::tests::{ADA, BOB};

    fn sources(dir: &Path) -> KeySources {
        let at = |name: &str| dir.join(name);
        KeySources { own: at("own"), mounted: at("mounted"), given: at("given"), mounts: Vec::new() }
    }

    fn problems(sources: &KeySources) -> Vec<String> {
        let show = |problem: &Problem| problem.to_string().rsplit('/').next().unwrap_or_default().to_owned();
        sources.read().1.iter().map(show).collect()
    }

    #[test]
    fn every_place_counts_and_a_change_counts_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let sources = sources(dir.path());
        assert!(sources.read().0.is_empty());
        fs::write(&sources.mounted, format!("# mine\r\n{ADA}\r\n")).unwrap();
        fs::write(&sources.given, BOB).unwrap();
        assert_eq!(sources.read().0.render(), format!("{ADA}\n{BOB}\n"));
        fs::write(&sources.own, format!("no-pty {BOB}")).unwrap();
        fs::remove_file(&sources.mounted).unwrap();
        assert_eq!(sources.read().0.render(), format!("no-pty {BOB}\n{BOB}\n"));
        assert_eq!(problems(&sources), [""; 0]);
    }

    #[test]
    fn a_file_that_is_none_is_reported_and_the_others_count() {
        let dir = tempfile::tempdir().unwrap();
        let sources = sources(dir.path());
        fs::write(&sources.given, ADA).unwrap();
        symlink("/dev/zero", &sources.own).unwrap();
        nix::unistd::mkfifo(&sources.mounted, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(
            problems(&sources),
            [
                "own: it is a device, not a regular file; ignored",
                "mounted: it is a FIFO, not a regular file; ignored"
            ]
        );
        fs::remove_file(&sources.own).unwrap();
        fs::remove_file(&sources.mounted).unwrap();
        // As `>` of PowerShell writes it.
        let utf16: Vec<u8> = format!("\u{feff}{BOB}\r\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
        fs::write(&sources.own, utf16).unwrap();
        assert_eq!(problems(&sources), ["own: it is UTF-16; save it as UTF-8; ignored"]);
        fs::remove_file(&sources.own).unwrap();
        fs::create_dir(&sources.own).unwrap();
        fs::File::create(&sources.mounted).unwrap().set_len(40 << 30).unwrap();
        assert_eq!(
            problems(&sources),
            [
                "own: it is a directory, not a regular file; ignored",
                "mounted: it is larger than 1.0 MB; ignored"
            ]
        );
        assert_eq!(sources.read().0.render(), format!("{ADA}\n"));
    }

    #[test]
    fn roots_file_is_roots_alone_unless_it_is_mounted() {
        let dir = tempfile::tempdir().unwrap();
        let mut sources = sources(dir.path());
        fs::write(&sources.own, ADA).unwrap();
        fs::set_permissions(&sources.own, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(problems(&sources), ["own: other accounts can write to it; ignored"]);
        chown(&sources.own, Some(1000), None).unwrap();
        assert_eq!(problems(&sources), ["own: it belongs to uid 1000; ignored"]);
        for mount in [sources.own.clone(), dir.path().to_owned()] {
            sources.mounts = vec![mount];
            assert_eq!(problems(&sources), [""; 0]);
        }
        // Root may lead elsewhere, but not to what another account can write.
        let elsewhere = dir.path().join("elsewhere");
        fs::rename(&sources.own, &elsewhere).unwrap();
        sources.mounts = vec![elsewhere.clone(), dir.path().join("own2")];
        symlink(&elsewhere, &sources.own).unwrap();
        assert_eq!(problems(&sources), ["own: it belongs to uid 1000; ignored"]);
    }
}
