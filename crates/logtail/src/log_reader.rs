//! One log from its first file to its newest, as if it had never been rotated.

mod copytruncate;
mod gaps;
mod held_file;
mod open_files;
mod resume;
mod rotated_file;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::mem;
use std::time::Instant;

use crate::file_id::FileId;
use crate::file_reader::{FileReader, Read};
use crate::fingerprint::Fingerprint;
use crate::line_assembler::{LineAssembler, Piece};
use crate::log_directory::LogDirectory;
use crate::rotation::LogFiles;
use gaps::Gaps;
use held_file::{CopyCandidate, HeldFile, MAX_ATTEMPTS, MAX_HELD, MAX_SCAN_INTERVAL};
use rotated_file::{DELETED_GRACE, RotatedFile};

/// Where a line begins that goes on in a later file.
#[derive(Debug)]
struct SplitLine {
    file: FileId,
    offset: u64,
    /// Of what was read of it.
    fingerprint: Fingerprint,
    /// Files that hold nothing but a part of it.
    over: BTreeSet<FileId>,
}

/// A log while it is followed.
#[derive(Debug, Default)]
pub struct LogReader {
    name: String,
    /// What is to be read, the oldest first; the last one is, or was, the base.
    queue: VecDeque<FileReader>,
    /// Those before, the oldest first: a writer may not have noticed yet that its log was rotated.
    late: Vec<RotatedFile>,
    lines: LineAssembler,
    /// Where the pending bytes begin, if that is not in the first file of the queue.
    cut: Option<SplitLine>,
    /// Rotated files that are read, or too old to be.
    known: BTreeSet<FileId>,
    /// They are held open, so that no other file gets their inode numbers between two looks.
    pinned: BTreeMap<FileId, HeldFile>,
    /// Files that are read and have the name of another log by now, such as `x.1.log`; held open for the same reason.
    away: BTreeMap<FileId, HeldFile>,
    /// Rotated files that may be copies of one in the queue, the oldest first.
    copies: Vec<CopyCandidate>,
    touched: Option<Instant>,
    gaps: Gaps,
    /// True if the file that was read before a restart is gone.
    lost_position: bool,
    /// The file that was read before a restart or a pause, until it is read again.
    resumed: Option<FileId>,
    looked: Option<Instant>,
    /// False before the first look, and the first one after a pause: files may have come and gone.
    has_looked: bool,
    /// Whether files were given up since the last read, and if so, whether a line goes on behind them.
    gap: Option<bool>,
}

impl LogReader {
    /// A log by the name of its base, from the oldest file on.
    pub fn from_oldest(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Our own record, from its oldest file on.
    pub fn merged_log(name: &str) -> Self {
        Self { lines: LineAssembler::for_merged_log(), ..Self::from_oldest(name) }
    }

    /// A log that is there already: what was rotated before is old.
    pub fn from_current(name: &str, files: &LogFiles) -> Self {
        Self { known: files.rotated_ids(), ..Self::from_oldest(name) }
    }

    /// The name of the base.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens what is new, so that it can be read whatever it is renamed to.
    pub fn rescan(&mut self, directory: &LogDirectory, files: LogFiles, now: Instant) -> io::Result<()> {
        self.let_go(now);
        if self.looked.replace(now).is_some_and(|looked| now.duration_since(looked) >= MAX_SCAN_INTERVAL) {
            self.mark_missed();
        }
        let mut files = files;
        for _ in 0..MAX_ATTEMPTS {
            let newest = self.queue.len().saturating_sub(1);
            if self.open(directory, &files)? {
                self.has_looked = true;
                self.recover_copies(newest, false)?;
                self.limit_held();
                return self.hold(directory, &files);
            }
            files = directory.files_of(&self.name)?;
        }
        Ok(())
    }

    /// Has the next look report what cannot be told from a gap: files may have come and gone since the last one.
    pub fn mark_missed(&mut self) {
        self.has_looked = false;
        self.resumed = self.queue.back().map(FileReader::id);
    }

    /// Reads once, from the oldest file that has something; says whether there was something.
    pub fn read(
        &mut self,
        directory: &LogDirectory,
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
                // SplitLine once more since it was looked at.
                Read::New(bytes)
                    if expected.is_some_and(|head| head.is_empty() || !bytes.starts_with(&head)) =>
                {
                    front.rewind();
                }
                Read::New(bytes) => {
                    (self.touched, self.resumed) = (Some(now), None);
                    if let Some(goes_on) = self.gap.take() {
                        self.lines.break_line(goes_on, emit);
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
                Read::Truncated => self.handle_truncation(directory)?,
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
                let cut = || SplitLine {
                    file: done.id(),
                    offset,
                    fingerprint: done.fingerprint().clone(),
                    over: BTreeSet::new(),
                };
                self.cut = (pending > 0).then(cut);
            }
        }
        self.drop_copies(done.id());
        // One that was unpacked is held under its name by the next look.
        if let Some(file) = done.try_clone_file().ok().filter(|_| !done.is_deleted()) {
            self.pinned.insert(done.id(), HeldFile::new(file));
        }
        if self.late.len() == MAX_HELD {
            self.late.remove(0).lines_mut().finish(emit);
        }
        self.late.push(RotatedFile::new(done, now));
    }

    fn let_go(&mut self, now: Instant) {
        self.late.retain(|late| !late.is_expired(now));
        let quiet = self.touched.is_none_or(|touched| now.duration_since(touched) >= DELETED_GRACE);
        if quiet
            && self.queue.len() == 1
            && self.queue.front().is_some_and(|only| only.is_deleted() && only.unread_bytes() == 0)
        {
            for only in mem::take(&mut self.queue) {
                self.drop_copies(only.id());
            }
            self.cut = None;
        }
    }

    /// Returns the files that are, or were, part of the log.
    pub fn files(&self) -> impl Iterator<Item = FileId> {
        let queued = self.queue.iter().map(FileReader::id);
        self.known.iter().chain(self.pinned.keys()).chain(self.away.keys()).copied().chain(queued)
    }

    /// Forgets the files with names of other logs that are not listed any more.
    pub fn retain_listed(&mut self, listed: &BTreeSet<FileId>) {
        self.away.retain(|id, _| listed.contains(id));
    }

    /// True if nothing is left: no file is open, and every byte is handed out.
    pub fn is_finished(&self) -> bool {
        self.queue.is_empty() && self.late.is_empty() && self.away.is_empty() && self.lines.pending() == 0
    }

    /// When [`LogReader::flush_overdue`] has something to show if nothing comes.
    pub fn next_deadline(&self) -> Option<Instant> {
        let late = self.late.iter().filter_map(|late| late.lines().next_deadline());
        self.lines.next_deadline().into_iter().chain(late).min()
    }

    /// Hands out lines that have waited too long for their end.
    pub fn flush_overdue(&mut self, now: Instant, emit: &mut dyn FnMut(Piece<'_>)) {
        self.lines.flush_overdue(now, emit);
        for late in &mut self.late {
            late.lines_mut().flush_overdue(now, emit);
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
    pub fn take_gaps(&mut self) -> Gaps {
        self.gaps.take()
    }
}

#[cfg(test)]
mod tests;
