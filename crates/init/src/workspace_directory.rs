//! Prepares the workspace's directory: creates it, marks a missing volume, and creates the storage.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use dirfd::FileType;
use kit::Problem;
use kit::account_db::Ids;
use kit::atomic::{self, WriteOptions};
use nix::errno::Errno;
use workspace::Workspace;

use crate::owned_directory;

const WARNING: &str = "WARNING-NO-MOUNT.txt";
const WARNING_TEXT: &str = "\
This directory is not a mounted volume. Everything in it is lost when the container is removed.
To keep files, mount a volume here: docker run -v /path/on/the/host:/workspace …
";
/// New files get the directory's group, so that they stay accessible to all writers.
const STORAGE_MODE: u32 = 0o2775;

/// Creates and inspects the workspace, and writes a warning file if its files would be lost. Problems do not stop the
/// start. `wanted` is `WORKSPACE_SYNC`.
pub fn prepare(path: PathBuf, slug: String, wanted: bool, problems: &mut Vec<Problem>) -> Workspace {
    let mut report = |what: &str, error: &io::Error| {
        problems.push(Problem::new("WORKSPACE", format!("{what} {}: {error}", path.display())));
    };
    if let Err(error) = fs::create_dir_all(&path) {
        report("cannot create", &error);
    }
    if let Err(error) = nix::unistd::access(&path, nix::unistd::AccessFlags::W_OK) {
        // The user may have access although root does not: `workspace_access` tests and reports that.
        if error != Errno::EACCES {
            report("cannot write to", &error.into());
        }
        let workspace = Workspace::inspect(path, slug);
        warn_if_unmounted(&workspace, problems);
        return workspace;
    }
    let workspace = Workspace::inspect(path, slug);
    warn_if_unmounted(&workspace, problems);
    if wanted && let Some(problem) = open_to_all(&workspace) {
        problems.push(problem);
    }
    if let Err(error) = write_warning_file(&workspace.path, workspace.mounted) {
        problems.push(Problem::new("WORKSPACE", format!("{error:#}")));
    }
    workspace
}

/// Reports a volume on which every account can replace programs that root runs from it.
fn open_to_all(workspace: &Workspace) -> Option<Problem> {
    let meta = fs::metadata(&workspace.path).ok()?;
    // With the sticky bit, others cannot replace what they do not own.
    if !workspace.mounted || meta.mode() & 0o1002 != 0o002 {
        return None;
    }
    let path = workspace.path.display();
    Some(Problem::new(
        "WORKSPACE_SYNC",
        format!(
            "any account on this or another machine can replace programs that root runs from {path}; run: chmod o-w \
             {path}"
        ),
    ))
}

/// Creates the storage of a writable workspace, after the owner is known.
pub fn ensure_storage(workspace: &Workspace, problems: &mut Vec<Problem>) {
    if nix::unistd::access(&workspace.path, nix::unistd::AccessFlags::W_OK).is_ok()
        && let Err(error) = make_storage(workspace)
    {
        problems.push(Problem::new("WORKSPACE", format!("{error:#}")));
    }
}

fn warn_if_unmounted(workspace: &Workspace, problems: &mut Vec<Problem>) {
    if !workspace.mounted {
        problems.push(Problem::new(
            "WORKSPACE",
            format!(
                "{} is not a mounted volume: files in it are lost when the container is removed",
                workspace.path.display()
            ),
        ));
    }
}

/// Writes the warning file, or removes it from a volume that is mounted now.
fn write_warning_file(path: &Path, mounted: bool) -> Result<()> {
    let file = path.join(WARNING);
    if !mounted {
        return atomic::write_if_changed(&file, WARNING_TEXT.as_bytes(), WriteOptions::durable(0o644))
            .map(drop);
    }
    if atomic::has_content(&file, WARNING_TEXT.as_bytes()) {
        fs::remove_file(&file)?;
    }
    Ok(())
}

/// Creates the storage if nothing has its name; a link to a directory is kept.
fn make_storage(workspace: &Workspace) -> Result<()> {
    let path = workspace.storage();
    let name = OsStr::new("storage");
    let cannot = |error: io::Error| anyhow::anyhow!("cannot create {}: {error}", path.display());
    let folder = dirfd::open_root(&workspace.path).map_err(|error| cannot(error.into()))?;
    let existing = dirfd::stat(&folder, name).map_err(|error| cannot(error.into()))?;
    match existing.as_ref().map(dirfd::file_type) {
        // Nothing behind the link is created or changed.
        Some(FileType::Symlink) if fs::metadata(&path).is_ok_and(|meta| meta.is_dir()) => Ok(()),
        Some(FileType::Symlink) => bail!("{} is a link, but not to a directory", path.display()),
        Some(FileType::Directory) | None => {
            let ids = Ids { uid: workspace.uid, gid: workspace.gid };
            owned_directory::make(&folder, name, ids, STORAGE_MODE).map(drop).map_err(cannot)
        }
        Some(_) => bail!("{} is not a directory", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_warning_comes_and_goes_with_the_mount_and_a_users_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let warning = dir.path().join(WARNING);
        write_warning_file(dir.path(), false).unwrap();
        assert_eq!(fs::read_to_string(&warning).unwrap(), WARNING_TEXT);
        write_warning_file(dir.path(), true).unwrap();
        assert!(!warning.exists());
        fs::write(&warning, "my own").unwrap();
        write_warning_file(dir.path(), true).unwrap();
        assert_eq!(fs::read_to_string(&warning).unwrap(), "my own");
    }

    #[test]
    fn a_volume_that_everybody_may_write_to_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut workspace = Workspace::inspect(dir.path().to_owned(), "x".to_owned());
        for (mounted, mode, named) in
            [(true, 0o777, true), (true, 0o1777, false), (true, 0o775, false), (false, 0o777, false)]
        {
            workspace.mounted = mounted;
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(open_to_all(&workspace).is_some(), named, "{mounted} {mode:o}");
        }
    }

    #[test]
    fn storage_is_made_once_and_a_link_to_a_directory_is_left_to_its_owner() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let workspace = Workspace::inspect(dir.path().to_owned(), "x".to_owned());
        let storage = workspace.storage();
        make_storage(&workspace).unwrap();
        assert_eq!(fs::metadata(&storage).unwrap().mode() & 0o7777, 0o2775);
        fs::remove_dir(&storage).unwrap();
        symlink(elsewhere.path(), &storage).unwrap();
        let before = fs::metadata(elsewhere.path()).unwrap().mode();
        make_storage(&workspace).unwrap();
        assert_eq!(fs::metadata(elsewhere.path()).unwrap().mode(), before);
        fs::remove_file(&storage).unwrap();
        for (plant, problem) in
            [("link", "is a link, but not to a directory"), ("file", "is not a directory")]
        {
            match plant {
                "link" => symlink(dir.path().join("nowhere"), &storage).unwrap(),
                _ => fs::write(&storage, "").unwrap(),
            }
            let error = make_storage(&workspace).unwrap_err().to_string();
            assert_eq!(error, format!("{} {problem}", storage.display()));
            fs::remove_file(&storage).unwrap();
        }
        assert!(!dir.path().join("nowhere").exists());
    }
}
