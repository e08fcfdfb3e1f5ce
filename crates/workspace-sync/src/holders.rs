//! Processes that still use a tree after the switch; their changes must be copied.
//!
//! Without `CAP_SYS_PTRACE`, which containers rarely have, the kernel shows the files of a process only to a process
//! with the same user and group (ptrace(2), "ptrace access mode checking"; it compares the ids for file access,
//! setfsuid(2)). So a thread with these ids inspects each process.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kit::privileges::with_file_ids;
use kit::process::{Process, Status};
use kit::quote::escape_control_line;
use serde::{Deserialize, Serialize};

/// A process with a working directory or an open file in the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its name (`comm`).
    pub name: String,
    /// True if it holds a file open for writing, or its working directory is in the tree.
    pub writes: bool,
    /// True if its open files cannot be inspected, as those of a program with secrets; it may use the tree.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

impl Holder {
    /// Returns name and process id, for people.
    #[must_use]
    pub fn description(&self) -> String {
        format!("{} ({})", self.name, self.pid)
    }
}

/// Returns the processes of this container that use `tree`; processes that exit during the scan are skipped. One that
/// cannot be inspected may write to any tree.
#[must_use]
pub fn find_holders(tree: &Path) -> Vec<Holder> {
    let own = i32::try_from(std::process::id()).ok();
    let waiting = ancestors();
    let mut holders: Vec<Holder> = Process::all()
        .iter()
        .filter(|process| process.id() != own)
        .filter_map(|process| Some((process, holder(process, tree)?)))
        // sudo, which hides its files, only waits for this command.
        .filter(|(process, holder)| !(holder.hidden && (waiting.contains(process) || is_connection(process))))
        .map(|(_, holder)| holder)
        .collect();
    holders.sort();
    holders
}

/// Returns the processes that may write to `tree`.
#[must_use]
pub fn find_writers(tree: &Path) -> Vec<Holder> {
    find_holders(tree).into_iter().filter(|holder| holder.writes).collect()
}

/// Returns the parent of this process, its parent, and so on.
fn ancestors() -> Vec<Process> {
    std::iter::successors(parent(&Process::own()), parent).collect()
}

fn parent(process: &Process) -> Option<Process> {
    Some(process.stat()?.parent).filter(|&id| id > 0).map(Process::new)
}

/// True for the sshd process of an SSH connection, which hides its files and uses no tree. Its parent is the listening
/// sshd, or a hidden process of root between the two. The programs of the session, and sftp, are its children.
fn is_connection(process: &Process) -> bool {
    let is_roots = |process: &Process| status(process).number::<u32>("Uid:", 10) == Some(0);
    let listens = |process: &Process| process.program().is_ok_and(|exe| exe == Path::new("/usr/sbin/sshd"));
    let above = |process: &Process| parent(process).filter(is_roots);
    above(process)
        .is_some_and(|parent| listens(&parent) || above(&parent).is_some_and(|above| listens(&above)))
}

fn status(process: &Process) -> Status {
    process.status().unwrap_or_default()
}

fn holder(process: &Process, tree: &Path) -> Option<Holder> {
    let used = match used(process, tree) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => used_with_its_ids(process, tree),
        answer => answer,
    };
    let (writes, hidden) = match used {
        Ok(writes) => (writes?, false),
        Err(error) => {
            (error.kind() == io::ErrorKind::PermissionDenied && is_container_program(process), true)
        }
    };
    if hidden && !writes {
        return None;
    }
    let name = fs::read(process.path("comm")).ok()?;
    let name = escape_control_line(String::from_utf8_lossy(&name).trim_end());
    Some(Holder { pid: process.id()?.try_into().ok()?, name, writes, hidden })
}

/// Returns true if the process may write to the tree; nothing if it does not use it.
fn used(process: &Process, tree: &Path) -> io::Result<Option<bool>> {
    let mut writes = is_inside(&fs::read_link(process.path("cwd"))?, tree);
    let mut reads = process.program().is_ok_and(|program| is_inside(&program, tree));
    for (number, file) in process.descriptors()? {
        if is_inside(&file, tree) {
            reads = true;
            writes |= is_open_for_writing(&process.path("fdinfo").join(number));
        }
    }
    Ok((reads || writes).then_some(writes))
}

fn used_with_its_ids(process: &Process, tree: &Path) -> io::Result<Option<bool>> {
    let status = process.status()?;
    let (Some(uid), Some(gid)) = (status.number("Uid:", 10), status.number("Gid:", 10)) else {
        return Err(io::ErrorKind::PermissionDenied.into());
    };
    with_file_ids(uid, gid, || used(process, tree))?
}

/// True for a process of this container whose files cannot be read. Zombies and kernel threads have no memory map; a
/// process with capabilities that we lack was not started in this container, unless it is in its own user namespace
/// (`user_namespaces(7)`).
fn is_container_program(process: &Process) -> bool {
    let own = Process::own();
    let (theirs, ours) = (status(process), status(&own));
    // capabilities(7): the set that a process may use.
    let permitted = |status: &Status| status.number::<u64>("CapPrm:", 16).unwrap_or(0);
    let users = |process: &Process| fs::read(process.path("uid_map")).unwrap_or_default();
    theirs.number::<u64>("VmSize:", 10).is_some()
        && (permitted(&theirs) & !permitted(&ours) == 0 || users(process) != users(&own))
}

/// True if a path is in the tree; the path of a deleted file ends in " (deleted)" and does not count.
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
        let found = find_holders(&tree);
        drop(child.stdin.take());
        child.wait().unwrap();
        let name = "\u{fffd}\\u{1b}".to_owned();
        assert_eq!(found, [Holder { pid: child.id(), name, writes: true, hidden: false }]);
    }

    #[test]
    fn a_writer_of_another_user_is_seen_whatever_its_name_is() {
        use kit::capabilities::{CapabilitySet, capabilities, set_capabilities};
        use std::os::unix::process::CommandExt;
        let dir = tempfile::tempdir().unwrap();
        let tree = fs::canonicalize(dir.path()).unwrap();
        std::os::unix::fs::chown(&tree, Some(4_321), Some(4_321)).unwrap();
        let named = dir.path().join(OsStr::from_bytes(b"\xff"));
        std::os::unix::fs::symlink("/bin/sh", &named).unwrap();
        let mut command = Command::new(&named);
        command.args(["-c", "echo ready; read x"]).current_dir(&tree).uid(4_321).gid(4_321);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
        // As in a container: the kernel shows such files to root only if it takes on the user.
        let found = std::thread::spawn(move || {
            let mut own = capabilities(None).unwrap();
            own.effective.remove(CapabilitySet::SYS_PTRACE);
            own.permitted.remove(CapabilitySet::SYS_PTRACE);
            set_capabilities(None, own).unwrap();
            find_holders(&tree)
        });
        let found = found.join().unwrap();
        let of_child = found.into_iter().find(|holder| holder.pid == child.id());
        drop(child.stdin.take());
        child.wait().unwrap();
        let name = "\u{fffd}".to_owned();
        assert_eq!(of_child, Some(Holder { pid: child.id(), name, writes: true, hidden: false }));
    }

    #[test]
    fn processes_that_can_still_write_differ_from_those_that_only_read() {
        let dir = tempfile::tempdir().unwrap();
        let tree = fs::canonicalize(dir.path()).unwrap();
        fs::write(tree.join("read"), "").unwrap();
        assert_eq!(find_holders(&tree), []);
        let scripts = [
            "exec 3< read; cd /; echo ready; read x",
            "exec 3>> log; cd /; echo ready; read x",
            "echo ready; read x",
        ];
        let children: Vec<Child> = scripts.iter().map(|script| sleeper(script, &tree)).collect();
        let mut found: Vec<(u32, bool)> =
            find_holders(&tree).iter().map(|holder| (holder.pid, holder.writes)).collect();
        let mut expected: Vec<(u32, bool)> =
            children.iter().zip([false, true, true]).map(|(child, writes)| (child.id(), writes)).collect();
        found.sort_unstable();
        expected.sort_unstable();
        for mut child in children {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
        assert_eq!(found, expected);
        assert_eq!(find_holders(&tree), []);
    }
}
