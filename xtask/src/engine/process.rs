//! The daemon's processes and mounts, read from `/proc`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kit::mounts::Mount;
use kit::process::Process;

/// True if these are the arguments of the daemon that keeps its data in `data`.
#[must_use]
pub fn is_daemon(arguments: &[OsString], data: &Path) -> bool {
    arguments.windows(2).any(|pair| pair[0] == "--data-root" && pair[1] == data.as_os_str())
}

/// Process id in the daemon's pid file, if that process is the daemon.
#[must_use]
pub fn daemon(pid_file: &Path, data: &Path) -> Option<i32> {
    let pid: i32 = fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
    is_daemon(&Process::new(pid).arguments(), data).then_some(pid)
}

/// True if an engine with this exec root has left container runtimes running, because it was killed.
#[must_use]
pub fn has_orphans(exec_root: &Path) -> bool {
    Process::all().iter().any(|process| is_runtime(&process.arguments(), exec_root))
}

fn is_runtime(arguments: &[OsString], exec_root: &Path) -> bool {
    let program = arguments.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    program.as_bytes().starts_with(b"containerd")
        && arguments.iter().any(|word| Path::new(word).starts_with(exec_root))
}

/// Returns the mount points at or below `directory`, the deepest and latest first.
#[must_use]
pub fn mounts_below(mounts: &[Mount], directory: &Path) -> Vec<PathBuf> {
    let points = mounts.iter().rev().map(|mount| mount.point.clone());
    points.filter(|point| point.starts_with(directory)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn a_daemon_is_ours_by_its_data_and_not_by_its_number() {
        let data = Path::new("/c/target/engine/data");
        assert!(is_daemon(&split_words("dockerd --data-root /c/target/engine/data -H unix:///s"), data));
        assert!(!is_daemon(&split_words("dockerd --data-root /c/target/engine/data2"), data));
        assert!(!is_daemon(&split_words("tail /c/target/engine/data"), data), "a reader is no daemon");
        assert!(!is_daemon(&[], data), "a zombie has no arguments");
    }

    #[test]
    fn a_recycled_process_number_is_no_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("pid");
        fs::write(&pid_file, std::process::id().to_string()).unwrap();
        assert_eq!(daemon(&pid_file, Path::new("/c/data")), None);
    }

    #[test]
    fn runtimes_are_found_by_their_exec_root() {
        let root = Path::new("/run/e-1/exec");
        assert!(is_runtime(
            &split_words("/x/containerd --config /run/e-1/exec/containerd/containerd.toml"),
            root
        ));
        assert!(is_runtime(
            &split_words("containerd-shim-runc-v2 -address /run/e-1/exec/containerd/containerd.sock"),
            root
        ));
        assert!(!is_runtime(&split_words("containerd --config /run/e-1/exec2/containerd.toml"), root));
        assert!(!is_runtime(&split_words("ls /run/e-1/exec"), root));
    }

    #[test]
    fn mounts_come_deepest_first_and_with_their_real_names() {
        let info = b"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:3 / /r/a rw - nsfs nsfs rw\n3 2 0:3 / /r/a/b\\040c rw - x x rw\n4 1 0:3 / /ra rw - x x rw\n";
        assert_eq!(
            mounts_below(&kit::mounts::parse(info), Path::new("/r")),
            [PathBuf::from("/r/a/b c"), PathBuf::from("/r/a")]
        );
    }
}
