//! `logtail`: lines of before, then those that come.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
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
use crate::watch::{self, Watch};

/// Lines of before, where nobody says how many.
const LINES: usize = 20;
/// Read at once, in bytes.
const CHUNK: usize = 64 * 1024;
/// A pipe that takes anything takes so much, in bytes (`PIPE_BUF`, pipe(7)).
const READY: usize = 4096;

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
    let mut viewer = Viewer::new(place.record(), wanted, form)?;
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
    watch: Watch,
    looked: Option<Instant>,
    out: File,
}

impl Viewer {
    fn new(record: Directory, wanted: Wanted, form: Form) -> Result<Self> {
        // Not the library's buffered one, which does not say how much it has written.
        let out = io::stdout().as_fd().try_clone_to_owned().context("cannot write to the output")?;
        let (watch, _) = Watch::new();
        let (stream, buffer) = (Stream::record(RECORD), vec![0; CHUNK]);
        Ok(Self { record, stream, buffer, wanted, form, watch, looked: None, out: File::from(out) })
    }

    /// Prints lines of before, the last `limit` of them; says whether there were any.
    fn begin(&mut self, place: &Place, limit: Option<usize>) -> Result<bool> {
        let (mut last, mut seen, mut any) = (Last::new(limit.unwrap_or(0)), BTreeSet::new(), false);
        self.look()?;
        loop {
            let (wanted, form) = (&self.wanted, self.form);
            let mut text = Vec::new();
            let more = read(&self.record, &mut self.stream, &mut self.buffer, &mut |entry| {
                if wanted.services.iter().any(|service| service == entry.service)
                    && seen.len() < wanted.services.len()
                {
                    seen.insert(entry.service.to_owned());
                }
                if !wanted.takes(entry) {
                    return Ok(());
                }
                any = true;
                if limit.is_some() { last.take(form, entry) } else { form.print(&mut text, entry) }
            })?;
            self.print(&text)?;
            if !more {
                break;
            }
        }
        if let Some(limit) = limit.filter(|_| self.wanted.since.is_none()) {
            let missing = self.wanted.services.iter().filter(|service| !seen.contains(*service));
            let mut older = Last::new(limit);
            for service in missing {
                match own_log(place, service, &self.wanted, self.form, &mut self.buffer, &mut older) {
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
        loop {
            self.look()?;
            loop {
                let (wanted, form) = (&self.wanted, self.form);
                let mut text = Vec::new();
                let more = read(&self.record, &mut self.stream, &mut self.buffer, &mut |entry| {
                    if wanted.takes(entry) { form.print(&mut text, entry) } else { Ok(()) }
                })?;
                self.print(&text)?;
                if !more {
                    break;
                }
            }
            if self.watch.wait(None, Some(self.out.as_fd()), false, self.watch.pause())? {
                return Ok(Exit::Done);
            }
            self.watch.hints();
        }
    }

    /// Opens what is new of the record, and says what is lost.
    fn look(&mut self) -> Result<()> {
        self.looked = Some(Instant::now());
        // A watch that cannot be had makes the pause short.
        let _ = self.watch.keep(0, &self.record);
        let family = self.record.family(RECORD);
        family
            .and_then(|family| self.stream.look(&self.record, family, Instant::now()))
            .with_context(|| format!("cannot read {}", self.record.path().join(RECORD).display()))
            .hint(|| "root and members of the group leonardo may: sudo logtail".to_owned())?;
        self.stream.take_lost().sentences(RECORD).iter().for_each(|text| log::warn!("{text}"));
        Ok(())
    }

    /// Writes, however long that takes; what is rotated meanwhile is opened, so that it can be read after that.
    fn print(&mut self, text: &[u8]) -> Result<()> {
        let mut rest = text;
        while !rest.is_empty() {
            if watch::takes_more(self.out.as_fd())? {
                match self.out.write(&rest[..READY.min(rest.len())]) {
                    Ok(written) => rest = &rest[written..],
                    // Somebody else has asked it not to block.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                }
                continue;
            }
            self.watch.wait(None, Some(self.out.as_fd()), true, self.watch.pause())?;
            if self.watch.hints().look
                || self.looked.is_none_or(|looked| looked.elapsed() >= self.watch.pause())
            {
                self.look()?;
            }
        }
        Ok(())
    }
}

/// Hands out the lines of the record that one read brings; says whether there was something.
fn read(
    record: &Directory,
    stream: &mut Stream,
    buffer: &mut [u8],
    take: &mut dyn FnMut(&Entry<'_>) -> io::Result<()>,
) -> Result<bool> {
    let mut taken = Ok(());
    let more = stream.read(record, buffer, Instant::now(), &mut |piece| {
        let line = String::from_utf8_lossy(piece.text);
        if let (Ok(()), Some(entry)) = (&taken, Entry::parse(&line)) {
            taken = take(&entry);
        }
    });
    let more = more.with_context(|| format!("cannot read {}", record.path().join(RECORD).display()))?;
    taken?;
    Ok(more)
}

/// The log of a service itself, which may be older than the record; says whether there was a wanted line.
fn own_log(
    place: &Place,
    service: &str,
    wanted: &Wanted,
    form: Form,
    buffer: &mut [u8],
    last: &mut Last,
) -> Result<bool> {
    let mut any = false;
    for directory in place.sources() {
        let cannot = |name: &str| format!("cannot read {}", directory.path().join(name).display());
        let listing = directory.list().with_context(|| cannot(""))?;
        for (name, family) in listing.families {
            if names::service(&name).map(entry::label).as_deref() != Some(service) {
                continue;
            }
            let mut stream = Stream::whole(&name);
            stream.look(&directory, family, Instant::now()).with_context(|| cannot(&name))?;
            let mut failed = None;
            let mut emit = |piece: Piece<'_>| {
                let mut line = Vec::new();
                entry::append(&mut line, service, piece);
                let line = String::from_utf8_lossy(&line);
                let text = line.trim_end_matches('\n').split_once(" | ").map_or("", |(_, text)| text);
                let entry = Entry::new(None, service, text);
                if failed.is_none() && wanted.takes(&entry) {
                    any = true;
                    failed = last.take(form, &entry).err();
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

/// The last lines of many, as they are printed.
struct Last {
    limit: usize,
    lines: VecDeque<Vec<u8>>,
}

impl Last {
    fn new(limit: usize) -> Self {
        Self { limit, lines: VecDeque::new() }
    }

    fn take(&mut self, form: Form, entry: &Entry<'_>) -> io::Result<()> {
        if self.limit == 0 {
            return Ok(());
        }
        let full = self.lines.len() >= self.limit;
        let mut line = if full { self.lines.pop_front().unwrap_or_default() } else { Vec::new() };
        line.clear();
        form.print(&mut line, entry)?;
        self.lines.push_back(line);
        Ok(())
    }

    /// Puts later lines behind these.
    fn then(mut self, later: Self) -> Self {
        self.lines.extend(later.lines);
        let surplus = self.lines.len().saturating_sub(self.limit);
        self.lines.drain(..surplus);
        self
    }
}
