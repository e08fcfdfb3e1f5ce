//! `logtail`: lines of before, then those that come.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result};
use kit::{Exit, HintExt, Outcome};

use crate::cli::Cli;
use crate::clock;
use crate::directory::Directory;
use crate::entry::{self, Entry};
use crate::lines::Piece;
use crate::names;
use crate::place::{Place, RECORD};
use crate::stream::Stream;
use crate::wanted::{Form, Wanted};
use crate::watch::Watch;

/// Lines of before, where nobody says how many.
const LINES: usize = 20;
/// Read at once, in bytes.
const CHUNK: usize = 64 * 1024;

/// Shows what the command line asks for; follows until it is interrupted, or its reader goes.
pub fn show(cli: Cli) -> Outcome {
    let place = Place(cli.root);
    let since = cli.since.and_then(|since| SystemTime::now().checked_sub(since)).map(clock::written);
    let limit = cli.lines.or_else(|| since.is_none().then_some(LINES));
    let form = if cli.json {
        Form::Json
    } else if io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty()) {
        Form::Coloured
    } else {
        Form::Plain
    };
    let services: Vec<String> = cli.services.iter().map(|service| entry::label(service)).collect();
    let wanted = Wanted { services, since, grep: cli.grep };
    let mut viewer = Viewer::new(place.record(), wanted, form);
    let shown = viewer.begin(&place, limit)?;
    if cli.no_follow {
        return Ok(if shown { Exit::Done } else { Exit::No });
    }
    viewer.follow()
}

struct Viewer {
    record: Directory,
    stream: Stream,
    buffer: Vec<u8>,
    wanted: Wanted,
    form: Form,
}

impl Viewer {
    fn new(record: Directory, wanted: Wanted, form: Form) -> Self {
        Self { record, stream: Stream::record(RECORD), buffer: vec![0; CHUNK], wanted, form }
    }

    /// Prints lines of before, the last `limit` of them; says whether there were any.
    fn begin(&mut self, place: &Place, limit: Option<usize>) -> Result<bool> {
        let mut last = Last::new(limit, self.form);
        let mut seen = BTreeSet::new();
        let wanted = &self.wanted;
        let cannot = || format!("cannot read {}", self.record.path().join(RECORD).display());
        read(&self.record, &mut self.stream, &mut self.buffer, &mut |line| {
            if let Some(entry) = Entry::parse(line) {
                if wanted.services.iter().any(|service| service == entry.service)
                    && seen.len() < wanted.services.len()
                {
                    seen.insert(entry.service.to_owned());
                }
                if wanted.takes(&entry) {
                    last.take(&entry)?;
                }
            }
            Ok(())
        })
        .with_context(cannot)
        .hint(|| "root and members of the group leonardo may: sudo logtail".to_owned())?;
        let missing: Vec<&String> =
            wanted.services.iter().filter(|service| !seen.contains(*service)).collect();
        let mut older = Last::new(limit, self.form);
        if wanted.since.is_none() {
            for service in missing {
                own_log(place, service, wanted, &mut self.buffer, &mut older)?;
            }
        }
        older.then(last).print()
    }

    fn follow(mut self) -> Outcome {
        let (mut watch, _) = Watch::new();
        let stdout = io::stdout();
        loop {
            let mut out = stdout.lock();
            // A watch that cannot be had makes the pause short.
            let _ = watch.keep(0, &self.record);
            let (wanted, form) = (&self.wanted, self.form);
            let mut text = Vec::new();
            read(&self.record, &mut self.stream, &mut self.buffer, &mut |line| {
                if let Some(entry) = Entry::parse(line).filter(|entry| wanted.takes(entry)) {
                    form.print(&mut text, &entry)?;
                }
                if text.len() >= CHUNK {
                    out.write_all(&text)?;
                    text.clear();
                }
                Ok(())
            })?;
            out.write_all(&text)?;
            out.flush()?;
            if watch.wait(None, Some(stdout.as_fd()), false, watch.pause())? {
                return Ok(Exit::Done);
            }
            watch.hints();
        }
    }
}

/// Hands out every whole line that is there.
fn read(
    directory: &Directory,
    stream: &mut Stream,
    buffer: &mut [u8],
    take: &mut dyn FnMut(&str) -> io::Result<()>,
) -> io::Result<()> {
    let family = directory.family(stream.name())?;
    stream.look(directory, family, Instant::now())?;
    let mut failed = None;
    let mut emit = |piece: Piece<'_>| {
        if failed.is_none() {
            failed = take(&String::from_utf8_lossy(piece.text)).err();
        }
    };
    while stream.read(directory, buffer, Instant::now(), &mut emit)? {}
    failed.map_or(Ok(()), Err)
}

/// The log of a service itself, which may be older than the record.
fn own_log(
    place: &Place,
    service: &str,
    wanted: &Wanted,
    buffer: &mut [u8],
    last: &mut Last,
) -> io::Result<()> {
    for directory in place.sources() {
        let Ok(listing) = directory.list() else { continue };
        for name in listing.families.keys() {
            if names::service(name).map(entry::label).as_deref() != Some(service) {
                continue;
            }
            let mut stream = Stream::whole(name);
            let family = listing.families[name].clone();
            stream.look(&directory, family, Instant::now())?;
            let mut failed = None;
            let mut emit = |piece: Piece<'_>| {
                let mut line = Vec::new();
                entry::append(&mut line, service, piece);
                let line = String::from_utf8_lossy(&line);
                let text = line.trim_end_matches('\n').split_once(" | ").map_or("", |(_, text)| text);
                let entry = Entry::new(None, service, text);
                if failed.is_none() && wanted.takes(&entry) {
                    failed = last.take(&entry).err();
                }
            };
            while stream.read(&directory, buffer, Instant::now(), &mut emit)? {}
            stream.finish(&mut emit);
            if let Some(error) = failed {
                return Err(error);
            }
        }
    }
    Ok(())
}

/// The last lines of many, printed; or all of them at once.
struct Last {
    limit: Option<usize>,
    form: Form,
    lines: VecDeque<Vec<u8>>,
    taken: bool,
}

impl Last {
    fn new(limit: Option<usize>, form: Form) -> Self {
        Self { limit, form, lines: VecDeque::new(), taken: false }
    }

    fn take(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.taken = true;
        let Some(limit) = self.limit else { return self.form.print(&mut io::stdout().lock(), entry) };
        let mut line =
            if self.lines.len() < limit { Vec::new() } else { self.lines.pop_front().unwrap_or_default() };
        line.clear();
        self.form.print(&mut line, entry)?;
        if limit > 0 {
            self.lines.push_back(line);
        }
        Ok(())
    }

    /// Puts later lines behind these.
    fn then(mut self, later: Self) -> Self {
        self.taken |= later.taken;
        self.lines.extend(later.lines);
        let surplus = self.limit.map_or(0, |limit| self.lines.len().saturating_sub(limit));
        self.lines.drain(..surplus);
        self
    }

    fn print(self) -> Result<bool> {
        let mut out = io::stdout().lock();
        self.lines.iter().try_for_each(|line| out.write_all(line)).and_then(|()| out.flush())?;
        Ok(self.taken)
    }
}
