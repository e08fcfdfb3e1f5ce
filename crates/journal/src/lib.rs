//! The boot journal: typed events from start to ready.
//!
//! `/run/leonardo/boot.jsonl` holds one JSON object per line. `init` empties it at every start of the container, `boot`
//! appends to it; the portal and `boot report` read it through a [`Timeline`]. An append is one `write`, so a reader
//! sees whole lines; a line torn by a crash is skipped.
//!
//! The file is world-readable, so it contains only our own messages. Output of a user's script goes to the [restricted
//! entry](Journal::append_restricted) beside the journal, which only the group of log readers can read.

mod down_programs;
mod event;
mod program_exits;
mod proxy_problem;
mod restricted_entry;
mod timeline;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use kit::ReadPolicy;
use kit::atomic::{self, WriteOptions};

pub use down_programs::{DownProgram, LogOwner, Severity, log_name};
pub use event::{Entry, Event, Stage, StageResult};
pub use program_exits::{Cause, ProgramExit};
pub use proxy_problem::{PROXY_PROBLEM_FILE, proxy_problem};
pub use timeline::{Phase, SettingProblem, StageRun, Timeline};

/// Path of this container's journal.
pub const PATH: &str = "/run/leonardo/boot.jsonl";

/// A boot with a thousand problems writes a hundredth of this.
const INPUT: ReadPolicy = ReadPolicy::max_size(16 << 20).no_follow();

/// A journal file.
#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
}

impl Journal {
    /// Returns the journal at `path`, which need not exist yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Empties the journal for a new boot. It is world-readable: it names settings and their mistakes, not their
    /// secrets.
    pub fn reset(&self) -> Result<()> {
        restricted_entry::remove(&self.path)?;
        atomic::write(&self.path, b"", WriteOptions::volatile(0o644))
    }

    /// Returns the path of the journal.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one event with the present time.
    pub fn append(&self, event: Event) -> Result<()> {
        self.append_entry(&Entry { at: unix_time(), event })
            .with_context(|| format!("cannot append to {}", self.path.display()))
    }

    fn append_entry(&self, entry: &Entry) -> io::Result<()> {
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o644).open(&self.path)?;
        let mut line = Vec::new();
        if ends_torn(&mut file)? {
            line.push(b'\n');
        }
        serde_json::to_writer(&mut line, entry)?;
        line.push(b'\n');
        file.write_all(&line)
    }

    /// Replaces the restricted entry, which only log readers can read, by this event at the present time.
    pub fn append_restricted(&self, event: Event) -> Result<()> {
        restricted_entry::write(&self.path, &Entry { at: unix_time(), event })
    }

    /// Returns the program of each log that belongs to one program alone, by the log's name.
    #[must_use]
    pub fn programs_by_log(&self) -> BTreeMap<String, LogOwner> {
        down_programs::programs_by_log(&self.path)
    }

    /// Returns the programs that are down or restart repeatedly.
    #[must_use]
    pub fn down_programs(&self) -> Vec<DownProgram> {
        down_programs::down_programs(&self.path, unix_time())
    }

    /// Returns the last exit of each program by name.
    #[must_use]
    pub fn program_exits(&self) -> BTreeMap<String, ProgramExit> {
        program_exits::program_exits(&self.path)
    }

    /// Returns all events so far, oldest first, with the restricted entry if this process may read it; a missing
    /// journal has none. If a stage ended more than once, the last result counts, at the time of the first.
    pub fn read(&self) -> Result<Vec<Entry>> {
        let mut entries = self.lines()?;
        if let Some(confided) = restricted_entry::read(&self.path) {
            let before = entries.iter().rposition(|entry| entry.at <= confided.at);
            entries.insert(before.map_or(0, |index| index + 1), confided);
        }
        Ok(with_one_end_each(entries))
    }

    /// Like [`Self::read`] without the restricted entry, for readers who may not see logs.
    pub fn read_unrestricted(&self) -> Result<Vec<Entry>> {
        Ok(with_one_end_each(self.lines()?))
    }

    fn lines(&self) -> Result<Vec<Entry>> {
        Ok(INPUT.read_if_exists(&self.path)?.map_or_else(Vec::new, |bytes| parse(&bytes)))
    }
}

/// Returns the present time in seconds since the Unix epoch, the unit of entries.
#[must_use]
pub fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// True if the last line lacks its newline, because its writer was killed.
fn ends_torn(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn parse(bytes: &[u8]) -> Vec<Entry> {
    bytes.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

fn with_one_end_each(entries: Vec<Entry>) -> Vec<Entry> {
    let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
    for entry in entries {
        let earlier = match &entry.event {
            Event::StageEnded { stage, .. } => earlier_end(&mut kept, *stage),
            _ => None,
        };
        match earlier {
            Some(earlier) => earlier.event = entry.event,
            None => kept.push(entry),
        }
    }
    kept
}

/// Returns the end of the stage's latest run.
fn earlier_end(entries: &mut [Entry], of: Stage) -> Option<&mut Entry> {
    let last = entries.iter_mut().rfind(|entry| match &entry.event {
        Event::StageStarted { stage } | Event::StageEnded { stage, .. } => *stage == of,
        Event::BootStarted { .. } => true,
        _ => false,
    });
    last.filter(|entry| matches!(entry.event, Event::StageEnded { .. }))
}

/// True if late boot became ready, whatever the results of its stages; not if it was abandoned.
#[must_use]
pub fn is_ready(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| {
        matches!(&entry.event, Event::StageEnded { stage: Stage::Ready, result: StageResult::Done, .. })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(stage: Stage) -> Event {
        Event::StageEnded { stage, result: StageResult::Done, cause: None, hint: None }
    }

    #[test]
    fn what_was_appended_is_read_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::new(&dir.path().join("boot.jsonl"));
        assert_eq!(journal.read().unwrap(), []);
        journal.append(Event::StageStarted { stage: Stage::Sync }).unwrap();
        journal.append(ended(Stage::Ready)).unwrap();
        let entries = journal.read().unwrap();
        let events: Vec<_> = entries.iter().map(|entry| entry.event.clone()).collect();
        assert_eq!(events, [Event::StageStarted { stage: Stage::Sync }, ended(Stage::Ready)]);
        assert!(is_ready(&entries) && !is_ready(&entries[..1]));
    }

    #[test]
    fn a_torn_line_costs_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("boot.jsonl");
        let journal = Journal::new(&path);
        journal.append(ended(Stage::Sync)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], &whole[..20]].concat()).unwrap();
        journal.append(ended(Stage::Ready)).unwrap();
        let events: Vec<_> = journal.read().unwrap().into_iter().map(|entry| entry.event).collect();
        assert_eq!(events, [ended(Stage::Sync), ended(Stage::Ready)]);
    }

    fn failed(cause: &str) -> Event {
        let cause = Some(cause.to_owned());
        Event::StageEnded { stage: Stage::Provisioning, result: StageResult::Failed, cause, hint: None }
    }

    #[test]
    fn the_last_end_of_a_run_counts_and_other_runs_are_not_affected() {
        let started = |stage| Event::StageStarted { stage };
        let events = [
            started(Stage::Provisioning),
            failed("once"),
            started(Stage::Ready),
            ended(Stage::Ready),
            failed("twice"),
            ended(Stage::Provisioning),
            started(Stage::Provisioning),
            failed("again"),
            Event::BootStarted { pid: 7 },
            failed("of no course"),
        ];
        let entries = (1..).zip(events).map(|(at, event)| Entry { at: f64::from(at), event }).collect();
        let kept: Vec<(f64, Event)> =
            with_one_end_each(entries).into_iter().map(|entry| (entry.at, entry.event)).collect();
        let expected = [
            (1.0, started(Stage::Provisioning)),
            (2.0, ended(Stage::Provisioning)),
            (3.0, started(Stage::Ready)),
            (4.0, ended(Stage::Ready)),
            (7.0, started(Stage::Provisioning)),
            (8.0, failed("again")),
            (9.0, Event::BootStarted { pid: 7 }),
            (10.0, failed("of no course")),
        ];
        assert_eq!(kept, expected);
    }

    #[test]
    fn what_is_confided_is_one_entry_at_its_time_and_not_in_the_journal() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::new(&dir.path().join("boot.jsonl"));
        let note = |message: &str| Event::StageNote { stage: Stage::Provisioning, message: message.into() };
        journal.reset().unwrap();
        journal.append(Event::StageStarted { stage: Stage::Provisioning }).unwrap();
        journal.append_restricted(note("one")).unwrap();
        journal.append_restricted(note("two")).unwrap();
        let events =
            || -> Vec<Event> { journal.read().unwrap().into_iter().map(|entry| entry.event).collect() };
        assert_eq!(events(), [Event::StageStarted { stage: Stage::Provisioning }, note("two")]);
        journal.append(failed("exit code 3")).unwrap();
        assert_eq!(events()[1..], [note("two"), failed("exit code 3")]);
        assert_eq!(journal.read_unrestricted().unwrap().len(), 2);
        journal.append_restricted(failed("exit code 3; it said last: x")).unwrap();
        assert_eq!(events()[1..], [failed("exit code 3; it said last: x")]);
        let text = std::fs::read_to_string(dir.path().join("boot.jsonl")).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        journal.reset().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left of it");
    }

    #[test]
    fn the_written_form_is_an_interface() {
        let entry = Entry { at: 1.5, event: ended(Stage::Provisioning) };
        assert_eq!(
            serde_json::to_string(&entry).unwrap(),
            r#"{"at":1.5,"event":"stage_ended","stage":"provisioning","result":"done"}"#
        );
    }
}
