//! `logtail follow`: every log into one output and one record.
//!
//! One thread, no queue: what is read is written before more is read. While the output takes nothing, files are still
//! opened as they appear, so that a rotation in the meantime loses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::clock;
use crate::directory::Directory;
use crate::entry;
use crate::lines::Piece;
use crate::names;
use crate::outlet::Outlet;
use crate::place::{Place, RECORD};
use crate::plan::Family;
use crate::record::Record;
use crate::stream::{Position, Stream};
use crate::watch::{Stop, Watch};

/// Read at once, in bytes; with every line shown, also the measure of our memory.
const CHUNK: usize = 64 * 1024;
/// Positions are kept this often; after a kill, lines since then are shown again.
const KEEP: Duration = Duration::from_secs(1);
/// How long a stop waits for an output that takes nothing.
const FAREWELL: Duration = Duration::from_secs(2);
/// Whose lines our own remarks are.
const OURSELVES: &str = "logtail";

/// A log by the number of its directory and the name of its base.
type Key = (usize, String);

struct Followed {
    label: String,
    stream: Stream,
    /// Why it could not be read the last time.
    trouble: Option<String>,
}

/// Where lines go.
struct Sinks {
    /// Nothing any more, once it was closed.
    outlet: Option<Outlet>,
    record: Record,
    stamp: String,
}

impl Sinks {
    fn put(&mut self, label: &str, piece: Piece<'_>) {
        let record = self.record.buffer();
        record.extend_from_slice(self.stamp.as_bytes());
        record.push(b' ');
        let begin = record.len();
        entry::append(record, label, piece);
        if let Some(outlet) = &mut self.outlet {
            outlet.buffer().extend_from_slice(&record[begin..]);
        }
    }

    fn remark(&mut self, text: &str) {
        self.put(OURSELVES, Piece { text: text.as_bytes(), continues: false, ended: true });
    }
}

/// The state of a run.
pub struct Follower {
    place: Place,
    directories: Vec<Directory>,
    logs: BTreeMap<Key, Followed>,
    /// Those that may have something new.
    ready: BTreeSet<Key>,
    left: BTreeMap<PathBuf, Position>,
    kept: BTreeMap<PathBuf, Position>,
    /// Whether they could not be kept the last time, which is said once.
    unkept: bool,
    sinks: Sinks,
    /// What was remarked already, by what it is about.
    remarked: BTreeMap<String, String>,
    watch: Watch,
    stop: Stop,
    looked: Option<Instant>,
    stopping: Option<Instant>,
}

impl Follower {
    /// Goes on where the last one ended.
    pub fn new(place: Place, outlet: Option<Outlet>) -> Result<Self> {
        let stop = Stop::take_over()?;
        // Each log takes some, and without any left nothing at all is read.
        if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
        }
        let (watch, blind) = Watch::new();
        let record = Record::new(place.record().path().join(RECORD));
        let sinks = Sinks { outlet, record, stamp: String::new() };
        let mut follower = Self {
            directories: place.sources(),
            left: place.load(),
            place,
            logs: BTreeMap::new(),
            ready: BTreeSet::new(),
            kept: BTreeMap::new(),
            unkept: false,
            sinks,
            remarked: BTreeMap::new(),
            watch,
            stop,
            looked: None,
            stopping: None,
        };
        follower.sinks.stamp = clock::written(SystemTime::now());
        follower.blind(blind);
        Ok(follower)
    }

    /// Follows until SIGTERM; an error is one of the output, unless that may be lost.
    pub fn run(&mut self, without_output: bool) -> Result<()> {
        let mut kept = Instant::now();
        let mut buffer = vec![0; CHUNK];
        loop {
            self.notice();
            let more = self.read_round(&mut buffer, without_output)?;
            self.overdue();
            let flushed = self.flush(without_output)?;
            if self.stopping.is_some() && !more {
                return self.end(flushed, without_output);
            }
            if flushed && kept.elapsed() >= KEEP {
                self.keep();
                kept = Instant::now();
            }
            if more {
                continue;
            }
            let due = self.logs.values().filter_map(|log| log.stream.due()).min();
            let now = Instant::now();
            let mut pause = due.map_or(self.watch.pause(), |due| due.saturating_duration_since(now));
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

    fn look(&mut self) {
        let now = Instant::now();
        let first = self.looked.is_none();
        self.looked = Some(now);
        let mut troubles = BTreeMap::new();
        for index in 0..self.directories.len() {
            let watched = self.watch.keep(index, &self.directories[index]);
            self.blind(watched.err());
            let directory = &self.directories[index];
            let mut trouble = |name: &str, why: String| {
                troubles.insert(format!("cannot read {}", directory.path().join(name).display()), why);
            };
            let listing = match directory.list() {
                Ok(listing) => listing,
                Err(error) => {
                    trouble("", error.to_string());
                    continue;
                }
            };
            for (name, why) in listing.refused {
                trouble(&name, why);
            }
            let gone = self.logs.range((index, String::new())..(index + 1, String::new()));
            let gone: Vec<String> = gone
                .filter(|((_, name), _)| !listing.families.contains_key(name))
                .map(|((_, name), _)| name.clone())
                .collect();
            let gone = gone.into_iter().map(|name| (name, Family::default()));
            for (name, family) in listing.families.into_iter().chain(gone) {
                let path = directory.path().join(&name);
                let is_gone = family == Family::default();
                let followed = self.logs.entry((index, name.clone())).or_insert_with(|| {
                    let stream = match self.left.remove(&path) {
                        Some(position) => Stream::resumed(&name, position, directory, &family)
                            .unwrap_or_else(|_| Stream::current(&name, &family)),
                        None if first => Stream::current(&name, &family),
                        None => Stream::whole(&name),
                    };
                    let service = names::service(&name).unwrap_or(&name);
                    Followed { label: entry::label(service), stream, trouble: None }
                });
                if let Err(error) = followed.stream.look(directory, family, now) {
                    trouble(&name, error.to_string());
                }
                let lost = followed.stream.take_lost();
                if lost > 0 {
                    let text = format!("{lost} bytes of {} are lost: rotated away unread", followed.label);
                    self.sinks.remark(&text);
                }
                if is_gone && followed.stream.is_over() {
                    self.logs.remove(&(index, name));
                } else {
                    self.ready.insert((index, name));
                }
            }
        }
        self.remark(troubles);
    }

    /// Says what is new among the troubles, each once for as long as it lasts.
    fn remark(&mut self, troubles: BTreeMap<String, String>) {
        for (what, why) in &troubles {
            if self.remarked.get(what) != Some(why) {
                self.sinks.remark(&format!("{what}: {why}"));
            }
        }
        self.remarked = troubles;
    }

    fn blind(&mut self, error: Option<nix::errno::Errno>) {
        if let Some(error) = error {
            let advice = "raise fs.inotify.max_user_instances and max_user_watches on the host";
            self.sinks.remark(&format!("no events of the file system ({error}), looking often; {advice}"));
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
            let read = log.stream.read(&self.directories[key.0], buffer, now, &mut emit);
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
            if !self.flush(without_output)? {
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
        self.write_record();
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

    fn write_record(&mut self) {
        let Sinks { record, stamp, .. } = &mut self.sinks;
        let had_missed = record.missing() > 0;
        let written = record.write(|missing| {
            format!("{stamp} {OURSELVES} | {missing} lines are missing here\n").into_bytes()
        });
        if let Err(error) = written
            && !had_missed
            && let Some(outlet) = &mut self.sinks.outlet
        {
            let path = self.sinks.record.path().display();
            let text = format!("{OURSELVES} | cannot write {path}: {error}; lines are missing there\n");
            outlet.buffer().extend_from_slice(text.as_bytes());
        }
    }

    fn keep(&mut self) {
        // Logs that have not come back yet keep their place.
        let mut positions = self.left.clone();
        positions.extend(
            self.logs.iter().map(|((index, name), log)| {
                (self.directories[*index].path().join(name), log.stream.position())
            }),
        );
        if positions == self.kept {
            return;
        }
        let saved = self.place.save(&positions);
        let failed = saved.is_err();
        match saved {
            Ok(()) => self.kept = positions,
            Err(error) if is_full(&error) || self.unkept => {}
            Err(error) => log::warn!("{error:#}"),
        }
        self.unkept = failed;
    }
}

/// A full disk is remarked where the record is written.
fn is_full(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}
