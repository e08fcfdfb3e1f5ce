//! One log from its first file to its newest, as if it had never been rotated.

mod copies;
mod held;
mod held_file;
mod late;
mod lost;
mod position;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::mem;
use std::time::Instant;

use crate::directory::Directory;
use crate::generation::{Generation, Read};
use crate::identity::FileId;
use crate::lines::{Lines, Piece};
use crate::mark::Mark;
use crate::plan::Family;
use held_file::{Copy, HELD, PAUSE, Pinned, TRIES};
use late::{DELETED, Late};
use lost::Lost;

/// Where a line begins that goes on in a later file.
#[derive(Debug)]
struct Cut {
    file: FileId,
    offset: u64,
    /// Of what was read of it.
    mark: Mark,
    /// Files that hold nothing but a part of it.
    over: BTreeSet<FileId>,
}

/// A log while it is followed.
#[derive(Debug, Default)]
pub struct Stream {
    name: String,
    /// What is to be read, the oldest first; the last one is, or was, the base.
    queue: VecDeque<Generation>,
    /// Those before, the oldest first: a writer may not have noticed yet that its log was rotated.
    late: Vec<Late>,
    lines: Lines,
    /// Where the pending bytes begin, if that is not in the first file of the queue.
    cut: Option<Cut>,
    /// Rotated files that are read, or too old to be.
    known: BTreeSet<FileId>,
    /// They are held open, so that no other file gets their inode numbers between two looks.
    pinned: BTreeMap<FileId, Pinned>,
    /// Files that are read and have the name of another log by now, such as `x.1.log`; held open for the same reason.
    away: BTreeMap<FileId, Pinned>,
    /// Rotated files that may be copies of one in the queue, the oldest first.
    copies: Vec<Copy>,
    touched: Option<Instant>,
    lost: Lost,
    /// True if the file that was read before a restart is gone.
    is_astray: bool,
    /// The file that was read before a restart or a pause, until it is read again.
    resumed: Option<FileId>,
    looked: Option<Instant>,
    /// False before the first look, and the first one after a pause: files may have come and gone.
    has_looked: bool,
    /// Whether files were given up since the last read, and if so, whether a line goes on behind them.
    torn: Option<bool>,
}

impl Stream {
    /// A log by the name of its base, from the oldest file on.
    pub fn whole(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Our own record, from its oldest file on.
    pub fn record(name: &str) -> Self {
        Self { lines: Lines::of_record(), ..Self::whole(name) }
    }

    /// A log that is there already: what was rotated before is old.
    pub fn current(name: &str, family: &Family) -> Self {
        Self { known: family.rotated_ids(), ..Self::whole(name) }
    }

    /// The name of the base.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens what is new, so that it can be read whatever it is renamed to.
    pub fn look(&mut self, directory: &Directory, family: Family, now: Instant) -> io::Result<()> {
        self.let_go(now);
        if self.looked.replace(now).is_some_and(|looked| now.duration_since(looked) >= PAUSE) {
            self.has_missed();
        }
        let mut family = family;
        for _ in 0..TRIES {
            let newest = self.queue.len().saturating_sub(1);
            if self.open(directory, &family)? {
                self.has_looked = true;
                self.recover(newest, false)?;
                self.bound();
                return self.pin(directory, &family);
            }
            family = directory.family(&self.name)?;
        }
        Ok(())
    }

    /// Has the next look report what cannot be told from a gap: files may have come and gone since the last one.
    pub fn has_missed(&mut self) {
        self.has_looked = false;
        self.resumed = self.queue.back().map(Generation::id);
    }

    /// Reads once, from the oldest file that has something; says whether there was something.
    pub fn read(
        &mut self,
        directory: &Directory,
        buffer: &mut [u8],
        now: Instant,
        emit: &mut dyn FnMut(Piece<'_>),
    ) -> io::Result<bool> {
        for index in (0..self.late.len()).rev() {
            match self.late[index].read(buffer, now, emit)? {
                Some(true) => return Ok(true),
                Some(false) => {}
                None => self.late.remove(index).lines_mut().finish(emit),
            }
        }
        loop {
            let expected = self.begin(directory)?;
            let Some(front) = self.queue.front_mut() else { break };
            match front.read(buffer)? {
                // Cut once more since it was looked at.
                Read::New(bytes)
                    if expected.is_some_and(|head| head.is_empty() || !bytes.starts_with(&head)) =>
                {
                    front.rewind();
                }
                Read::New(bytes) => {
                    (self.touched, self.resumed) = (Some(now), None);
                    if let Some(goes_on) = self.torn.take() {
                        self.lines.tear(goes_on, emit);
                    }
                    self.lines.feed(bytes, now, emit);
                    return Ok(true);
                }
                Read::End => {
                    self.resumed = None;
                    if self.queue.len() == 1 {
                        break;
                    }
                    self.advance(now, emit);
                }
                Read::Rewritten => self.rewritten(directory)?,
            }
        }
        Ok(false)
    }

    fn advance(&mut self, now: Instant, emit: &mut dyn FnMut(Piece<'_>)) {
        let Some(done) = self.queue.pop_front() else { return };
        let pending = self.lines.pending();
        match &mut self.cut {
            Some(cut) if pending > done.offset() => drop(cut.over.insert(done.id())),
            _ => {
                let offset = done.offset().saturating_sub(pending);
                let cut =
                    || Cut { file: done.id(), offset, mark: done.mark().clone(), over: BTreeSet::new() };
                self.cut = (pending > 0).then(cut);
            }
        }
        self.forget_copies(done.id());
        // One that was unpacked is held under its name by the next look.
        if let Some(file) = done.hold().ok().filter(|_| !done.is_deleted()) {
            self.pinned.insert(done.id(), Pinned::new(file));
        }
        if self.late.len() == HELD {
            self.late.remove(0).lines_mut().finish(emit);
        }
        self.late.push(Late::new(done, now));
    }

    fn let_go(&mut self, now: Instant) {
        self.late.retain(|late| !late.is_over(now));
        let quiet = self.touched.is_none_or(|touched| now.duration_since(touched) >= DELETED);
        if quiet
            && self.queue.len() == 1
            && self.queue.front().is_some_and(|only| only.is_deleted() && only.unread() == 0)
        {
            for only in mem::take(&mut self.queue) {
                self.forget_copies(only.id());
            }
            self.cut = None;
        }
    }

    /// Returns the files that are, or were, part of the log.
    pub fn files(&self) -> impl Iterator<Item = FileId> {
        let queued = self.queue.iter().map(Generation::id);
        self.known.iter().chain(self.pinned.keys()).chain(self.away.keys()).copied().chain(queued)
    }

    /// Forgets the files with names of other logs that are not listed any more.
    pub fn forget_gone(&mut self, listed: &BTreeSet<FileId>) {
        self.away.retain(|id, _| listed.contains(id));
    }

    /// True if nothing is left: no file is open, and every byte is handed out.
    pub fn is_over(&self) -> bool {
        self.queue.is_empty() && self.late.is_empty() && self.away.is_empty() && self.lines.pending() == 0
    }

    /// When [`Stream::overdue`] has something to show if nothing comes.
    pub fn due(&self) -> Option<Instant> {
        let late = self.late.iter().filter_map(|late| late.lines().due());
        self.lines.due().into_iter().chain(late).min()
    }

    /// Hands out lines that have waited too long for their end.
    pub fn overdue(&mut self, now: Instant, emit: &mut dyn FnMut(Piece<'_>)) {
        self.lines.overdue(now, emit);
        for late in &mut self.late {
            late.lines_mut().overdue(now, emit);
        }
    }

    /// Hands out what is pending.
    pub fn finish(&mut self, emit: &mut dyn FnMut(Piece<'_>)) {
        self.lines.finish(emit);
        for late in &mut self.late {
            late.lines_mut().finish(emit);
        }
    }

    /// What was lost since the last call.
    pub fn take_lost(&mut self) -> Lost {
        self.lost.take()
    }
}

#[cfg(test)]
mod tests;
