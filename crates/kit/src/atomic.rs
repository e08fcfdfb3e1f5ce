//! Atomic replacement of files: readers see the old content or the new one.
//!
//! The content goes to a temporary name beside the target, gets owner and mode there, and is renamed over the target. A
//! symbolic link at the target is replaced, not followed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use nix::unistd::{Gid, Uid};

use crate::process::Process;
use crate::{ReadPolicy, missing_ok};

/// Permissions and durability of a written file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    mode: u32,
    owner: Option<(u32, u32)>,
    durable: bool,
}

impl WriteOptions {
    /// A file with exactly these permission bits, regardless of the umask, that survives a power cut.
    #[must_use]
    pub const fn durable(mode: u32) -> Self {
        Self { mode, owner: None, durable: true }
    }

    /// A file for this boot only (below `/run`): atomic, but not synced to the disk.
    #[must_use]
    pub const fn volatile(mode: u32) -> Self {
        Self { mode, owner: None, durable: false }
    }

    /// Sets user and group of the file; only root can give files away.
    #[must_use]
    pub const fn owned_by(mut self, uid: u32, gid: u32) -> Self {
        self.owner = Some((uid, gid));
        self
    }
}

/// Replaces `path` with `content`; an error names the path and leaves the old file.
pub fn write(path: &Path, content: &[u8], placement: WriteOptions) -> Result<()> {
    write_with(path, placement, |file| file.write_all(content))
}

/// Like [`write()`], for content that is too large for memory: `content` writes it.
pub fn write_with(
    path: &Path,
    placement: WriteOptions,
    content: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<()> {
    let (temporary, mut file) = create_beside(path)?;
    let written = content(&mut file)
        .and_then(|()| place(&file, placement))
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| if placement.durable { sync_parent(path) } else { Ok(()) });
    written
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Like [`write()`], but skips a file that already has this content and these permissions; returns whether it wrote.
pub fn write_if_changed(path: &Path, content: &[u8], placement: WriteOptions) -> Result<bool> {
    if already(path, content, placement) {
        return Ok(false);
    }
    write(path, content, placement)?;
    Ok(true)
}

/// Removes temporary files left by killed writers of `path`, because they may contain secrets.
///
/// A file whose writer is alive, or whose process id is in use again, stays until the next call.
pub fn remove_leftovers(path: &Path) -> Result<()> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
    let parent = parent(path);
    let cannot = || format!("cannot clean up in {}", parent.display());
    for entry in fs::read_dir(parent).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let Some(writer) = entry.file_name().to_str().and_then(|found| writer(found, name)) else { continue };
        if !Process::new(writer).exists() {
            missing_ok(fs::remove_file(entry.path())).with_context(cannot)?;
        }
    }
    Ok(())
}

/// Returns the process that created a temporary file of this name for `target` (see [`create_beside`]).
fn writer(temporary: &str, target: &str) -> Option<u32> {
    let rest = temporary.strip_prefix('.')?.strip_prefix(target)?.strip_prefix('.')?.strip_suffix(".tmp")?;
    let (process, number) = rest.split_once('-')?;
    number.parse::<u32>().ok()?;
    process.parse().ok()
}

/// True if `path` is a regular file with exactly this content. No link is followed, and nothing larger is read.
#[must_use]
pub fn has_content(path: &Path, content: &[u8]) -> bool {
    same_size(content).read(path).is_ok_and(|found| found == content)
}

fn already(path: &Path, content: &[u8], placement: WriteOptions) -> bool {
    let Ok(opened) = same_size(content).open(path) else { return false };
    let meta = opened.meta();
    meta.permissions().mode() & 0o7777 == placement.mode
        && placement.owner.is_none_or(|owner| owner == (meta.uid(), meta.gid()))
        && opened.read().is_ok_and(|found| found == content)
}

fn same_size(content: &[u8]) -> ReadPolicy {
    ReadPolicy::max_size(content.len() as u64).no_follow()
}

fn create_beside(path: &Path) -> Result<(PathBuf, File)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = path.file_name().with_context(|| format!("{} does not name a file", path.display()))?;
    let mut temporary_name = std::ffi::OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(format!(".{}-{}.tmp", process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let temporary = path.with_file_name(temporary_name);
    // A file left by a killed process with our process id would make create_new fail forever.
    let _ = fs::remove_file(&temporary);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok((temporary, file))
}

fn place(file: &File, placement: WriteOptions) -> io::Result<()> {
    if let Some((uid, gid)) = placement.owner {
        nix::unistd::fchown(file.as_fd(), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    file.set_permissions(fs::Permissions::from_mode(placement.mode))?;
    if placement.durable { file.sync_all() } else { Ok(()) }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(parent(path))?.sync_all()
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_at_the_target_is_replaced_and_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let target = dir.path().join("target");
        symlink(&victim, &target).unwrap();
        write(&target, b"new", WriteOptions::durable(0o640)).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        assert_eq!(fs::symlink_metadata(&target).unwrap().permissions().mode() & 0o7777, 0o640);
    }

    #[test]
    fn an_unchanged_file_keeps_its_inode_and_a_wrong_mode_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        assert!(write_if_changed(&target, b"a", WriteOptions::volatile(0o600)).unwrap());
        let inode = fs::metadata(&target).unwrap().ino();
        assert!(!write_if_changed(&target, b"a", WriteOptions::volatile(0o600)).unwrap());
        assert_eq!(fs::metadata(&target).unwrap().ino(), inode);
        assert!(write_if_changed(&target, b"a", WriteOptions::volatile(0o644)).unwrap());
        assert!(write_if_changed(&target, b"b", WriteOptions::volatile(0o644)).unwrap());
    }

    #[test]
    fn only_a_plain_file_holds_a_content() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "text").unwrap();
        symlink(&file, &link).unwrap();
        assert!(
            has_content(&file, b"text")
                && !has_content(&file, b"other")
                && !has_content(&file, b"text longer")
        );
        assert!(!has_content(&link, b"text") && !has_content(dir.path(), b""));
    }

    #[test]
    fn a_failed_write_names_the_path_and_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("d");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("child"), "").unwrap();
        let error = write(&target, b"x", WriteOptions::volatile(0o600)).unwrap_err();
        assert!(format!("{error:#}").starts_with(&format!("cannot write {}", target.display())), "{error:#}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_what_a_dead_writer_left_behind_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        // Process numbers end at 4194304 (proc(5), pid_max).
        let dead = [".x.4194305-0.tmp", ".x.4194306-12.tmp"];
        let living = format!(".x.{}-0.tmp", process::id());
        let kept = [".xy.4194305-0.tmp", ".x.tmp", ".x.4194305.tmp", "x", &living];
        for name in dead.iter().chain(&kept) {
            fs::write(dir.path().join(name), "").unwrap();
        }
        remove_leftovers(&dir.path().join("x")).unwrap();
        assert!(dead.iter().all(|name| !dir.path().join(name).exists()));
        assert!(kept.iter().all(|name| dir.path().join(name).exists()));
    }
}
