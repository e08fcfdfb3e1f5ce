//! Runs the tool on file systems that are mounted for one test.

// Each test file uses only some of it.
#![allow(dead_code)]

use std::ffi::{CString, OsStr};
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use dirfd::xattr::Node;
use tempfile::TempDir;

/// The owner of the volume.
pub const UID: u32 = 1234;

/// A temporary directory with mounts, which are unmounted before it is removed.
pub struct Machine {
    dir: TempDir,
    mounts: Vec<PathBuf>,
}

impl Machine {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        Self { dir, mounts: Vec::new() }
    }

    /// A machine with a tmpfs volume that belongs to its owner.
    pub fn with_volume() -> Self {
        let mut machine = Self::new();
        machine.mount("ws", &["-t", "tmpfs", "none"]);
        std::os::unix::fs::chown(machine.path("ws"), Some(UID), Some(UID)).unwrap();
        fs::set_permissions(machine.path("ws"), Permissions::from_mode(0o755)).unwrap();
        machine
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.dir.path().join(Path::new(name.as_ref()))
    }

    pub fn mount(&mut self, name: &str, args: &[&str]) {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        tool(Command::new("mount").args(args).arg(&path));
        self.mounts.push(path);
    }

    pub fn directory(&self, name: impl AsRef<OsStr>, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    pub fn file(&self, name: impl AsRef<OsStr>, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "content\n").unwrap();
        // A directory with the set-group-ID bit passes on its group.
        std::os::unix::fs::chown(&path, Some(0), Some(0)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    pub fn opt(&self, args: &[&str]) -> Ran {
        self.run(Command::new("true").args(["--only", "container"]).args(args))
    }

    pub fn workspace(&self, args: &[&str]) -> Ran {
        self.run(Command::new("true").args(["--only", "workspace"]).args(args))
    }

    /// Command line of the tool with these arguments, for `opt` and `ws`.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fix-perms"));
        command.env_clear().args(args).arg("--opt").arg(self.path("opt")).args(["--group", "daemon"]);
        command.env("WORKSPACE", self.path("ws")).env("WORKSPACE_MOUNTED", "true");
        command.env("WORKSPACE_UID", UID.to_string());
        command
    }

    fn run(&self, arguments: &Command) -> Ran {
        let args: Vec<&str> = arguments.get_args().map(|arg| arg.to_str().unwrap()).collect();
        let output = self.command(&args).output().unwrap();
        Ran::new(&output, self.dir.path())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for mount in self.mounts.iter().rev() {
            // Lazy, because a test that panics may still use it.
            let _ = Command::new("umount").arg("--lazy").arg(mount).status();
        }
    }
}

/// Exit code and output of the tool, with `@` for the machine's directory.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn new(output: &Output, dir: &Path) -> Self {
        let text =
            |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().replace(dir.to_str().unwrap(), "@");
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Asserts success, this output, and nothing on stderr.
    #[track_caller]
    pub fn printed(&self, stdout: &str) {
        assert_eq!((self.code, self.stdout.as_str(), self.stderr.as_str()), (Some(0), stdout, ""));
    }

    /// Returns the lines before the summary, sorted, because several threads print them.
    #[track_caller]
    pub fn steps(&self) -> Vec<&str> {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""));
        let mut lines: Vec<&str> = self.stdout.lines().collect();
        lines.pop();
        lines.sort_unstable();
        lines
    }
}

/// Runs a program; panics if it fails.
#[track_caller]
pub fn tool(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs a program until it succeeds: a process that another test has just started may have inherited a descriptor for a
/// moment, and a mount with an open file can neither be unmounted nor become read-only.
#[track_caller]
pub fn retry_tool(command: &mut Command) {
    kit::wait::until(Duration::from_secs(30), &format!("{command:?}"), || {
        command.output().unwrap().status.success().then_some(())
    })
    .unwrap();
}

/// Permission bits and group of an entry; a link is not followed.
pub fn mode_and_group(path: &Path) -> (u32, u32) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.mode() & 0o7777, meta.gid())
}

/// ACL of an entry in the format of `setfacl`, if it has one.
pub fn acl(path: &Path, list: &str) -> Option<String> {
    let node = Node::Named(CString::new(path.as_os_str().as_bytes()).unwrap());
    let bytes = node.get(&CString::new(format!("system.posix_acl_{list}")).unwrap()).ok()?;
    let entries = bytes[4..].chunks(8).map(|entry| {
        let id = u32::from_le_bytes(entry[4..].try_into().unwrap());
        let digit = entry[2];
        match entry[0] {
            1 => format!("u::{digit}"),
            2 => format!("u:{id}:{digit}"),
            4 => format!("g::{digit}"),
            8 => format!("g:{id}:{digit}"),
            16 => format!("m::{digit}"),
            _ => format!("o::{digit}"),
        }
    });
    Some(entries.collect::<Vec<_>>().join(","))
}
