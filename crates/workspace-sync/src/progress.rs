//! Progress of a copy: an updating line on a terminal, log lines elsewhere, and events in the boot journal.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use journal::{Event, Journal};
use tree_copy::{Counters, Note, NoteKind, Observer};

use crate::claim_lease::ClaimLease;
use kit::units;

/// Interval of updates on a terminal.
const MOVE_EVERY: Duration = Duration::from_millis(100);
/// Interval of lines in a log and in the journal, which an hour of copying must not fill.
const PRINT_EVERY: Duration = Duration::from_secs(5);
/// Maximum number of notes in the log of one copy.
const MAX_LOGGED_NOTES: u32 = 20;

/// Phase of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The first pass, which takes longest.
    Copying,
    /// Passes for changes during the copy.
    Following,
    /// The switch waits for provisioning; changes are copied meanwhile.
    Waiting,
    /// Source and copy are compared.
    Comparing,
}

impl Phase {
    fn prefix(self) -> &'static str {
        match self {
            Self::Copying => "",
            Self::Following => "following changes, ",
            Self::Waiting => "waiting for provisioning, ",
            Self::Comparing => "comparing, ",
        }
    }
}

/// Size of the whole copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// Entries of the tree.
    pub entries: u64,
    /// Bytes of its files.
    pub bytes: u64,
}

/// State of the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Entries that are done.
    pub entries: u64,
    /// Bytes that are done.
    pub bytes: u64,
    /// Bytes a second since the beginning.
    pub rate: u64,
    /// Seconds left at that rate; unknown at the beginning.
    pub seconds_left: Option<u64>,
}

impl Position {
    /// Computes rate and remaining time.
    #[must_use]
    pub fn at(entries: u64, bytes: u64, total: Total, elapsed: Duration) -> Self {
        let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = bytes.saturating_mul(1_000) / milliseconds;
        let left = total.bytes.saturating_sub(bytes);
        // The first rates are not representative.
        let seconds_left = (milliseconds >= 1_000 && rate > 0).then(|| left.div_ceil(rate));
        Self { entries, bytes, rate, seconds_left }
    }

    /// Returns the progress line.
    #[must_use]
    pub fn line(&self, tree: &str, phase: Phase, total: Total) -> String {
        let percent = self.bytes.saturating_mul(100).checked_div(total.bytes).unwrap_or(100).min(100);
        let mut line = format!(
            "{tree}: {}{percent} %, {} of {}, {} of {} entries, {}/s",
            phase.prefix(),
            units::format_bytes(self.bytes),
            units::format_bytes(total.bytes),
            units::format_count(self.entries),
            units::format_count(total.entries),
            units::format_bytes(self.rate),
        );
        if let Some(seconds) = self.seconds_left {
            line.extend([", ", &kit::duration::words(seconds), " left"]);
        }
        line
    }
}

/// Observes the passes of one tree's copy and prints their progress.
pub struct Progress<'a> {
    tree: &'a str,
    total: Total,
    journal: &'a Journal,
    lease: Option<&'a ClaimLease>,
    output: Mutex<Output>,
    terminal: bool,
    differing: Mutex<Vec<std::path::PathBuf>>,
}

struct Output {
    phase: Phase,
    phase_started: Instant,
    moved: Instant,
    written: Instant,
    notes: u32,
}

impl<'a> Progress<'a> {
    /// Starts the progress of a copy of `tree`, which stops if its claim is lost.
    pub fn new(tree: &'a str, total: Total, journal: &'a Journal, lease: Option<&'a ClaimLease>) -> Self {
        let now = Instant::now();
        Self {
            tree,
            total,
            journal,
            lease,
            output: Mutex::new(Output {
                phase: Phase::Copying,
                phase_started: now,
                moved: now,
                written: now,
                notes: 0,
            }),
            terminal: io::stderr().is_terminal() && log::log_enabled!(log::Level::Info),
            differing: Mutex::new(Vec::new()),
        }
    }

    /// Starts another phase and its clock.
    pub fn enter(&self, phase: Phase) {
        if let Ok(mut output) = self.output.lock() {
            (output.phase, output.phase_started) = (phase, Instant::now());
        }
    }

    /// Takes the differing entries of a comparison, up to a thousand.
    pub fn take_differing(&self) -> Vec<std::path::PathBuf> {
        self.differing.lock().map(|mut found| std::mem::take(&mut *found)).unwrap_or_default()
    }

    /// Clears the progress line.
    fn end(&self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    fn print_position(&self, phase: Phase, position: Position) {
        // Waiting may take hours, and its start was printed.
        if !self.terminal && phase != Phase::Waiting {
            log::info!("{}", position.line(self.tree, phase, self.total));
        }
        if phase != Phase::Copying {
            return;
        }
        let event = Event::SyncProgress {
            tree: self.tree.to_owned(),
            entries: position.entries,
            entries_total: self.total.entries,
            bytes: position.bytes,
            bytes_total: self.total.bytes,
            bytes_per_second: position.rate,
            seconds_left: position.seconds_left,
        };
        // The copy matters more than its progress.
        let _ = self.journal.append(event);
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

impl Observer for Progress<'_> {
    fn on_progress(&self, counters: &Counters) {
        // If another thread is printing, skip this update.
        let Ok(mut output) = self.output.try_lock() else { return };
        let now = Instant::now();
        let position =
            Position::at(counters.entries(), counters.bytes(), self.total, now - output.phase_started);
        if self.terminal && now - output.moved >= MOVE_EVERY {
            output.moved = now;
            let _ = write!(io::stderr(), "\r\x1b[K{}", position.line(self.tree, output.phase, self.total));
        }
        if now - output.written >= PRINT_EVERY {
            output.written = now;
            self.print_position(output.phase, position);
        }
    }

    fn on_note(&self, note: Note) {
        let Ok(mut output) = self.output.lock() else { return };
        // An entry that could not be compared is not known to be in the copy.
        let is_difference = match note.what {
            NoteKind::Differs(_) => true,
            NoteKind::Vanished => output.phase == Phase::Comparing,
            _ => false,
        };
        if is_difference {
            if let Ok(mut found) = self.differing.lock()
                && found.len() < 1_000
            {
                found.push(note.path);
            }
            return;
        }
        // The switch waits because files change; a note for each pass would only repeat that.
        if output.phase == Phase::Waiting {
            return;
        }
        output.notes += 1;
        match output.notes {
            ..=MAX_LOGGED_NOTES => log::info!("{}: {note}", self.tree),
            number if number == MAX_LOGGED_NOTES + 1 => {
                log::info!("{}: further notes are suppressed", self.tree);
            }
            _ => {}
        }
    }

    fn stop(&self) -> bool {
        self.lease.is_some_and(ClaimLease::is_lost)
    }

    fn may_remove(&self) -> bool {
        self.lease.is_none_or(|lease| lease.check().is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_all_that_a_waiting_person_asks() {
        let total = Total { entries: 63_000, bytes: 5_450_000_000 };
        let position = Position::at(31_500, 2_725_000_000, total, Duration::from_secs(10));
        assert_eq!(
            position.line("micromamba", Phase::Copying, total),
            "micromamba: 50 %, 2.7 GB of 5.5 GB, 31,500 of 63,000 entries, 272.5 MB/s, 10 s left"
        );
    }

    #[test]
    fn the_first_moments_promise_nothing_and_an_empty_tree_is_done() {
        let total = Total { entries: 2, bytes: 0 };
        let position = Position::at(1, 0, total, Duration::ZERO);
        assert_eq!(
            position.line("x", Phase::Comparing, total),
            "x: comparing, 100 %, 0 bytes of 0 bytes, 1 of 2 entries, 0 bytes/s"
        );
    }

    #[test]
    fn an_entry_that_vanishes_during_a_comparison_differs() {
        let journal = Journal::new(std::path::Path::new("/nonexistent"));
        let progress = Progress::new("x", Total { entries: 1, bytes: 0 }, &journal, None);
        let vanished = || Note { path: "bin".into(), what: NoteKind::Vanished };
        progress.on_note(vanished());
        assert!(progress.take_differing().is_empty());
        progress.enter(Phase::Comparing);
        progress.on_note(vanished());
        assert_eq!(progress.take_differing(), [std::path::PathBuf::from("bin")]);
    }

    #[test]
    fn what_keeps_changing_is_not_said_while_the_switch_waits_for_that() {
        let total = Total { entries: 1, bytes: 1 };
        let journal = Journal::new(std::path::Path::new("/nonexistent"));
        let progress = Progress::new("x", total, &journal, None);
        for (phase, notes) in [(Phase::Waiting, 0), (Phase::Following, 1)] {
            progress.enter(phase);
            progress.on_note(Note { path: "log".into(), what: NoteKind::Unstable });
            assert_eq!(progress.output.lock().unwrap().notes, notes);
        }
    }
}
