//! Last exits of programs.
//!
//! supervisord's launcher (`images/base/supervisor/supervisord`) replaces `program-exits.json` beside the journal whenever a
//! program exits, cannot be started, or is started again. It has every program that did, also those that do not run.

use std::collections::BTreeMap;
use std::path::Path;

use kit::units::format_memory;
use serde::Deserialize;

use crate::INPUT;

/// End of a program's process, or a start that failed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ProgramExit {
    /// Time, in seconds since the Unix epoch.
    pub at: f64,
    /// Description by supervisord, such as `exit code 3`, or why the program could not be started.
    pub end: String,
    /// False if the program could not be started.
    pub started: bool,
    /// True after a request to stop.
    pub requested: bool,
    /// True if the program may exit in this way.
    pub expected: bool,
    /// Cause that the launcher found.
    pub cause: Cause,
    /// Memory limit of the container in bytes; 0 without one.
    pub limit: u64,
    /// Path of the log with the last messages; empty if there is none.
    pub log: String,
    /// Size of that log at the exit, in bytes.
    pub log_size: u64,
    /// Number of times that supervisord started the program again by itself.
    pub restarts: u32,
}

/// Cause of an exit, besides what its status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// None.
    None,
    /// The kernel killed the program or a process of it, because memory was full.
    Memory,
    /// The kernel killed a process of the container shortly before, because memory was full.
    AfterMemory,
    /// A file system was full.
    Disk,
    /// The container does not show whether memory was full.
    Unknown,
}

/// Returns the last exit of each program by name; none before the first one.
pub fn program_exits(journal: &Path) -> BTreeMap<String, ProgramExit> {
    let text = INPUT.read(&journal.with_file_name("program-exits.json")).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

impl ProgramExit {
    /// Describes the exit in words that follow "last exit:", such as `exit code 3`.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { end, limit, .. } = self;
        let killed = end == "terminated by SIGKILL";
        match self.cause {
            _ if !self.started => format!("could not be started: {end}"),
            _ if self.requested && killed => "stopped on request, with SIGKILL".to_owned(),
            _ if self.requested => "stopped on request".to_owned(),
            _ if self.expected && end == "exit code 0" => "exited successfully".to_owned(),
            _ if self.expected => format!("{end}, as expected"),
            cause => with_cause(end, cause, *limit),
        }
    }
}

/// Appends the cause to the description of an exit.
pub fn with_cause(end: &str, cause: Cause, limit: u64) -> String {
    let full = if limit == 0 {
        "memory was full".to_owned()
    } else {
        format!("the container's {} of memory were full", format_memory(limit))
    };
    match cause {
        Cause::Memory => format!("{end} because {full}"),
        Cause::AfterMemory => {
            format!("{end}, shortly after the kernel killed a process because {full}")
        }
        Cause::Disk => format!("{end} while a disk was full"),
        // A shell reports 137 if a program that it started was killed.
        Cause::Unknown if matches!(end, "terminated by SIGKILL" | "exit code 137") => {
            format!("{end}, often because memory was full")
        }
        Cause::None | Cause::Unknown => end.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn exit(end: &str, cause: Cause) -> ProgramExit {
        ProgramExit {
            at: 1.0,
            end: end.into(),
            started: true,
            requested: false,
            expected: false,
            cause,
            limit: 0,
            log: String::new(),
            log_size: 0,
            restarts: 0,
        }
    }

    #[test]
    fn an_exit_is_one_sentence_with_its_cause() {
        let killed = "terminated by SIGKILL";
        let of_limit = ProgramExit { limit: 512 << 20, ..exit("exit code 137", Cause::Memory) };
        let requested = |end: &str| ProgramExit { requested: true, expected: true, ..exit(end, Cause::None) };
        let expected = |end: &str| ProgramExit { expected: true, ..exit(end, Cause::None) };
        let unstarted = ProgramExit { started: false, ..exit("can't find command '/x'", Cause::None) };
        for (exit, sentence) in [
            (exit("exit code 3", Cause::None), "exit code 3"),
            (
                exit("terminated by SIGSEGV (core dumped)", Cause::Unknown),
                "terminated by SIGSEGV (core dumped)",
            ),
            (exit(killed, Cause::None), killed),
            (exit(killed, Cause::Unknown), "terminated by SIGKILL, often because memory was full"),
            (exit(killed, Cause::Memory), "terminated by SIGKILL because memory was full"),
            (of_limit, "exit code 137 because the container's 512.0 MiB of memory were full"),
            (
                exit("exit code 1", Cause::AfterMemory),
                "exit code 1, shortly after the kernel killed a process because memory was full",
            ),
            (exit("exit code 1", Cause::Disk), "exit code 1 while a disk was full"),
            (unstarted, "could not be started: can't find command '/x'"),
            (requested("terminated by SIGTERM"), "stopped on request"),
            (requested(killed), "stopped on request, with SIGKILL"),
            (expected("exit code 0"), "exited successfully"),
            (expected("exit code 2"), "exit code 2, as expected"),
        ] {
            assert_eq!(exit.sentence(), sentence);
        }
    }

    #[test]
    fn the_launchers_file_is_read_and_a_broken_one_has_no_exits() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("boot.jsonl");
        assert!(program_exits(&journal).is_empty());
        let written = "{\"a:b\":{\"at\":2.500000,\"end\":\"exit code 1\",\"started\":true,\"requested\":false,\
             \"expected\":false,\"cause\":\"disk\",\"limit\":0,\"log\":\"/l\",\"log_size\":7,\"restarts\":3}}\n";
        let file = dir.path().join("program-exits.json");
        fs::write(&file, written).unwrap();
        let found = ProgramExit {
            at: 2.5,
            log: "/l".into(),
            log_size: 7,
            restarts: 3,
            ..exit("exit code 1", Cause::Disk)
        };
        assert_eq!(program_exits(&journal), BTreeMap::from([("a:b".to_owned(), found)]));
        fs::write(&file, &written[..50]).unwrap();
        assert!(program_exits(&journal).is_empty());
    }
}
