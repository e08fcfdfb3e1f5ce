//! Processes that still use a tree after the switch: what they write there has to be carried over.
//!
//! Without `CAP_SYS_PTRACE`, which containers rarely have, the kernel shows root the files of a process only if the one
//! who asks has the user and group of that process (ptrace(2), "ptrace access mode checking"; both are compared with
//! those for file access, setfsuid(2)). So each process is looked at by a thread that takes these on, and ends.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;

use nix::sys::prctl;
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use serde::{Deserialize, Serialize};

use kit::quote::escape_control_line;

/// A process with a working directory or an open file in the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name, as the kernel has it.
    pub name: String,
    /// True if it holds a file open for writing, or its working directory is in the tree.
    pub writes: bool,
    /// True if its open files cannot be inspected, as those of a program that holds keys: it may use the tree or not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

impl Holder {
    /// Its name and number, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("{} ({})", self.name, self.pid)
    }
}

/// Looks through the processes of this container; one that ends meanwhile is none. One that cannot be looked at may
/// write to any tree.
#[must_use]
pub fn of(tree: &Path) -> Vec<Holder> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let own = std::process::id();
    let waiting = ancestors();
    let mut holders: Vec<Holder> = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| pid != own)
        .filter_map(|pid| holder(pid, tree))
        // sudo hides its files, and only waits for this command.
        .filter(|holder| !(holder.hidden && (waiting.contains(&holder.pid) || is_connection(holder.pid))))
        .collect();
    holders.sort();
    holders
}

/// Those who may write to `tree`.
#[must_use]
pub fn writers(tree: &Path) -> Vec<Holder> {
    of(tree).into_iter().filter(|holder| holder.writes).collect()
}

/// The processes that began this one, and those that began them.
fn ancestors() -> Vec<u32> {
    std::iter::successors(parent("self"), |pid| parent(&pid.to_string())).collect()
}

fn parent(process: &str) -> Option<u32> {
    let status = fs::read_to_string(Path::new("/proc").join(process).join("status")).ok()?;
    first_number(&status, "PPid:").filter(|&pid| pid > 0)
}

/// True for a process that serves an SSH session's connection: it hides its files, and has none of a tree. Its parent
/// is the sshd that listens, or one of root's between the two, which hides as well. The programs of the session, and
/// sftp, are its own children.
fn is_connection(pid: u32) -> bool {
    let of_root = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        first_number(&status, "Uid:") == Some(0)
    };
    let listens = |pid: u32| {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == Path::new("/usr/sbin/sshd"))
    };
    let above = |pid: u32| parent(&pid.to_string()).filter(of_root);
    above(pid).is_some_and(|parent| listens(parent) || above(parent).is_some_and(listens))
}

fn holder(pid: u32, tree: &Path) -> Option<Holder> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let used = match used(&process, tree) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => used_as_its_user(&process, tree),
        answer => answer,
    };
    let (writes, hidden) = match used {
        Ok(writes) => (writes?, false),
        Err(error) => (error.kind() == io::ErrorKind::PermissionDenied && is_of_here(&process), true),
    };
    if hidden && !writes {
        return None;
    }
    // A process names itself, in bytes.
    let name = fs::read(process.join("comm")).ok()?;
    let name = escape_control_line(String::from_utf8_lossy(&name).trim_end());
    Some(Holder { pid, name, writes, hidden })
}

/// Returns whether the process may write to the tree, or nothing if it does not use it.
fn used(process: &Path, tree: &Path) -> io::Result<Option<bool>> {
    let inside = |link: &Path| fs::read_link(link).map(|to| is_inside(&to, tree));
    let mut writes = inside(&process.join("cwd"))?;
    let mut reads = inside(&process.join("exe")).unwrap_or(false);
    for file in fs::read_dir(process.join("fd"))?.flatten() {
        // It may close the file meanwhile.
        if inside(&file.path()).unwrap_or(false) {
            reads = true;
            writes |= is_open_for_writing(&process.join("fdinfo").join(file.file_name()));
        }
    }
    Ok((reads || writes).then_some(writes))
}

fn used_as_its_user(process: &Path, tree: &Path) -> io::Result<Option<bool>> {
    let status = fs::read_to_string(process.join("status"))?;
    let (Some(uid), Some(gid)) = (first_number(&status, "Uid:"), first_number(&status, "Gid:")) else {
        return Err(io::ErrorKind::PermissionDenied.into());
    };
    thread::scope(|scope| {
        let looking = thread::Builder::new().spawn_scoped(scope, || {
            // The group first: the user's change takes capabilities. Both are the thread's own, and end with it.
            setfsgid(Gid::from_raw(gid));
            setfsuid(Uid::from_raw(uid));
            // The kernel takes it from the whole process with the change (prctl(2), PR_SET_DUMPABLE), and so hides from
            // root what this process has open: other commands of ours would have to take it for a writer of every tree.
            if let Err(error) = prctl::set_dumpable(true) {
                log::debug!("cannot show open files to root: {error}");
            }
            used(process, tree)
        })?;
        looking.join().unwrap_or_else(|_| Err(io::ErrorKind::PermissionDenied.into()))
    })
}

/// Returns whether a process that cannot be inspected is a program of this container at all. One that has ended, and a
/// thread of the kernel, have no memory and no files. One with capabilities that this process lacks was not started by
/// a program of the container, which cannot get them: but in a user namespace of its own, where any program has them
/// all (`user_namespaces(7)`).
fn is_of_here(process: &Path) -> bool {
    let own = Path::new("/proc/self");
    let of = |path: &Path, file: &str| fs::read_to_string(path.join(file)).unwrap_or_default();
    let (theirs, ours) = (of(process, "status"), of(own, "status"));
    first_number(&theirs, "VmSize:").is_some()
        && (permitted(&theirs) & !permitted(&ours) == 0 || of(process, "uid_map") != of(own, "uid_map"))
}

/// capabilities(7): the set of which a process may make use.
fn permitted(status: &str) -> u64 {
    let set = status.lines().find_map(|line| line.strip_prefix("CapPrm:")).map(str::trim);
    set.and_then(|set| u64::from_str_radix(set, 16).ok()).unwrap_or(0)
}

/// The first number of a line of proc(5)'s `status`.
fn first_number(status: &str, field: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_ascii_whitespace().next()?.parse().ok()
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
        // The shell prints a line once it has opened everything.
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
        // A link, because a file that was just written cannot be executed while a fork of another test has it open.
        std::os::unix::fs::symlink("/bin/sh", &named).unwrap();
        let mut command = Command::new(&named);
        command.args(["-c", "echo ready; read x"]).current_dir(&tree);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
        let found = of(&tree);
        drop(child.stdin.take());
        child.wait().unwrap();
        let name = "\u{fffd}\\u{1b}".to_owned();
        assert_eq!(found, [Holder { pid: child.id(), name, writes: true, hidden: false }]);
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
