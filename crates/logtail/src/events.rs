//! Events of directories, signals and the output.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use log_history::file_id::FileId;
use log_history::file_name;
use log_history::log_directory::LogDirectory;

/// Interval of full scans: events may get lost, and some file systems have none.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Interval of full scans without inotify.
const POLL_INTERVAL_WITHOUT_EVENTS: Duration = Duration::from_millis(100);

/// Maximum number of reads of 4 KiB: writers may be faster than this process.
const MAX_READS: usize = 16;

/// Events of the kernel: hints only, because they may be incomplete.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// True if files were created, deleted or renamed.
    pub rescan: bool,
    /// Logs that were written to: number of the directory, name of the log.
    pub written: BTreeSet<(usize, String)>,
    /// Number of files that each name has lost.
    pub removals: BTreeMap<(usize, String), usize>,
    /// True if the kernel's queue overflowed.
    pub overflow: bool,
}

/// Events of some directories, by inotify.
pub struct DirectoryEvents {
    inotify: Option<Inotify>,
    watched: Vec<Option<(WatchDescriptor, FileId)>>,
}

impl DirectoryEvents {
    /// Watches no directory yet. With an error, there will be no events, and [`DirectoryEvents::pause`] is short.
    pub fn new() -> (Self, Option<Errno>) {
        Self::of(Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK))
    }

    /// Uses the kernel's answer, an error in tests.
    pub(crate) fn of(answer: std::result::Result<Inotify, Errno>) -> (Self, Option<Errno>) {
        match answer {
            Ok(inotify) => (Self { inotify: Some(inotify), watched: Vec::new() }, None),
            Err(error) => (Self { inotify: None, watched: Vec::new() }, Some(error)),
        }
    }

    /// Watches directory number `index`, also after it was replaced.
    pub fn watch_directory(
        &mut self,
        index: usize,
        directory: &LogDirectory,
    ) -> std::result::Result<(), Errno> {
        let Some(inotify) = &self.inotify else { return Ok(()) };
        self.watched.resize(self.watched.len().max(index + 1), None);
        let Ok(opened) = directory.open() else { return Ok(()) };
        let path = dirfd::fd_path(&opened);
        let Ok(id) = path.metadata().map(|meta| FileId::from_metadata(&meta)) else { return Ok(()) };
        if let Some((descriptor, watched)) = self.watched[index] {
            if watched == id {
                return Ok(());
            }
            // It may be gone with its directory.
            let _ = inotify.rm_watch(descriptor);
        }
        let events = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_ATTRIB;
        let added = inotify.add_watch(&path, events | AddWatchFlags::IN_ONLYDIR);
        if added.is_err() {
            // Events of some directories only would be worse than none, because the interval would be long.
            self.inotify = None;
        }
        self.watched[index] = Some((added?, id));
        Ok(())
    }

    /// Returns the events since the last call.
    pub fn take(&self) -> Events {
        let mut hints = Events::default();
        let Some(inotify) = &self.inotify else { return hints };
        for _ in 0..MAX_READS {
            let Ok(events) = inotify.read_events() else { break };
            for event in events {
                let Some(name) = event.name.as_deref().and_then(|name| name.to_str()) else {
                    hints.rescan = true;
                    hints.overflow |= event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
                    continue;
                };
                let base = file_name::classify(name, |_, _| false)
                    .map_or_else(|| name.to_owned(), |(base, ..)| base);
                let index = self
                    .watched
                    .iter()
                    .position(|watched| watched.is_some_and(|(descriptor, _)| descriptor == event.wd));
                if event.mask.contains(AddWatchFlags::IN_MODIFY) {
                    hints.written.extend(index.map(|index| (index, base)));
                } else {
                    hints.rescan = true;
                    if event.mask.intersects(AddWatchFlags::IN_MOVED_FROM | AddWatchFlags::IN_DELETE)
                        && let Some(index) = index
                    {
                        *hints.removals.entry((index, name.to_owned())).or_default() += 1;
                    }
                }
            }
        }
        hints
    }

    /// Returns the interval of full scans.
    pub fn pause(&self) -> Duration {
        if self.inotify.is_some() { POLL_INTERVAL } else { POLL_INTERVAL_WITHOUT_EVENTS }
    }

    /// Waits for an event, a signal, the timeout, or until a `full` output accepts more; returns true if the output has no
    /// reader any more.
    pub fn wait(
        &self,
        stop: Option<&Signals>,
        output: Option<BorrowedFd<'_>>,
        full: bool,
        timeout: Duration,
    ) -> Result<bool> {
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut polled: Vec<PollFd<'_>> = Vec::new();
        polled.extend(self.inotify.as_ref().map(|inotify| readable(inotify.as_fd())));
        polled.extend(stop.map(|stop| readable(stop.0.as_fd())));
        let wanted = if full { PollFlags::POLLOUT } else { PollFlags::empty() };
        polled.extend(output.map(|output| PollFd::new(output, wanted)));
        // Rounded up: waiting for zero would be a busy loop.
        let milliseconds = u16::try_from(timeout.as_millis() + 1).unwrap_or(u16::MAX);
        match poll(&mut polled, PollTimeout::from(milliseconds)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for events"),
        }
        let answer = polled.last().filter(|_| output.is_some()).and_then(PollFd::revents);
        // The one is set for a pipe, the other for a socket (poll(2)).
        Ok(answer.is_some_and(|answer| answer.intersects(PollFlags::POLLERR | PollFlags::POLLHUP)))
    }
}

/// True if a write to the output would not block; it may fail.
pub fn takes_more(output: BorrowedFd<'_>) -> Result<bool> {
    match poll(&mut [PollFd::new(output, PollFlags::POLLOUT)], PollTimeout::ZERO) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

/// SIGTERM and SIGINT, as a descriptor.
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks both signals in this process, which has one thread.
    pub fn install() -> Result<Self> {
        let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
        signals.thread_block().context("cannot install the signal handler")?;
        let fd = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC);
        Ok(Self(fd.context("cannot install the signal handler")?))
    }

    /// True if one arrived since the last call.
    pub fn is_requested(&self) -> bool {
        matches!(self.0.read_signal(), Ok(Some(_)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;
    use log_history::log_directory::Selection;

    #[test]
    fn a_write_names_its_log_and_a_rename_asks_for_a_look() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.log.1"), "").unwrap();
        let directory = LogDirectory::new(dir.path().into(), Selection::Every);
        let (mut watch, error) = DirectoryEvents::new();
        assert_eq!((error, watch.watch_directory(1, &directory)), (None, Ok(())));
        fs::write(dir.path().join("x.log.1"), "x").unwrap();
        let written = BTreeSet::from([(1, "x.log".to_owned())]);
        assert_eq!(watch.take(), Events { written, ..Events::default() });
        fs::rename(dir.path().join("x.log.1"), dir.path().join("x.log.2")).unwrap();
        let left = BTreeMap::from([((1, "x.log.1".to_owned()), 1)]);
        assert_eq!(watch.take(), Events { rescan: true, removals: left, ..Events::default() });
        assert_eq!(watch.take(), Events::default());
    }

    #[test]
    fn events_without_end_are_taken_in_parts() {
        let dir = tempfile::tempdir().unwrap();
        let directory = LogDirectory::new(dir.path().into(), Selection::Every);
        let mut logs = ["x.log", "y.log"].map(|name| fs::File::create(dir.path().join(name)).unwrap());
        let (mut watch, _) = DirectoryEvents::new();
        watch.watch_directory(0, &directory).unwrap();
        // Alternating, because the kernel merges equal neighbours.
        for _ in 0..MAX_READS * 128 {
            logs.iter_mut().for_each(|log| log.write_all(b"x").unwrap());
        }
        let written = BTreeSet::from(["x.log", "y.log"].map(|name| (0, name.to_owned())));
        assert_eq!(watch.take().written, written);
        assert_eq!(watch.take().written, written);
    }

    #[test]
    fn a_directory_in_the_place_of_another_is_watched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs");
        fs::create_dir(&path).unwrap();
        let directory = LogDirectory::new(path.clone(), Selection::Every);
        let (mut watch, _) = DirectoryEvents::new();
        watch.watch_directory(0, &directory).unwrap();
        fs::rename(&path, dir.path().join("old")).unwrap();
        fs::create_dir(&path).unwrap();
        watch.watch_directory(0, &directory).unwrap();
        watch.take();
        fs::write(path.join("new.log"), "").unwrap();
        assert!(watch.take().rescan);
    }
}
