//! `logtail follow`: all logs into the output and the merged log.
//!
//! One thread, no queue: what is read is written before more is read, in blocks while there is more. While the output
//! blocks, files are still opened as they appear, so that a rotation in the meantime loses nothing.

mod followed;
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use kit::rfc3339;
use log_history::log_directory::LogDirectory;
use log_history::time_index::{self, Recorder};
use nix::errno::Errno;

use crate::checkpoint_store::CheckpointStore;
use crate::events::{DirectoryEvents, Signals};
use crate::line_assembler::Piece;
use crate::merged_log::MergedLog;
use crate::output::Output;
use crate::paths::{MERGED_LOG, Paths};
use crate::sinks::Sinks;
use followed::{Followed, LogKey};

/// Size of one read in bytes. More is not faster, and the lines have to fit into memory.
const CHUNK: usize = 32 * 1024;
/// Length of a service's name, in bytes, above which less is read at once.
const LABEL: usize = 32;
/// Interval of saved checkpoints; after a kill, lines since then are shown again.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);
/// Interval in which the times of files that are gone are removed.
const CLEAN_INTERVAL: Duration = Duration::from_mins(1);
/// Time that a stop waits for an output that blocks.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// State of a run.
pub struct Follower {
    directories: Vec<LogDirectory>,
    logs: BTreeMap<LogKey, Followed>,
    /// Logs that may have new bytes.
    ready: BTreeSet<LogKey>,
    checkpoints: CheckpointStore,
    sinks: Sinks,
    /// Problems that were reported already.
    remarked: BTreeMap<String, String>,
    watch: DirectoryEvents,
    stop: Signals,
    looked: Option<Instant>,
    /// Number of files that each name has lost since then.
    removals: BTreeMap<LogKey, usize>,
    stopping: Option<Instant>,
    times: Recorder,
    /// Last removal of the times of files that are gone.
    cleaned: Option<Instant>,
}

impl Follower {
    /// Continues where the last run ended.
    pub fn new(place: &Paths, output: Option<Output>) -> Result<Self> {
        Self::with(place, output, DirectoryEvents::new())
    }

    fn with(place: &Paths, output: Option<Output>, watch: (DirectoryEvents, Option<Errno>)) -> Result<Self> {
        let stop = Signals::install()?;
        // Each log needs some descriptors, and without a free one nothing is read.
        kit::open_files::raise();
        let (watch, inotify_error) = watch;
        let record = MergedLog::new(place.merged_log().path().join(MERGED_LOG));
        let sinks = Sinks::new(output, record, rfc3339::millis(SystemTime::now()));
        let mut follower = Self {
            directories: place.sources(),
            checkpoints: CheckpointStore::load(place.checkpoints()),
            logs: BTreeMap::new(),
            ready: BTreeSet::new(),
            sinks,
            remarked: BTreeMap::new(),
            watch,
            stop,
            looked: None,
            removals: BTreeMap::new(),
            stopping: None,
            times: Recorder::new(time_index::directory(&place.0)),
            cleaned: None,
        };
        for log in follower.checkpoints.paths() {
            let mut directories = follower.directories.iter_mut();
            if let Some(directory) = directories.find(|directory| log.parent() == Some(directory.path())) {
                let name = log.file_name().and_then(|name| name.to_str());
                directory.own.extend(name.map(str::to_owned));
            }
        }
        follower.report_no_inotify(inotify_error);
        Ok(follower)
    }

    /// Follows until SIGTERM. An error of the output ends it, unless it may run `without_output`.
    pub fn run(&mut self, without_output: bool) -> Result<()> {
        self.take_events();
        // From now on, new files are distinguished from old ones. Saved again after the first lines, so that a process which is
        // killed repeatedly makes progress too.
        self.save_checkpoints();
        let mut kept: Option<Instant> = None;
        let mut buffer = vec![0; CHUNK];
        loop {
            self.take_events();
            let more = self.read_round(&mut buffer, without_output)?;
            self.flush_overdue();
            let due = kept.is_none_or(|kept| kept.elapsed() >= SAVE_INTERVAL);
            if more && !due && !self.sinks.is_full() {
                continue;
            }
            let flushed = self.flush(without_output)?;
            if self.stopping.is_some() && !more {
                return self.end(flushed, without_output);
            }
            if flushed && due {
                self.save_checkpoints();
                self.times.save();
                kept = Some(Instant::now());
            }
            if more {
                continue;
            }
            let half = self.logs.values().filter_map(|log| log.stream.next_deadline()).min();
            let now = Instant::now();
            let mut pause = half.map_or(self.watch.pause(), |due| due.saturating_duration_since(now));
            pause = pause.min(self.watch.pause());
            let output = self.sinks.output.as_ref().map(AsFd::as_fd);
            if self.watch.wait(Some(&self.stop), output, false, pause)? {
                self.lose_output(io::ErrorKind::BrokenPipe.into(), without_output)?;
            }
        }
    }

    /// Writes everything, and marks incomplete lines.
    fn end(&mut self, flushed: bool, without_output: bool) -> Result<()> {
        if !flushed {
            // Without a reader, the next run shows the rest.
            return Ok(());
        }
        let Self { logs, sinks, .. } = self;
        for log in logs.values_mut() {
            log.stream.finish(&mut |piece| sinks.push(&log.label, piece));
        }
        if self.flush(without_output)? {
            self.save_checkpoints();
            self.times.save();
        }
        Ok(())
    }

    /// Handles events, and scans the directories if necessary.
    fn take_events(&mut self) {
        let hints = self.watch.take();
        self.ready.extend(hints.written);
        let all = if hints.overflow {
            self.logs.keys().map(|key| (key.clone(), 2)).collect()
        } else {
            hints.removals
        };
        for (key, times) in all {
            *self.removals.entry(key).or_default() += times;
        }
        if self.stopping.is_none() && self.stop.is_requested() {
            self.stopping = Some(Instant::now());
        }
        if hints.rescan
            || self.stopping.is_some()
            || self.looked.is_none_or(|looked| looked.elapsed() >= self.watch.pause())
        {
            self.scan();
        }
    }

    /// Reads each ready log once; returns true if one had new bytes.
    fn read_round(&mut self, buffer: &mut [u8], without_output: bool) -> Result<bool> {
        let mut progress = false;
        for key in std::mem::take(&mut self.ready) {
            let Some(log) = self.logs.get_mut(&key) else { continue };
            let now = Instant::now();
            let clock = SystemTime::now();
            self.sinks.stamp = rfc3339::millis(clock);
            let sinks = &mut self.sinks;
            let mut emit = |piece: Piece<'_>| sinks.push(&log.label, piece);
            // An empty line is as long as its label, and has to fit into memory too.
            let most = buffer.len() / (1 + log.label.len() / LABEL);
            let read = log.stream.read(&self.directories[key.0], &mut buffer[..most], now, &mut emit);
            let trouble = read.as_ref().err().map(|error| format!("cannot read {}: {error}", log.label));
            if let Some(trouble) = &trouble
                && log.trouble.as_ref() != Some(trouble)
            {
                self.sinks.push_notice(trouble);
            }
            log.trouble = trouble;
            if let Some((file, offset)) = log.stream.take_last_read() {
                self.times.note(file, offset, clock);
            }
            if matches!(read, Ok(true)) {
                self.ready.insert(key);
                progress = true;
            }
            if self.sinks.is_full() && !self.flush(without_output)? {
                return Ok(false);
            }
            if self.stopping.is_some_and(|since| since.elapsed() >= SHUTDOWN_TIMEOUT) {
                return Ok(false);
            }
        }
        Ok(progress)
    }

    fn flush_overdue(&mut self) {
        let now = Instant::now();
        let Self { logs, sinks, .. } = self;
        for log in logs.values_mut() {
            log.stream.flush_overdue(now, &mut |piece| sinks.push(&log.label, piece));
        }
    }

    /// Writes everything, however long that takes; returns false if a stop ended the wait.
    fn flush(&mut self, without_output: bool) -> Result<bool> {
        self.sinks.write_merged_log();
        loop {
            let Some(output) = &mut self.sinks.output else { return Ok(true) };
            match output.write() {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => {
                    self.lose_output(error, without_output)?;
                    return Ok(true);
                }
            }
            if self.stopping.is_some_and(|since| since.elapsed() >= SHUTDOWN_TIMEOUT) {
                return Ok(false);
            }
            let output = self.sinks.output.as_ref().map(AsFd::as_fd);
            // The next write reports a lost reader.
            self.watch.wait(Some(&self.stop), output, true, self.watch.pause())?;
            self.take_events();
        }
    }

    fn lose_output(&mut self, error: io::Error, without_output: bool) -> Result<()> {
        if !without_output {
            return Err(error.into());
        }
        log::warn!("cannot write to the container's output: {error}; writing to {MERGED_LOG} only");
        self.sinks.output = None;
        Ok(())
    }

    fn save_checkpoints(&mut self) {
        let Self { checkpoints, logs, directories, .. } = self;
        checkpoints
            .save(logs.iter().map(|((index, name), log)| {
                (directories[*index].path().join(name), log.stream.checkpoint())
            }));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn without_inotify_frequent_scans_find_everything_and_one_warning_is_logged() {
        let dir = tempfile::tempdir().unwrap();
        let path = |below: &str| dir.path().join(below);
        fs::create_dir_all(path("var/log/supervisor")).unwrap();
        fs::write(path("var/log/supervisor/x.log"), "1\n").unwrap();
        // As if all of fs.inotify.max_user_instances were in use.
        let watch = DirectoryEvents::of(Err(Errno::EMFILE));
        let mut follower = Follower::with(&Paths(dir.path().into()), None, watch).unwrap();
        let mut written = |wanted: usize| {
            kit::wait::until(Duration::from_mins(1), "the lines", || {
                follower.take_events();
                while follower.read_round(&mut [0; 400], true).unwrap() {}
                follower.flush(true).unwrap();
                let text = fs::read_to_string(path("var/log/logtail.log")).unwrap();
                (text.lines().count() >= wanted).then_some(text)
            })
            .unwrap()
        };
        written(2);
        fs::write(path("var/log/supervisor/y.log"), "2\n").unwrap();
        written(3);
        fs::rename(path("var/log/supervisor/x.log"), path("var/log/supervisor/x.log.1")).unwrap();
        fs::write(path("var/log/supervisor/x.log"), "3\n").unwrap();
        let text = written(4);
        let lines: Vec<&str> = text.lines().map(|line| &line[log_history::clock::WIDTH + 1..]).collect();
        let said = "logtail | inotify is not available (EMFILE: Too many open files), polling instead; raise \
                    fs.inotify.max_user_instances and max_user_watches on the host";
        assert_eq!(lines, [said, "x | 1", "y | 2", "x | 3"]);
    }
}
