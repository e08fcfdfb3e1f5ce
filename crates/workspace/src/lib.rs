//! The workspace: its path, its owner and its layout.
//!
//! `init` inspects the directory once ([`Workspace::inspect`]) and exports the result ([`Workspace::export_to`]); every
//! later tool reads the same result from its environment ([`Workspace::from_env`]). A tool that is not a descendant of
//! `init` (`docker exec`) has only the container's variables, and inspects the directory for those that are missing.
//!
//! ```text
//! $WORKSPACE/
//!   home/USER/       the system user's home, on a mounted workspace
//!   storage/         files that applications share
//!   remote/          mount points of rclone's remotes
//!   environments/    copies of the image's trees, one for each image
//!   .update_lock     while it exists, nothing changes the applications
//! ```

mod mounts;
mod slug;
mod workspace_path;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use kit::{Env, Problem, SettingsReader};

pub use mounts::{mount_points, mounts_below};
pub use slug::{DEFAULT_SLUG, slug_from_setting};
pub use workspace_path::{DEFAULT_PATH, is_system_path, path_from_setting};

/// User and group id of the system user if the workspace belongs to root or to an unknown owner ([`NOBODY`]).
pub const DEFAULT_ID: u32 = 1000;

/// Overflow id of unknown owners: on network volumes, and in containers of rootless engines (`user_namespaces(7)`).
pub const NOBODY: u32 = 65_534;

/// Accounts that face the network: root runs nothing that they own.
pub const NETWORK_FACING_ACCOUNTS: [&str; 3] = ["portal", "caddy", "cloudflared"];

/// Facts about the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Absolute path without a trailing slash.
    pub path: PathBuf,
    /// User who gets access to new files: the owner, or 1000 if that is root or unknown. Never 0.
    pub uid: u32,
    /// The owner's group, or 1000 if that is root's or unknown. Never 0.
    pub gid: u32,
    /// True if it is on a volume that outlives the container.
    pub mounted: bool,
    /// Name of the image in directory names: one plain file name.
    pub slug: String,
}

impl Workspace {
    /// Reads the values exported by `init`; a missing or unusable variable is replaced by inspecting the directory.
    #[must_use]
    pub fn from_env(env: &Env) -> (Self, Vec<Problem>) {
        let mut reader = SettingsReader::new(env);
        let path = path_from_setting(&mut reader);
        let slug = slug_from_setting(&mut reader);
        let given = (
            id(&mut reader, "WORKSPACE_UID"),
            id(&mut reader, "WORKSPACE_GID"),
            env.text("WORKSPACE_MOUNTED").map(|_| reader.flag("WORKSPACE_MOUNTED", false)),
        );
        let workspace = match given {
            (Some(uid), Some(gid), Some(mounted)) => Self { path, uid, gid, mounted, slug },
            (uid, gid, mounted) => {
                let seen = Self::inspect(path, slug);
                Self {
                    uid: uid.unwrap_or(seen.uid),
                    gid: gid.unwrap_or(seen.gid),
                    mounted: mounted.unwrap_or(seen.mounted),
                    ..seen
                }
            }
        };
        (workspace, reader.into_problems())
    }

    /// Inspects the directory; a missing one counts as root's and not mounted.
    #[must_use]
    pub fn inspect(path: PathBuf, slug: String) -> Self {
        let (uid, gid) = fs::metadata(&path).map_or((0, 0), |meta| (meta.uid(), meta.gid()));
        let table = kit::mounts::all().unwrap_or_default();
        let mounted = fs::canonicalize(&path).is_ok_and(|real| mounts::is_on_volume(&table, &real));
        Self { path, uid: own_or_default(uid), gid: own_or_default(gid), mounted, slug }
    }

    /// Exports the values for other programs. The trailing slash is the documented form and suits `$WORKSPACE/x` as
    /// well.
    pub fn export_to(&self, env: &mut Env) {
        let mut path = self.path.clone().into_os_string();
        path.push("/");
        env.set("WORKSPACE", path);
        env.set("WORKSPACE_UID", self.uid.to_string());
        env.set("WORKSPACE_GID", self.gid.to_string());
        env.set("WORKSPACE_MOUNTED", self.mounted.to_string());
        env.set("IMAGE_SLUG", self.slug.as_str());
    }

    /// Directory of the copies of the image's trees.
    #[must_use]
    pub fn environments(&self) -> PathBuf {
        self.path.join("environments")
    }

    /// Directory of files shared by applications.
    #[must_use]
    pub fn storage(&self) -> PathBuf {
        self.path.join("storage")
    }

    /// Directory in which rclone's remotes are mounted.
    #[must_use]
    pub fn remote(&self) -> PathBuf {
        self.path.join("remote")
    }

    /// Home of the system user on a mounted workspace.
    #[must_use]
    pub fn home(&self, user: impl AsRef<OsStr>) -> PathBuf {
        self.path.join("home").join(user.as_ref())
    }

    /// Path of the lock file. While it exists, provisioning and refreshes do not change the applications.
    #[must_use]
    pub fn update_lock(&self) -> PathBuf {
        self.path.join(".update_lock")
    }

    /// Returns whether [`Workspace::update_lock`] exists, as a file, a directory or even a dangling link.
    ///
    /// A volume that does not answer is an error and not "no": the lock may exist on it.
    pub fn is_update_locked(&self) -> Result<bool> {
        match fs::symlink_metadata(self.update_lock()) {
            Ok(_) => Ok(true),
            Err(error) if is_absence(&error) => Ok(false),
            Err(error) => {
                Err(error).with_context(|| format!("cannot access {}", self.update_lock().display()))
            }
        }
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn own_or_default(id: u32) -> u32 {
    if id == 0 || id == NOBODY { DEFAULT_ID } else { id }
}

/// Reads an id exported by `init`; 0 is invalid, and the largest number means "no id" to the kernel (chown(2)).
fn id(reader: &mut SettingsReader<'_>, name: &str) -> Option<u32> {
    let text = reader.text(name)?;
    let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
    let id = number.filter(|&id| id != 0 && id != u32::MAX);
    if id.is_none() {
        reader.problem(name, format!("{text:?} is not a user or group id; using that of the workspace"));
    }
    id
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read_env(pairs: &[(&str, &str)]) -> (Workspace, Vec<String>) {
        let (workspace, problems) = Workspace::from_env(&pairs.iter().copied().collect());
        (workspace, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_exported_is_what_is_read_back() {
        let workspace = Workspace {
            path: "/data/my volume".into(),
            uid: 4242,
            gid: 4343,
            mounted: true,
            slug: "app-2.1".into(),
        };
        let mut env = Env::default();
        workspace.export_to(&mut env);
        assert_eq!(env.text("WORKSPACE"), Some("/data/my volume/"));
        assert_eq!(Workspace::from_env(&env), (workspace, Vec::new()));
    }

    #[test]
    fn a_tool_without_the_exported_values_inspects_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let meta = fs::metadata(directory.path()).unwrap();
        let (workspace, problems) = read_env(&[("WORKSPACE", directory.path().to_str().unwrap())]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(workspace.path, directory.path());
        assert_eq!((workspace.uid, workspace.gid), (own_or_default(meta.uid()), own_or_default(meta.gid())));
        let (missing, _) = read_env(&[("WORKSPACE", "/no/such/place")]);
        assert_eq!((missing.uid, missing.gid, missing.mounted), (1000, 1000, false));
    }

    #[test]
    fn an_id_that_is_none_is_reported_and_never_root() {
        for wrong in ["0", "-1", "+5", "4294967295", "4294967296", "1e3", "$(id)"] {
            let (workspace, problems) =
                read_env(&[("WORKSPACE", "/no/such/place"), ("WORKSPACE_UID", wrong)]);
            assert_eq!(workspace.uid, 1000, "{wrong}");
            assert_eq!(
                problems,
                [format!("WORKSPACE_UID: {wrong:?} is not a user or group id; using that of the workspace")]
            );
        }
    }

    #[test]
    fn everything_in_it_has_its_place() {
        let (workspace, _) = read_env(&[("WORKSPACE", "/data/")]);
        assert_eq!(workspace.environments(), Path::new("/data/environments"));
        assert_eq!(workspace.storage(), Path::new("/data/storage"));
        assert_eq!(workspace.remote(), Path::new("/data/remote"));
        assert_eq!(workspace.home("ada"), Path::new("/data/home/ada"));
        assert_eq!(workspace.update_lock(), Path::new("/data/.update_lock"));
    }

    #[test]
    fn anything_of_the_locks_name_is_a_lock() {
        let directory = tempfile::tempdir().unwrap();
        let workspace = Workspace::inspect(directory.path().to_owned(), DEFAULT_SLUG.to_owned());
        assert!(!workspace.is_update_locked().unwrap());
        std::os::unix::fs::symlink("/nowhere", workspace.update_lock()).unwrap();
        assert!(workspace.is_update_locked().unwrap());
        fs::remove_file(workspace.update_lock()).unwrap();
        fs::create_dir(workspace.update_lock()).unwrap();
        assert!(workspace.is_update_locked().unwrap());
        let missing = Workspace { path: directory.path().join("no"), ..workspace };
        assert!(!missing.is_update_locked().unwrap());
    }
}
