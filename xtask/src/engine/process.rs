//! The daemon's processes and mounts, read from `/proc`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The arguments of a living process; a zombie and a foreign kernel thread have none.
#[must_use]
pub fn arguments(pid: i32) -> Vec<OsString> {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    raw.split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect()
}

/// True if these are the arguments of the daemon that keeps its data in `data`.
#[must_use]
pub fn is_daemon(arguments: &[OsString], data: &Path) -> bool {
    arguments.windows(2).any(|pair| pair[0] == "--data-root" && pair[1] == data.as_os_str())
}

/// The daemon's number according to its pid file, if that process lives and is the daemon and not a later one.
#[must_use]
pub fn daemon(pid_file: &Path, data: &Path) -> Option<i32> {
    let pid = fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
    is_daemon(&arguments(pid), data).then_some(pid)
}

/// Container runtimes that an engine with this exec root has left running, because it was killed.
#[must_use]
pub fn orphans(exec_root: &Path) -> Vec<i32> {
    let entries =
        fs::read_dir("/proc").map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let pids = entries.iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_runtime(&arguments(*pid), exec_root)).collect()
}

fn is_runtime(arguments: &[OsString], exec_root: &Path) -> bool {
    let program = arguments.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    program.as_bytes().starts_with(b"containerd")
        && arguments.iter().any(|word| Path::new(word).starts_with(exec_root))
}

/// Mount points at or below `folder`, the deepest and latest first, from the text of `/proc/self/mountinfo`.
#[must_use]
pub fn mounts_below(mountinfo: &[u8], folder: &Path) -> Vec<PathBuf> {
    let points =
        mountinfo.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    let mut found: Vec<_> = points.map(unescape).filter(|point| point.starts_with(folder)).collect();
    found.reverse();
    found
}

/// The kernel writes space, tab, newline and backslash as three octal digits, see `proc_pid_mountinfo(5)`.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.filter(|_| byte == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &after[3..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(OsStr::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn a_daemon_is_ours_by_its_data_and_not_by_its_number() {
        let data = Path::new("/c/target/engine/data");
        assert!(is_daemon(&words("dockerd --data-root /c/target/engine/data -H unix:///s"), data));
        assert!(!is_daemon(&words("dockerd --data-root /c/target/engine/data2"), data));
        assert!(!is_daemon(&words("tail /c/target/engine/data"), data), "a reader is no daemon");
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
        assert!(is_runtime(&words("/x/containerd --config /run/e-1/exec/containerd/containerd.toml"), root));
        assert!(is_runtime(
            &words("containerd-shim-runc-v2 -address /run/e-1/exec/containerd/containerd.sock"),
            root
        ));
        assert!(!is_runtime(&words("containerd --config /run/e-1/exec2/containerd.toml"), root));
        assert!(!is_runtime(&words("ls /run/e-1/exec"), root));
    }

    #[test]
    fn mounts_come_deepest_first_and_with_their_real_names() {
        let info = b"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:3 / /r/a rw - nsfs nsfs rw\n3 2 0:3 / /r/a/b\\040c rw - x x rw\n4 1 0:3 / /ra rw - x x rw\n";
        assert_eq!(mounts_below(info, Path::new("/r")), [PathBuf::from("/r/a/b c"), PathBuf::from("/r/a")]);
    }
}
