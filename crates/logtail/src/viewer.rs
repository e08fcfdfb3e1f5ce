//! `logtail`: the last lines, then new ones.

mod own_logs;
mod start;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use kit::{Exit, HintExt, Outcome, rfc3339};
use log_history::log_directory::LogDirectory;
use log_history::log_files::LogFiles;
use log_history::{Log, Logs, Pattern, Position, line_time};

use crate::cli::Cli;
use crate::entry::{self, Entry};
use crate::events::{self, DirectoryEvents};
use crate::filter::Filter;
use crate::log_reader::LogReader;
use crate::output_format::OutputFormat;
use crate::paths::{MERGED_LOG, Paths};

/// Default number of last lines.
const DEFAULT_LINES: usize = 20;
/// Size of one read in bytes.
const CHUNK: usize = 64 * 1024;
/// Bytes that a ready pipe accepts (pipe(7)).
const PIPE_BUF: usize = 4096;

/// Shows the selected lines, and follows until it is interrupted or its reader exits.
pub fn run(cli: Cli) -> Outcome {
    let place = Paths(cli.root);
    let now = SystemTime::now();
    let ago = |duration: Duration| now.checked_sub(duration).unwrap_or(UNIX_EPOCH);
    let (since, until) = (cli.since.map(ago), cli.until.map(ago));
    let limit = cli.lines.or_else(|| since.is_none().then_some(DEFAULT_LINES));
    let format = if cli.json {
        OutputFormat::Json
    } else if io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty()) {
        OutputFormat::Coloured
    } else {
        OutputFormat::Plain
    };
    let services: Vec<String> = cli.services.iter().map(|service| entry::sanitize_label(service)).collect();
    let written = |time: Option<SystemTime>| time.map(rfc3339::millis);
    let filter = Filter { services, since: written(since), until: written(until), grep: cli.grep };
    let mut viewer = Viewer::new(place.merged_log(), filter, format)?;
    let shown = viewer.begin(&Logs::new(&place.0), limit, since.map(line_time::seconds))?;
    if cli.no_follow || until.is_some() {
        return Ok(if shown { Exit::Done } else { Exit::No });
    }
    viewer.follow()
}

struct Viewer {
    record: LogDirectory,
    stream: LogReader,
    buffer: Vec<u8>,
    filter: Filter,
    /// Pattern that all selected lines match.
    quick: Option<Pattern>,
    format: OutputFormat,
    watch: DirectoryEvents,
    looked: Option<Instant>,
    out: File,
}

impl Viewer {
    fn new(record: LogDirectory, filter: Filter, format: OutputFormat) -> Result<Self> {
        // Unbuffered: the standard library's buffer hides the number of bytes written.
        let out = io::stdout().as_fd().try_clone_to_owned().context("cannot write to standard output")?;
        let (watch, _) = DirectoryEvents::new();
        let (stream, buffer) = (LogReader::merged_log(MERGED_LOG), vec![0; CHUNK]);
        let quick = filter.in_merged_log();
        Ok(Self { record, stream, buffer, filter, quick, format, watch, looked: None, out: File::from(out) })
    }

    /// Prints the lines until now; returns true if there were any.
    fn begin(&mut self, logs: &Logs, limit: Option<usize>, since: Option<f64>) -> Result<bool> {
        let mut any = false;
        // Without a merged log, it is waited for.
        let mut merged = logs.open("logtail").ok();
        let mut last = VecDeque::new();
        let first = merged.as_mut().map_or(Ok(None), start::first_time)?;
        if let Some(merged) = &mut merged {
            let begin = match limit {
                Some(limit) => {
                    let end = merged.end();
                    last = start::last_lines(merged, &self.filter, since, limit)?;
                    end
                }
                None => start::first_line(merged, &self.filter, since)?,
            };
            self.start_at(merged, begin)?;
        }
        let missing = limit.map(|limit| limit.saturating_sub(last.len()));
        let is_older = since.is_none_or(|since| first.is_none_or(|first| since < first));
        if is_older && missing != Some(0) && !self.filter.services.is_empty() {
            let mut services = start::first_times(merged.as_mut(), &self.filter)?;
            // Without a time, only those whose lines have all left the merged log.
            services.retain(|_, first| since.is_some() || first.is_none());
            let own = own_logs::open(logs, &services)?;
            any |= self.print_own(|filter, print| match missing {
                Some(limit) => own_logs::last(own, filter, since, limit, print),
                None => own_logs::since(own, filter, since.unwrap_or_default(), print),
            })?;
        }
        any |= self.print_own(|_, print| {
            let lines = last.iter().map(|line| String::from_utf8_lossy(&line.bytes));
            lines.into_iter().try_for_each(|line| Entry::parse(&line).map_or(Ok(()), |entry| print(&entry)))
        })?;
        let format = self.format;
        self.print_new(|filter, entry, text| {
            if !filter.matches(entry) {
                return Ok(());
            }
            any = true;
            format.print(text, entry)
        })?;
        Ok(any)
    }

    /// Makes the merged log be read from a position on, and opens what is rotated from now on.
    fn start_at(&mut self, merged: &Log, begin: Position) -> Result<()> {
        let Some(file) = merged.file_of(begin) else { return Ok(()) };
        let directory = &self.record;
        let from =
            |files: LogFiles| LogReader::merged_log_from(MERGED_LOG, file, begin.offset, directory, &files);
        let files = directory.files_of(MERGED_LOG);
        self.stream = self.readable(files.and_then(from))?;
        self.rescan()
    }

    /// Prints lines that were found in blocks; returns true if there were any.
    fn print_own(
        &mut self,
        read: impl FnOnce(&Filter, &mut dyn FnMut(&Entry<'_>) -> Result<()>) -> Result<()>,
    ) -> Result<bool> {
        let (format, mut text, mut any) = (self.format, Vec::new(), false);
        let filter = std::mem::take(&mut self.filter);
        let read = read(&filter, &mut |entry| {
            any = true;
            format.print(&mut text, entry)?;
            if text.len() >= CHUNK {
                self.print(&text)?;
                text.clear();
            }
            Ok(())
        });
        self.filter = filter;
        read?;
        self.print(&text)?;
        Ok(any)
    }

    fn follow(mut self) -> Outcome {
        let format = self.format;
        loop {
            let print = |filter: &Filter, entry: &Entry<'_>, text: &mut Vec<u8>| {
                if filter.matches(entry) { format.print(text, entry) } else { Ok(()) }
            };
            self.print_new(print)?;
            if self.watch.wait(None, Some(self.out.as_fd()), false, self.watch.pause())? {
                return Ok(Exit::Done);
            }
            self.watch.take();
        }
    }

    /// Reads the merged log to its end, and prints what `take` makes of each line.
    fn print_new(
        &mut self,
        mut take: impl FnMut(&Filter, &Entry<'_>, &mut Vec<u8>) -> io::Result<()>,
    ) -> Result<()> {
        self.rescan()?;
        loop {
            let (mut text, mut taken) = (Vec::new(), Ok(()));
            let quick = self.quick.as_ref();
            let mut is_over = false;
            let more = self.stream.read(&self.record, &mut self.buffer, Instant::now(), &mut |piece| {
                if quick.is_some_and(|quick| !quick.is_match(piece.text)) {
                    return;
                }
                let line = String::from_utf8_lossy(piece.text);
                if let (Ok(()), Some(entry)) = (&taken, Entry::parse(&line)) {
                    is_over |= self.filter.is_over(&entry);
                    taken = take(&self.filter, &entry, &mut text);
                }
            });
            let cannot = || format!("cannot read {}", self.record.path().join(MERGED_LOG).display());
            let more = more.with_context(cannot)?;
            taken?;
            self.print(&text)?;
            if !more || is_over {
                return Ok(());
            }
        }
    }

    /// Opens new files of the merged log, and reports losses.
    fn rescan(&mut self) -> Result<()> {
        self.looked = Some(Instant::now());
        // Without events, the interval is short.
        let _ = self.watch.watch_directory(0, &self.record);
        let family = self.record.files_of(MERGED_LOG);
        let scanned = family.and_then(|family| self.stream.rescan(&self.record, family, Instant::now()));
        self.readable(scanned)?;
        self.stream.take_gaps().messages(MERGED_LOG).iter().for_each(|text| log::warn!("{text}"));
        Ok(())
    }

    /// Adds to an error that the merged log cannot be read.
    fn readable<T>(&self, result: io::Result<T>) -> Result<T> {
        result
            .with_context(|| format!("cannot read {}", self.record.path().join(MERGED_LOG).display()))
            .hint(|| "root and members of the group leonardo can read it: sudo logtail".to_owned())
    }

    /// Writes, however long that takes; files that are rotated meanwhile are opened, to be read afterwards.
    fn print(&mut self, text: &[u8]) -> Result<()> {
        let mut rest = text;
        while !rest.is_empty() {
            if events::takes_more(self.out.as_fd())? {
                match self.out.write(&rest[..PIPE_BUF.min(rest.len())]) {
                    Ok(written) => rest = &rest[written..],
                    // Another process has set O_NONBLOCK.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                }
                continue;
            }
            self.watch.wait(None, Some(self.out.as_fd()), true, self.watch.pause())?;
            if self.watch.take().rescan
                || self.looked.is_none_or(|looked| looked.elapsed() >= self.watch.pause())
            {
                self.rescan()?;
            }
        }
        Ok(())
    }
}
