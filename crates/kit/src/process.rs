//! Other processes, as proc(5) shows them. A process names itself, in any bytes.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A process, by its directory in `/proc`; it may have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process(PathBuf);

/// Facts of a process in one line of the kernel (`stat`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Its number.
    pub id: i32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Parent process.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// False for a zombie.
    pub is_alive: bool,
}

/// The fields of a process by name (`status`).
#[derive(Debug, Clone, Default)]
pub struct Status(String);

impl Process {
    /// Returns all processes that are visible here.
    #[must_use]
    pub fn all() -> Vec<Self> {
        Self::all_in(Path::new("/proc"))
    }

    /// Returns all processes below another directory than `/proc`.
    #[must_use]
    pub fn all_in(proc: &Path) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(proc) else { return Vec::new() };
        let is_number = |name: &OsStr| name.as_bytes().iter().all(u8::is_ascii_digit);
        entries
            .flatten()
            .filter(|entry| is_number(&entry.file_name()))
            .map(|entry| Self(entry.path()))
            .collect()
    }

    /// The process with this number.
    #[must_use]
    pub fn new(id: impl Display) -> Self {
        Self(format!("/proc/{id}").into())
    }

    /// This process.
    #[must_use]
    pub fn own() -> Self {
        Self::new("self")
    }

    /// Returns its number.
    #[must_use]
    pub fn id(&self) -> Option<i32> {
        self.0.file_name()?.to_str()?.parse().ok()
    }

    /// True if there is such a process, alive or not.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.0.exists()
    }

    /// Path of a file of it.
    #[must_use]
    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// Returns its name, number, parent, group and session; nothing if it has ended.
    #[must_use]
    pub fn stat(&self) -> Option<Stat> {
        Stat::parse(&fs::read(self.path("stat")).ok()?)
    }

    /// True if it has this name.
    #[must_use]
    pub fn runs(&self, name: &str) -> bool {
        fs::read(self.path("comm")).is_ok_and(|comm| comm.trim_ascii_end() == name.as_bytes())
    }

    /// Returns the program that it executes.
    pub fn program(&self) -> io::Result<PathBuf> {
        fs::read_link(self.path("exe"))
    }

    /// Returns its command line; empty if it has ended, or belongs to the kernel.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let line = fs::read(self.path("cmdline")).unwrap_or_default();
        let Some(line) = line.strip_suffix(b"\0") else { return Vec::new() };
        line.split(|byte| *byte == 0).map(|argument| OsStr::from_bytes(argument).to_owned()).collect()
    }

    /// Returns its fields by name.
    pub fn status(&self) -> io::Result<Status> {
        Ok(Status(String::from_utf8_lossy(&fs::read(self.path("status"))?).into_owned()))
    }

    /// Returns its open files: the number of each and the path that it leads to. One that is closed meanwhile is left out.
    pub fn descriptors(&self) -> io::Result<Vec<(OsString, PathBuf)>> {
        let entries = fs::read_dir(self.path("fd"))?.flatten();
        Ok(entries.filter_map(|entry| Some((entry.file_name(), fs::read_link(entry.path()).ok()?))).collect())
    }
}

impl Stat {
    /// The name is in parentheses and may have any, so the fields count from the last one.
    fn parse(line: &[u8]) -> Option<Self> {
        let (open, close) =
            (line.iter().position(|byte| *byte == b'(')?, line.iter().rposition(|byte| *byte == b')')?);
        let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
        let rest = text(&line[close + 1..]);
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let mut number = || fields.next()?.parse().ok();
        Some(Self {
            id: text(&line[..open]).trim().parse().ok()?,
            name: text(line.get(open + 1..close)?),
            parent: number()?,
            group: number()?,
            session: number()?,
            is_alive: !matches!(state, "Z" | "X"),
        })
    }
}

impl Status {
    /// Returns the first number of a field, such as `Uid:`.
    #[must_use]
    pub fn number<N: TryFrom<u64>>(&self, field: &str, radix: u32) -> Option<N> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(field))?;
        u64::from_str_radix(line.split_ascii_whitespace().next()?, radix).ok()?.try_into().ok()
    }
}

/// Returns the mode bits that new files of this process lack. Asking by umask(2) would set it, for all threads.
#[must_use]
pub fn umask() -> Option<u32> {
    Process::own().status().ok()?.number("Umask:", 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_is_described_whatever_its_name_is() {
        let shell = tempfile::tempdir().unwrap();
        let named = shell.path().join(OsStr::from_bytes(b") \xff 1"));
        std::os::unix::fs::symlink("/bin/sh", &named).unwrap();
        let mut command = Command::new(&named);
        command.args(["-c", "echo ready; read x", "", "a b"]).current_dir(&shell);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
        let process = Process::new(child.id());
        let stat = process.stat().unwrap();
        let arguments = process.arguments();
        let uid: Option<u32> = process.status().unwrap().number("Uid:", 10);
        let found = Process::all().contains(&process);
        let opened = process.descriptors().unwrap();
        let is_standard = |number: &str| opened.iter().any(|(opened, _)| opened == number);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!((stat.name.as_str(), stat.is_alive), (") \u{fffd} 1", true));
        assert_eq!(
            [Some(stat.id), Some(stat.parent)],
            [process.id(), i32::try_from(std::process::id()).ok()]
        );
        assert_eq!(stat.group, Process::own().stat().unwrap().group);
        assert_eq!(arguments[1..], ["-c", "echo ready; read x", "", "a b"]);
        assert_eq!((uid, found), (Some(nix::unistd::getuid().as_raw()), true));
        assert!(["0", "1", "2"].into_iter().all(is_standard), "{opened:?}");
        assert!(!process.exists() && process.stat().is_none() && process.arguments().is_empty());
    }

    #[test]
    fn a_name_may_look_like_the_fields_behind_it() {
        let stat = Stat::parse(b"42 (a) S 1 (b) R 7 40 41 0 -1 4194304\n").unwrap();
        let name = "a) S 1 (b".to_owned();
        assert_eq!(stat, Stat { id: 42, name, parent: 7, group: 40, session: 41, is_alive: true });
        assert!(!Stat::parse(b"42 (x) Z 7 40 41 0").unwrap().is_alive);
        assert_eq!(Stat::parse(b"42 (x"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn names_and_numbers_of_the_present_process() {
        let own = Process::own();
        assert_eq!(own.program().unwrap(), std::env::current_exe().unwrap());
        assert!(!own.runs("init"));
        assert_eq!(own.status().unwrap().number::<u32>("Nothing:", 10), None);
    }

    #[test]
    fn the_umask_is_what_new_files_lack() {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        let dir = tempfile::tempdir().unwrap();
        let options = fs::File::options().write(true).create(true).mode(0o777).clone();
        let file = options.open(dir.path().join("x")).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o777 & !umask().unwrap());
    }
}
