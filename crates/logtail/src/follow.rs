//! `logtail follow`: every log into one output and one record.
//!
//! One thread, no queue: what is read is written before more is read, in blocks while there is more. While the output
//! takes nothing, files are still opened as they appear, so that a rotation in the meantime loses nothing.

mod followed;
mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::clock;
use crate::directory::Directory;
use crate::lines::Piece;
use crate::outlet::Outlet;
use crate::place::{Place, RECORD};
use crate::positions::Positions;
use crate::record::Record;
use crate::sinks::Sinks;
use crate::watch::{Stop, Watch};
use followed::{Followed, Key};

/// Read at once, in bytes; more is not quicker, and what becomes of it has to fit into our memory.
const CHUNK: usize = 32 * 1024;
/// With a longer label, in bytes, less is read at once.
const LABEL: usize = 32;
/// Positions are kept this often; after a kill, lines since then are shown again.
const KEEP: Duration = Duration::from_secs(1);
/// How long a stop waits for an output that takes nothing.
const FAREWELL: Duration = Duration::from_secs(2);

/// The state of a run.
pub struct Follower {
    directories: Vec<Directory>,
    logs: BTreeMap<Key, Followed>,
    /// Those that may have something new.
    ready: BTreeSet<Key>,
    positions: Positions,
    sinks: Sinks,
    /// What was remarked already, by what it is about.
    remarked: BTreeMap<String, String>,
    watch: Watch,
    stop: Stop,
    looked: Option<Instant>,
    /// How often names of logs lost their files since then.
    left: BTreeMap<Key, usize>,
    stopping: Option<Instant>,
}

impl Follower {
    /// Goes on where the last one ended.
    pub fn new(place: &Place, outlet: Option<Outlet>) -> Result<Self> {
        Self::with(place, outlet, Watch::new())
    }

    fn with(place: &Place, outlet: Option<Outlet>, watch: (Watch, Option<Errno>)) -> Result<Self> {
        let stop = Stop::take_over()?;
        // Each log takes some, and without any left nothing at all is read.
        if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
        }
        let (watch, blind) = watch;
        let record = Record::new(place.record().path().join(RECORD));
        let sinks = Sinks::new(outlet, record, clock::written(SystemTime::now()));
        let mut follower = Self {
            directories: place.sources(),
            positions: Positions::load(place.positions()),
            logs: BTreeMap::new(),
            ready: BTreeSet::new(),
            sinks,
            remarked: BTreeMap::new(),
            watch,
            stop,
            looked: None,
            left: BTreeMap::new(),
            stopping: None,
        };
        for log in follower.positions.paths() {
            let mut directories = follower.directories.iter_mut();
            if let Some(directory) = directories.find(|directory| log.parent() == Some(directory.path())) {
                let name = log.file_name().and_then(|name| name.to_str());
                directory.own.extend(name.map(str::to_owned));
            }
        }
        follower.blind(blind);
        Ok(follower)
    }

    /// Follows until SIGTERM; an error is one of the output, unless that may be lost.
    pub fn run(&mut self, without_output: bool) -> Result<()> {
        self.notice();
        // From now on, what is new is told from what is old. Kept again after the first lines: one who is killed again and
        // again comes to an end too.
        self.keep();
        let mut kept: Option<Instant> = None;
        let mut buffer = vec![0; CHUNK];
        loop {
            self.notice();
            let more = self.read_round(&mut buffer, without_output)?;
            self.overdue();
            let due = kept.is_none_or(|kept| kept.elapsed() >= KEEP);
            if more && !due && !self.sinks.have_a_block() {
                continue;
            }
            let flushed = self.flush(without_output)?;
            if self.stopping.is_some() && !more {
                return self.end(flushed, without_output);
            }
            if flushed && due {
                self.keep();
                kept = Some(Instant::now());
            }
            if more {
                continue;
            }
            let half = self.logs.values().filter_map(|log| log.stream.due()).min();
            let now = Instant::now();
            let mut pause = half.map_or(self.watch.pause(), |due| due.saturating_duration_since(now));
            pause = pause.min(self.watch.pause());
            let output = self.sinks.outlet.as_ref().map(AsFd::as_fd);
            if self.watch.wait(Some(&self.stop), output, false, pause)? {
                self.lose_output(io::ErrorKind::BrokenPipe.into(), without_output)?;
            }
        }
    }

    /// Everything that is complete is written; what is not is marked.
    fn end(&mut self, flushed: bool, without_output: bool) -> Result<()> {
        if !flushed {
            // Nobody reads: the next run shows again what has not been taken.
            return Ok(());
        }
        let Self { logs, sinks, .. } = self;
        for log in logs.values_mut() {
            log.stream.finish(&mut |piece| sinks.put(&log.label, piece));
        }
        if self.flush(without_output)? {
            self.keep();
        }
        Ok(())
    }

    /// Takes the kernel's hints, and looks when they or the time ask for it.
    fn notice(&mut self) {
        let hints = self.watch.hints();
        self.ready.extend(hints.written);
        let all =
            if hints.overflow { self.logs.keys().map(|key| (key.clone(), 2)).collect() } else { hints.left };
        for (key, times) in all {
            *self.left.entry(key).or_default() += times;
        }
        if self.stopping.is_none() && self.stop.is_asked() {
            self.stopping = Some(Instant::now());
        }
        if hints.look
            || self.stopping.is_some()
            || self.looked.is_none_or(|looked| looked.elapsed() >= self.watch.pause())
        {
            self.look();
        }
    }

    /// Reads every log that may have something once; says whether one had.
    fn read_round(&mut self, buffer: &mut [u8], without_output: bool) -> Result<bool> {
        let mut progress = false;
        for key in std::mem::take(&mut self.ready) {
            let Some(log) = self.logs.get_mut(&key) else { continue };
            let now = Instant::now();
            self.sinks.stamp = clock::written(SystemTime::now());
            let sinks = &mut self.sinks;
            let mut emit = |piece: Piece<'_>| sinks.put(&log.label, piece);
            // An empty line is as long as its label, and has to fit into our memory too.
            let most = buffer.len() / (1 + log.label.len() / LABEL);
            let read = log.stream.read(&self.directories[key.0], &mut buffer[..most], now, &mut emit);
            let trouble = read.as_ref().err().map(|error| format!("cannot read {}: {error}", log.label));
            if let Some(trouble) = &trouble
                && log.trouble.as_ref() != Some(trouble)
            {
                self.sinks.remark(trouble);
            }
            log.trouble = trouble;
            if matches!(read, Ok(true)) {
                self.ready.insert(key);
                progress = true;
            }
            if self.sinks.have_a_block() && !self.flush(without_output)? {
                return Ok(false);
            }
            if self.stopping.is_some_and(|since| since.elapsed() >= FAREWELL) {
                return Ok(false);
            }
        }
        Ok(progress)
    }

    fn overdue(&mut self) {
        let now = Instant::now();
        let Self { logs, sinks, .. } = self;
        for log in logs.values_mut() {
            log.stream.overdue(now, &mut |piece| sinks.put(&log.label, piece));
        }
    }

    /// Writes everything, however long that takes; says no if a stop did not want to wait so long.
    fn flush(&mut self, without_output: bool) -> Result<bool> {
        self.sinks.write_record();
        loop {
            let Some(outlet) = &mut self.sinks.outlet else { return Ok(true) };
            match outlet.write() {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => {
                    self.lose_output(error, without_output)?;
                    return Ok(true);
                }
            }
            if self.stopping.is_some_and(|since| since.elapsed() >= FAREWELL) {
                return Ok(false);
            }
            let output = self.sinks.outlet.as_ref().map(AsFd::as_fd);
            // A lost reader is an error of the next write.
            self.watch.wait(Some(&self.stop), output, true, self.watch.pause())?;
            self.notice();
        }
    }

    fn lose_output(&mut self, error: io::Error, without_output: bool) -> Result<()> {
        if !without_output {
            return Err(error.into());
        }
        log::warn!("cannot write to the output: {error}; lines go to {RECORD} alone");
        self.sinks.outlet = None;
        Ok(())
    }

    fn keep(&mut self) {
        let Self { positions, logs, directories, .. } = self;
        positions.keep(
            logs.iter()
                .map(|((index, name), log)| (directories[*index].path().join(name), log.stream.position())),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn without_events_everything_is_found_by_looking_often_and_that_is_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = |below: &str| dir.path().join(below);
        fs::create_dir_all(path("var/log/supervisor")).unwrap();
        fs::write(path("var/log/supervisor/x.log"), "1\n").unwrap();
        // As if all of fs.inotify.max_user_instances were in use.
        let blind = Watch::of(Err(Errno::EMFILE));
        let mut follower = Follower::with(&Place(dir.path().into()), None, blind).unwrap();
        let mut written = |wanted: usize| {
            kit::wait::until(Duration::from_mins(1), "the lines", || {
                follower.notice();
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
        let lines: Vec<&str> = text.lines().map(|line| &line[clock::WIDTH + 1..]).collect();
        let said = "logtail | no events of the file system (EMFILE: Too many open files), looking often; raise \
                    fs.inotify.max_user_instances and max_user_watches on the host";
        assert_eq!(lines, [said, "x | 1", "y | 2", "x | 3"]);
    }
}
