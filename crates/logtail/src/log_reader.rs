//! Reader of one log from its oldest file to the current one, as if it had never been rotated.

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

use log_history::file_id::FileId;
use log_history::file_name::Compression;
use log_history::log_directory::LogDirectory;
use log_history::log_files::LogFiles;

use crate::file_reader::{FileReader, Read};
use crate::fingerprint::Fingerprint;
use crate::line_assembler::{LineAssembler, Piece};
use gaps::Gaps;
use held_file::{CopyCandidate, HeldFile, MAX_ATTEMPTS, MAX_HELD, MAX_SCAN_INTERVAL};
use rotated_file::{DELETED_GRACE, RotatedFile};

/// Start of a line that continues in a later file.
#[derive(Debug)]
struct SplitLine {
    file: FileId,
    offset: u64,
    /// Fingerprint of what was read of the file.
    fingerprint: Fingerprint,
    /// Files that have nothing but a part of the line.
    over: BTreeSet<FileId>,
}

/// Reads a log that is followed.
#[derive(Debug, Default)]
pub struct LogReader {
    name: String,
    /// Files to read, the oldest first; the last one is, or was, the current file.
    queue: VecDeque<FileReader>,
    /// Files that were read, the oldest first, whose writers may still have them open.
    late: Vec<RotatedFile>,
    lines: LineAssembler,
    /// Start of the pending bytes, if it is not in the first file of the queue.
    cut: Option<SplitLine>,
    /// Rotated files that were read, or are too old to be.
    known: BTreeSet<FileId>,
    /// They are held open, so that their inode numbers are not reused between two scans.
    pinned: BTreeMap<FileId, HeldFile>,
    /// Files that were read and have the name of another log now, such as `x.1.log`; held open for the same reason.
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
    /// False before the first scan and the first one after a pause: files may have come and gone.
    has_looked: bool,
    /// Set if files were dropped since the last read; true if a line continues after them.
    gap: Option<bool>,
    /// File and offset of the last read.
    last_read: Option<(FileId, u64)>,
}

impl LogReader {
    /// Returns a reader from the oldest file on.
    pub fn from_oldest(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Returns a reader of our merged log, from its oldest file on.
    pub fn merged_log(name: &str) -> Self {
        Self { lines: LineAssembler::for_merged_log(), ..Self::from_oldest(name) }
    }

    /// Returns a reader of our merged log from a byte of a file on; from the oldest file, if that is gone.
    pub fn merged_log_from(
        name: &str,
        id: FileId,
        offset: u64,
        directory: &LogDirectory,
        files: &LogFiles,
    ) -> io::Result<Self> {
        let mut reader = Self::merged_log(name);
        let Some(named) = files.files().find(|file| file.id == id && file.packing == Compression::Plain)
        else {
            return Ok(reader);
        };
        if let Some(file) = directory.open_file(&named.name, id)? {
            reader.known =
                files.files().skip_while(|file| file.id != id).skip(1).map(|file| file.id).collect();
            reader.queue.push_back(FileReader::at(file, id, offset)?);
            reader.touched = Some(Instant::now());
        }
        Ok(reader)
    }

    /// Returns a reader from the current file on: the rotated ones are old.
    pub fn from_current(name: &str, files: &LogFiles) -> Self {
        Self { known: files.rotated_ids(), ..Self::from_oldest(name) }
    }

    /// Name of the current file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens new files, so that they can be read after they are renamed.
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

    /// Makes the next scan report possible gaps: files may have come and gone since the last one.
    pub fn mark_missed(&mut self) {
        self.has_looked = false;
        self.resumed = self.queue.back().map(FileReader::id);
    }

    /// Reads once, from the oldest file with new bytes; returns false if there are none.
    pub fn read(
        &mut self,
        directory: &LogDirectory,
        buffer: &mut [u8],
        now: Instant,
        emit: &mut dyn FnMut(Piece<'_>),
    ) -> io::Result<bool> {
        for index in (0..self.late.len()).rev() {
            let reader = self.late[index].reader();
            let begin = (reader.id(), reader.offset());
            match self.late[index].read(buffer, now, emit)? {
                Some(true) => {
                    self.last_read = Some(begin);
                    return Ok(true);
                }
                Some(false) => {}
                None => self.late.remove(index).lines_mut().finish(emit),
            }
        }
        loop {
            let expected = self.begin(directory)?;
            let Some(front) = self.queue.front_mut() else { break };
            let begin = (front.id(), front.offset());
            match front.read(buffer)? {
                // Truncated again since the check.
                Read::New(bytes)
                    if expected.is_some_and(|head| head.is_empty() || !bytes.starts_with(&head)) =>
                {
                    front.rewind();
                }
                Read::New(bytes) => {
                    (self.touched, self.resumed) = (Some(now), None);
                    self.last_read = Some(begin);
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
        // A decompressed one is held under its name by the next scan.
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

    /// Returns the file and the first byte of the last read.
    pub fn take_last_read(&mut self) -> Option<(FileId, u64)> {
        self.last_read.take()
    }

    /// Returns the files that are, or were, part of the log.
    pub fn files(&self) -> impl Iterator<Item = FileId> {
        let queued = self.queue.iter().map(FileReader::id);
        self.known.iter().chain(self.pinned.keys()).chain(self.away.keys()).copied().chain(queued)
    }

    /// Drops files with names of other logs that are not listed any more.
    pub fn retain_listed(&mut self, listed: &BTreeSet<FileId>) {
        self.away.retain(|id, _| listed.contains(id));
    }

    /// True if no file is open, and every byte was emitted.
    pub fn is_finished(&self) -> bool {
        self.queue.is_empty() && self.late.is_empty() && self.away.is_empty() && self.lines.pending() == 0
    }

    /// Returns the time at which [`LogReader::flush_overdue`] has something to emit.
    pub fn next_deadline(&self) -> Option<Instant> {
        let late = self.late.iter().filter_map(|late| late.lines().next_deadline());
        self.lines.next_deadline().into_iter().chain(late).min()
    }

    /// Emits lines that have been incomplete for too long.
    pub fn flush_overdue(&mut self, now: Instant, emit: &mut dyn FnMut(Piece<'_>)) {
        self.lines.flush_overdue(now, emit);
        for late in &mut self.late {
            late.lines_mut().flush_overdue(now, emit);
        }
    }

    /// Emits what is pending.
    pub fn finish(&mut self, emit: &mut dyn FnMut(Piece<'_>)) {
        self.lines.finish(emit);
        for late in &mut self.late {
            late.lines_mut().finish(emit);
        }
    }

    /// Returns what was lost since the last call.
    pub fn take_gaps(&mut self) -> Gaps {
        self.gaps.take()
    }
}

#[cfg(test)]
mod tests;
