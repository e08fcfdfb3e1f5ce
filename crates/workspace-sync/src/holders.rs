//! Processes that still use a tree after the switch: what they write there has to be carried over.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::report::printable;

/// A process with a working directory or an open file in the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name, as the kernel has it.
    pub name: String,
    /// Whether it holds a file open for writing, or may make files relative to where it is.
    pub writes: bool,
}

/// Looks through the processes of this container; one that ends meanwhile is none.
#[must_use]
pub fn of(tree: &Path) -> Vec<Holder> {
    let own = std::process::id();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let mut holders: Vec<Holder> = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| pid != own)
        .filter_map(|pid| holder(pid, tree))
        .collect();
    holders.sort();
    holders
}

fn holder(pid: u32, tree: &Path) -> Option<Holder> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let inside = |link: &Path| fs::read_link(link).is_ok_and(|to| is_inside(&to, tree));
    let works_there = inside(&process.join("cwd"));
    let mut reads = inside(&process.join("exe"));
    let mut writes = works_there;
    for file in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
        if inside(&file.path()) {
            reads = true;
            writes |= is_open_for_writing(&process.join("fdinfo").join(file.file_name()));
        }
    }
    if !(reads || writes) {
        return None;
    }
    // A process names itself, in bytes.
    let name = fs::read(process.join("comm")).ok()?;
    let name = printable(String::from_utf8_lossy(&name).trim_end());
    Some(Holder { pid, name, writes })
}

/// A file that was removed meanwhile has " (deleted)" behind its path and is of no interest.
fn is_inside(path: &Path, tree: &Path) -> bool {
    path.starts_with(tree) && !path.as_os_str().as_bytes().ends_with(OsStr::new(" (deleted)").as_bytes())
}

/// proc(5): `flags` are the octal flags of open(2); the lowest two bits are the access mode.
fn is_open_for_writing(info: &Path) -> bool {
    let text = fs::read_to_string(info).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim);
    flags.and_then(|octal| u32::from_str_radix(octal, 8).ok()).is_some_and(|flags| flags & 0o3 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    fn sleeper(script: &str, tree: &Path) -> Child {
        let mut child = Command::new("sh")
            .args(["-c", script])
            .current_dir(tree)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The shell says when it has opened everything.
        let mut line = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        assert_eq!(&line, b"ready\n");
        child
    }

    #[test]
    fn a_process_whose_name_is_not_text_is_seen_like_any() {
        let dir = tempfile::tempdir().unwrap();
        let tree = fs::canonicalize(dir.path()).unwrap();
        let shell = tempfile::tempdir().unwrap();
        let named = shell.path().join(OsStr::from_bytes(b"\xff\x1b"));
        fs::copy("/bin/sh", &named).unwrap();
        let mut command = Command::new(&named);
        command.args(["-c", "echo ready; read x"]).current_dir(&tree);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
        let found = of(&tree);
        drop(child.stdin.take());
        child.wait().unwrap();
        let name = "\u{fffd}\\u{1b}".to_owned();
        assert_eq!(found, [Holder { pid: child.id(), name, writes: true }]);
    }

    #[test]
    fn who_can_still_write_is_told_from_who_only_reads() {
        let dir = tempfile::tempdir().unwrap();
        let tree = fs::canonicalize(dir.path()).unwrap();
        fs::write(tree.join("read"), "").unwrap();
        assert_eq!(of(&tree), []);
        let scripts = [
            "exec 3< read; cd /; echo ready; read x",
            "exec 3>> log; cd /; echo ready; read x",
            "echo ready; read x",
        ];
        let children: Vec<Child> = scripts.iter().map(|script| sleeper(script, &tree)).collect();
        let mut found: Vec<(u32, bool)> =
            of(&tree).iter().map(|holder| (holder.pid, holder.writes)).collect();
        let mut expected: Vec<(u32, bool)> =
            children.iter().zip([false, true, true]).map(|(child, writes)| (child.id(), writes)).collect();
        found.sort_unstable();
        expected.sort_unstable();
        for mut child in children {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
        assert_eq!(found, expected);
        assert_eq!(of(&tree), []);
    }
}
