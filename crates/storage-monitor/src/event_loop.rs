//! The supervised loop: gathers events, scans, and reports.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

use crate::findings::{LISTED, ScanCounts, abbreviate};
use crate::monitor::Monitor;
use crate::pending_events::{EventReceiver, PendingEvents};
use crate::rescan_interval::{EventCoverage, rescan_interval};
use crate::status::{Status, milliseconds_since_boot};
use crate::watcher::Watcher;

/// Changes within this time are scanned together.
const DEBOUNCE: Duration = Duration::from_millis(1);
/// Upper limit of that time while changes keep coming.
const MAX_DEBOUNCE: Duration = Duration::from_millis(250);
/// Rounds of new watches, which find new directories, which need watches. After these, directories are created faster than
/// they are scanned.
const MAX_ROUNDS: usize = 16;
/// Rounds that may scan everything.
const MAX_FULL_ROUNDS: usize = 3;

/// Runs until SIGTERM or SIGINT; SIGHUP requests a scan. Exits without waiting for a running scan; the next start
/// continues it.
pub fn run(monitor: Monitor) -> Result<()> {
    let receiver = Arc::new(EventReceiver::new(&monitor.paths().mappings));
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    // Before any other thread exists, so that every thread inherits the mask.
    signals.thread_block().context("cannot install the signal handler")?;
    let mut event_loop = EventLoop {
        monitor,
        watcher: Watcher::new(Arc::clone(&receiver)),
        receiver: Arc::clone(&receiver),
        reported: BTreeSet::new(),
        written: None,
        scan_began: 0,
    };
    thread::Builder::new().spawn(move || event_loop.run()).context("cannot start a thread")?;
    loop {
        match signals.wait().context("cannot wait for signals")? {
            Signal::SIGHUP => receiver.request_scan(),
            _ => return Ok(()),
        }
    }
}

struct EventLoop {
    monitor: Monitor,
    watcher: Watcher,
    receiver: Arc<EventReceiver>,
    /// Messages that are in the log.
    reported: BTreeSet<String>,
    /// State in the file.
    written: Option<Status>,
    /// Start of the last scan of everything, by [`milliseconds_since_boot`].
    scan_began: u64,
}

impl EventLoop {
    fn run(&mut self) -> ! {
        let mut pending = PendingEvents::overflow();
        let mut due = Instant::now();
        loop {
            let began = Instant::now();
            if pending.overflow {
                self.watcher.reset();
            }
            // Requests that come later are answered by a later scan.
            let now = milliseconds_since_boot();
            let new_mapping = self.monitor.read_mapping(pending.scan_requested);
            let full = new_mapping || pending.overflow || pending.scan_requested || began >= due;
            let mut counts = if full {
                self.scan_began = now;
                self.monitor.full_scan(None)
            } else {
                self.monitor.incremental_scan(&pending.changes)
            };
            counts.add(self.watch_and_rescan(&pending.changes.names));
            let unwatched = self.watcher.watch_error.as_ref().map(|_| EventCoverage::None);
            let coverage = unwatched.unwrap_or_else(|| self.monitor.coverage());
            let interval = rescan_interval(coverage, self.monitor.scan_cost);
            if full {
                due = Instant::now() + interval;
            }
            self.report(&counts, coverage, interval);
            pending = self.receiver.wait(due, began.elapsed().clamp(DEBOUNCE, MAX_DEBOUNCE));
        }
    }

    /// Watches the present directories, and scans those again that were not watched during their scan.
    fn watch_and_rescan(&mut self, moved: &BTreeSet<PathBuf>) -> ScanCounts {
        let mut counts = ScanCounts::default();
        let none = BTreeSet::new();
        let mut moved = moved;
        for round in 0..MAX_ROUNDS {
            if !self.monitor.needs_new_watches(moved) && !self.watcher.is_affected(moved) {
                break;
            }
            let new = self.watcher.set(self.monitor.directories_to_watch(), moved);
            if new.is_empty() {
                break;
            }
            counts.add(self.monitor.rescan(&new, round < MAX_FULL_ROUNDS));
            moved = &none;
        }
        counts
    }

    /// Logs new messages, and writes the state if it has changed.
    fn report(&mut self, counts: &ScanCounts, coverage: EventCoverage, interval: Duration) {
        if !counts.is_idle() {
            log::info!("linked {}, removed {}", counts.linked, counts.removed);
        }
        let status = self.status(coverage, interval);
        // A mistake in the mapping was logged when it was found.
        let mistake = self.monitor.mapping_error().map(abbreviate);
        let problems = status.problems.iter().filter(|problem| Some(*problem) != mistake.as_ref());
        let omitted = (status.conflicts > status.conflict_list.len())
            .then(|| "not all conflicts are listed; run: storage-monitor status".to_owned());
        let now: BTreeSet<String> = problems.chain(&status.conflict_list).cloned().chain(omitted).collect();
        for new in now.difference(&self.reported) {
            log::warn!("{new}");
        }
        self.reported = now;
        if self.written.as_ref() != Some(&status) {
            match status.write(&self.monitor.paths().status) {
                Ok(()) => self.written = Some(status),
                Err(error) => log::warn!("{error:#}"),
            }
        }
    }

    fn status(&self, coverage: EventCoverage, interval: Duration) -> Status {
        let monitor = &self.monitor;
        let conflicts = monitor.conflicts().map(|(target, conflict)| conflict.message(target));
        let waiting = monitor.waiting().iter();
        let waiting: BTreeMap<_, _> = waiting
            .map(|(path, why)| (abbreviate(&kit::quote::quoted(path)), abbreviate(why)))
            .take(LISTED)
            .collect();
        Status {
            pid: std::process::id(),
            storage: monitor.paths().storage.clone(),
            links: monitor.mapped.ledger.count(),
            shipped: monitor.shipped.ledger.count(),
            conflicts: monitor.mapped.findings.count(),
            conflict_list: conflicts.take(LISTED).collect(),
            problems: monitor.problems().take(LISTED).chain(self.watcher.watch_error.clone()).collect(),
            waiting,
            events: coverage.name().to_owned(),
            rescan_seconds: interval.as_secs(),
            scan_milliseconds: u64::try_from(monitor.scan_cost.as_millis()).unwrap_or(u64::MAX),
            scan_began: self.scan_began,
        }
    }
}
