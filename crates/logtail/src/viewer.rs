//! `logtail`: the last lines, then new ones.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result};
use kit::{Exit, HintExt, Outcome, rfc3339};
use log_history::file_name;
use log_history::log_directory::LogDirectory;

use crate::cli::Cli;
use crate::entry::{self, Entry};
use crate::events::{self, DirectoryEvents};
use crate::filter::Filter;
use crate::line_assembler::Piece;
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
    let since = cli.since.and_then(|since| SystemTime::now().checked_sub(since)).map(rfc3339::millis);
    let limit = cli.lines.or_else(|| since.is_none().then_some(DEFAULT_LINES));
    let format = if cli.json {
        OutputFormat::Json
    } else if io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty()) {
        OutputFormat::Coloured
    } else {
        OutputFormat::Plain
    };
    let services: Vec<String> = cli.services.iter().map(|service| entry::sanitize_label(service)).collect();
    let filter = Filter { services, since, grep: cli.grep };
    let mut viewer = Viewer::new(place.merged_log(), filter, format)?;
    let shown = viewer.begin(&place, limit)?;
    if cli.no_follow {
        return Ok(if shown { Exit::Done } else { Exit::No });
    }
    viewer.follow()
}

struct Viewer {
    record: LogDirectory,
    stream: LogReader,
    buffer: Vec<u8>,
    filter: Filter,
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
        Ok(Self { record, stream, buffer, filter, format, watch, looked: None, out: File::from(out) })
    }

    /// Prints the last `limit` lines; returns true if there were any.
    fn begin(&mut self, place: &Paths, limit: Option<usize>) -> Result<bool> {
        let (mut last, mut seen, mut any) = (LastLines::new(limit.unwrap_or(0)), BTreeSet::new(), false);
        let format = self.format;
        self.print_new(|filter, entry, text| {
            if filter.services.iter().any(|service| service == entry.service)
                && seen.len() < filter.services.len()
            {
                seen.insert(entry.service.to_owned());
            }
            if !filter.matches(entry) {
                return Ok(());
            }
            any = true;
            if limit.is_some() { last.take(format, entry) } else { format.print(text, entry) }
        })?;
        if let Some(limit) = limit.filter(|_| self.filter.since.is_none()) {
            let missing = self.filter.services.iter().filter(|service| !seen.contains(*service));
            let mut older = LastLines::new(limit);
            for service in missing {
                match service_log(place, service, &self.filter, self.format, &mut self.buffer, &mut older) {
                    Ok(found) => any |= found,
                    Err(error) => log::warn!("{error:#}"),
                }
            }
            last = older.then(last);
        }
        self.print(&last.lines.into_iter().flatten().collect::<Vec<u8>>())?;
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
            let more = self.stream.read(&self.record, &mut self.buffer, Instant::now(), &mut |piece| {
                let line = String::from_utf8_lossy(piece.text);
                if let (Ok(()), Some(entry)) = (&taken, Entry::parse(&line)) {
                    taken = take(&self.filter, &entry, &mut text);
                }
            });
            let cannot = || format!("cannot read {}", self.record.path().join(MERGED_LOG).display());
            let more = more.with_context(cannot)?;
            taken?;
            self.print(&text)?;
            if !more {
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
        family
            .and_then(|family| self.stream.rescan(&self.record, family, Instant::now()))
            .with_context(|| format!("cannot read {}", self.record.path().join(MERGED_LOG).display()))
            .hint(|| "root and members of the group leonardo can read it: sudo logtail".to_owned())?;
        self.stream.take_gaps().messages(MERGED_LOG).iter().for_each(|text| log::warn!("{text}"));
        Ok(())
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

/// Reads a service's own log, which may be older than the merged one; returns true if a line matched.
fn service_log(
    place: &Paths,
    service: &str,
    filter: &Filter,
    format: OutputFormat,
    buffer: &mut [u8],
    last: &mut LastLines,
) -> Result<bool> {
    let mut any = false;
    for directory in place.sources() {
        let cannot = |name: &str| format!("cannot read {}", directory.path().join(name).display());
        let listing = directory.list().with_context(|| cannot(""))?;
        for (name, family) in listing.families {
            if file_name::service_name(&name).map(entry::sanitize_label).as_deref() != Some(service) {
                continue;
            }
            let mut stream = LogReader::from_oldest(&name);
            stream.rescan(&directory, family, Instant::now()).with_context(|| cannot(&name))?;
            let mut failed = None;
            let mut emit = |piece: Piece<'_>| {
                let mut line = Vec::new();
                entry::append_line(&mut line, service, piece);
                let line = String::from_utf8_lossy(&line);
                let text = line.trim_end_matches('\n').split_once(" | ").map_or("", |(_, text)| text);
                let entry = Entry::new(None, service, text);
                if failed.is_none() && filter.matches(&entry) {
                    any = true;
                    failed = last.take(format, &entry).err();
                }
            };
            while stream.read(&directory, buffer, Instant::now(), &mut emit).with_context(|| cannot(&name))? {
            }
            stream.finish(&mut emit);
            if let Some(error) = failed {
                return Err(error.into());
            }
        }
    }
    Ok(any)
}

/// The last lines, as they are printed.
struct LastLines {
    limit: usize,
    lines: VecDeque<Vec<u8>>,
}

impl LastLines {
    fn new(limit: usize) -> Self {
        Self { limit, lines: VecDeque::new() }
    }

    fn take(&mut self, format: OutputFormat, entry: &Entry<'_>) -> io::Result<()> {
        if self.limit == 0 {
            return Ok(());
        }
        let full = self.lines.len() >= self.limit;
        let mut line = if full { self.lines.pop_front().unwrap_or_default() } else { Vec::new() };
        line.clear();
        format.print(&mut line, entry)?;
        self.lines.push_back(line);
        Ok(())
    }

    /// Appends later lines.
    fn then(mut self, later: Self) -> Self {
        self.lines.extend(later.lines);
        let surplus = self.lines.len().saturating_sub(self.limit);
        self.lines.drain(..surplus);
        self
    }
}
