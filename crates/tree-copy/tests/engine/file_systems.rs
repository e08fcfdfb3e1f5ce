//! Other file systems: what they can, what is mounted inside a tree, and full ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tree_copy::{Capabilities, Error, FreeSpace, NoObserver, NoteKind, Options, free_space, pass, probe};

use crate::fixture::{Trees, describe, note};

/// A file system that is mounted for the time of a test.
pub struct Mounted {
    dir: TempDir,
}

impl Mounted {
    /// A file system in memory, with these options.
    fn memory(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir.path()));
        Self { dir }
    }

    /// A file system of this kind in a file; gone with the returned directory.
    fn formatted(kind: &str, megabytes: u64) -> (TempDir, Self) {
        let (place, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let image = place.path().join("image");
        fs::File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
        run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(dir.path()));
        (place, Self { dir })
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().to_owned()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(self.dir.path());
    }
}

/// Also while something still uses it, such as a test that panics.
fn unmount(at: &Path) {
    let _ = Command::new("umount").arg("--lazy").arg(at).status();
}

/// A file system in memory at a directory inside a tree, for the time of a test.
struct Below(PathBuf);

impl Below {
    fn memory(at: &Path) -> Self {
        run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(at));
        Self(at.to_owned())
    }

    fn bound(from: &Path, at: &Path) -> Self {
        run(Command::new("mount").arg("--bind").arg(from).arg(at));
        Self(at.to_owned())
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn fill(directory: &Path) {
    fs::create_dir(directory.join("d")).unwrap();
    for (number, size) in (0_u8..).zip([10, 5000, 300_000, 3 << 20]) {
        fs::write(directory.join(format!("d/{number}")), vec![number + 1; size]).unwrap();
    }
    fs::hard_link(directory.join("d/1"), directory.join("again")).unwrap();
    std::os::unix::fs::symlink("d", directory.join("link")).unwrap();
}

#[test]
fn a_full_disk_ends_the_pass_with_the_numbers() {
    let trees = Trees::new();
    fs::write(trees.source.join("large"), vec![1; 4 << 20]).unwrap();
    let small = Mounted::memory("size=1m");
    let target = small.path();
    let error = pass(&trees.source, &target, &trees.options(), &NoObserver).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Full(_, FreeSpace { inodes: Some(_), .. })), "{error:?}");
    let start = format!("cannot write {}/large: No space left on device (os error 28) (", target.display());
    assert!(text.starts_with(&start) && text.ends_with(" are free)"), "{text}");
}

#[test]
fn a_disk_without_inodes_ends_the_pass_with_the_numbers() {
    let trees = Trees::new();
    for number in 0..50 {
        fs::write(trees.source.join(format!("{number}")), "").unwrap();
    }
    let small = Mounted::memory("size=10m,nr_inodes=20");
    let error = pass(&trees.source, &small.path(), &trees.options(), &NoObserver).unwrap_err();
    assert!(matches!(error, Error::Full(_, FreeSpace { inodes: Some(0), .. })), "{error:?}");
    assert_eq!(free_space(&small.path()).unwrap().inodes, Some(0));
}

#[test]
fn a_read_only_target_is_named() {
    let trees = Trees::new();
    fs::write(trees.source.join("file"), "x").unwrap();
    let target = Mounted::memory("ro");
    let error = pass(&trees.source, &target.path(), &trees.options(), &NoObserver).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot write {}/file: Read-only file system (os error 30)", target.path().display())
    );
    let error = probe(&target.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot try out {}: Read-only file system (os error 30)", target.path().display())
    );
}

#[test]
fn what_is_mounted_below_the_source_is_left_out_and_said() {
    let trees = Trees::new();
    fs::create_dir(trees.source.join("disk")).unwrap();
    fs::create_dir_all(trees.source.join("bound")).unwrap();
    let (disk, bound) = (trees.source.join("disk"), trees.source.join("bound"));
    let _disk = Below::memory(&disk);
    fs::write(disk.join("file"), "x").unwrap();
    let _bound = Below::bound(&disk, &bound);
    let (done, notes) = trees.pass_with(&trees.options()).unwrap();
    assert_eq!((done.skipped, done.entries), (2, 0));
    assert_eq!(notes, [note("bound", NoteKind::SkippedMount), note("disk", NoteKind::SkippedMount)]);
    assert_eq!(fs::read_dir(trees.target.join("disk")).unwrap().count(), 0);
    assert_eq!(trees.pass_with(&trees.options()).unwrap().0.updated, 0);
}

#[test]
fn what_is_mounted_below_the_target_is_not_emptied() {
    let trees = Trees::new();
    fs::create_dir_all(trees.target.join("surplus/disk")).unwrap();
    let disk = trees.target.join("surplus/disk");
    let _disk = Below::memory(&disk);
    fs::write(disk.join("precious"), "x").unwrap();
    let text = trees.pass_with(&trees.options()).unwrap_err().to_string();
    assert!(disk.join("precious").exists());
    assert!(text.starts_with(&format!("cannot remove {}/surplus", trees.target.display())), "{text}");
}

#[test]
fn other_file_systems_hold_the_same_tree() {
    for (kind, megabytes, reflink) in [("xfs", 320, true), ("btrfs", 200, true), ("ext4", 64, false)] {
        let (_image, mounted) = Mounted::formatted(kind, megabytes);
        let (source, target) = (mounted.path().join("source"), mounted.path().join("target"));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&target).unwrap();
        fill(&source);
        let can = probe(&mounted.path()).unwrap();
        assert_eq!(can, Capabilities { reflink, ..Capabilities::FULL }, "{kind}");
        let options = Options { threads: 2, ..Options::new(&can) };
        let done = pass(&source, &target, &options, &NoObserver).unwrap();
        assert_eq!(done.copied_files, 4, "{kind}");
        assert_eq!(describe(&source), describe(&target), "{kind}");
        assert_eq!(pass(&source, &target, &options, &NoObserver).unwrap().updated, 0, "{kind}");
        // And to it from elsewhere, with blocks that cannot be shared.
        let trees = Trees::new();
        fill(&trees.source);
        let elsewhere = mounted.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        pass(&trees.source, &elsewhere, &options, &NoObserver).unwrap();
        assert_eq!(describe(&trees.source), describe(&elsewhere), "{kind}");
    }
}

#[test]
fn programs_cannot_be_started_from_a_file_system_that_forbids_it() {
    let mounted = Mounted::memory("noexec");
    assert!(!probe(&mounted.path()).unwrap().executable);
}

#[test]
fn a_file_system_of_another_kind_of_system_is_seen_through() {
    let (_image, mounted) = {
        let (place, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let image = place.path().join("image");
        fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        run(Command::new("mkfs.ntfs").args(["-q", "-F", "-f"]).arg(&image));
        run(Command::new("ntfs-3g").args(["-o", "no_def_opts,silent"]).arg(&image).arg(dir.path()));
        (place, Mounted { dir })
    };
    let can = probe(&mounted.path()).unwrap();
    // Without a mapping of users it gives everything to the account that mounted it.
    assert!(!can.owner && !can.mode && !can.access_lists && !can.reflink, "{can}");
    assert!(can.rename_over && can.executable && can.symbolic_links, "{can}");
    assert_eq!(can.time_granularity, 100, "{can}");
}
