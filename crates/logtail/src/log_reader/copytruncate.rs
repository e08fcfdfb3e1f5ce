//! Logs that are copied and truncated: unread bytes are in the copies.

use std::cmp::Ordering;
use std::io;
use std::mem;

use log_history::file_id::FileId;
use log_history::log_directory::LogDirectory;
use log_history::log_files::LogFiles;

use super::LogReader;
use super::held_file::{CopyCandidate, MAX_ATTEMPTS};
use crate::file_reader::FileReader;

/// Content of a copy.
enum CopyContent {
    /// Content that the log still has; the copy shows a truncation as soon as the log is shorter.
    Today,
    /// Content that was read.
    Nothing,
    /// Unread content, from this offset on.
    More(FileReader),
}

impl LogReader {
    /// Handles a first file that was truncated or rewritten: the unread bytes are in its copies, if any.
    pub(super) fn handle_truncation(&mut self, directory: &LogDirectory) -> io::Result<()> {
        self.refresh(directory)?;
        self.recover_copies(0, true)?;
        self.limit_held();
        Ok(())
    }

    /// Checks the first file before it is read: it may have been copied and truncated since it was opened.
    ///
    /// Returns the start of the content that may be read next; nothing if that is not the start of the current file.
    pub(super) fn begin(&mut self, directory: &LogDirectory) -> io::Result<Option<Vec<u8>>> {
        self.recover_copies(0, false)?;
        let Some(front) = self.queue.front().filter(|front| front.is_unread() && self.queue.len() == 1)
        else {
            return Ok(None);
        };
        let id = front.id();
        // Most logs are empty for a long time, and need no more checks.
        if front.peek()?.is_empty() {
            return Ok(Some(Vec::new()));
        }
        for _ in 0..MAX_ATTEMPTS {
            let (files, head) = self.stable(directory)?;
            if self.open(directory, &files)? {
                self.recover_copies(0, false)?;
                self.limit_held();
                let is_next =
                    self.queue.len() == 1 && self.queue.front().is_some_and(|front| front.id() == id);
                return Ok(is_next.then_some(head));
            }
        }
        // Files are being renamed all the time: nothing is read before that ends.
        Ok(Some(Vec::new()))
    }

    /// Returns the files of the log, and the start of the current one at the same moment.
    fn stable(&self, directory: &LogDirectory) -> io::Result<(LogFiles, Vec<u8>)> {
        let peek = || self.queue.back().map_or(Ok(Vec::new()), FileReader::peek);
        let mut files = directory.files_of(&self.name)?;
        let mut head = peek()?;
        for _ in 0..MAX_ATTEMPTS {
            let (next, begins) = (directory.files_of(&self.name)?, peek()?);
            if next == files && begins == head {
                break;
            }
            (files, head) = (next, begins);
        }
        Ok((files, head))
    }

    /// If a file was truncated, which its copies may show, queues their unread content before it, and starts it again.
    pub(super) fn recover_copies(&mut self, index: usize, is_cut: bool) -> io::Result<()> {
        let Some(old) = self.queue.get(index) else { return Ok(()) };
        let of = old.id();
        let copies: Vec<&CopyCandidate> = self.copies.iter().filter(|copy| copy.of == of).collect();
        let mut is_cut = is_cut || (!copies.is_empty() && (old.is_unread() || old.is_rewritten()?));
        for copy in &copies {
            is_cut = is_cut || old.was_truncated_after(&copy.file)?;
        }
        if !is_cut {
            return Ok(());
        }
        // The first copy that has what was read was the first one made after that: older copies have nothing new, and newer ones
        // are entirely new.
        let mut first = None;
        for (number, copy) in copies.iter().enumerate() {
            if old.fingerprint().matches(&copy.file)? {
                first = Some(number);
                break;
            }
        }
        let mut verdicts = Vec::new();
        for (number, copy) in copies.iter().enumerate() {
            let from = match first.map(|first| number.cmp(&first)) {
                Some(Ordering::Less) => None,
                Some(Ordering::Equal) => Some(old.offset()),
                Some(Ordering::Greater) => Some(0),
                // A copy of later content, which was truncated before a scan saw it, or a part of what was read.
                None => (!old.fingerprint().is_prefix(&copy.file)?).then_some(0),
            };
            verdicts.push(match from {
                _ if old.has_copy(&copy.file)? => CopyContent::Today,
                None => CopyContent::Nothing,
                Some(from) => CopyContent::More(FileReader::at(copy.file.try_clone()?, copy.id, from)?),
            });
        }
        let (reopened, was_read) = (old.reopened()?, old.offset() > 0);
        let mut more = Vec::new();
        let (copies, others) = mem::take(&mut self.copies).into_iter().partition(|copy| copy.of == of);
        let copies: Vec<CopyCandidate> = copies;
        self.copies = others;
        for (copy, verdict) in copies.into_iter().zip(verdicts) {
            match verdict {
                CopyContent::Today => self.copies.push(copy),
                CopyContent::Nothing => self.mark_read(copy.id, copy.file),
                CopyContent::More(reader) => {
                    more.push(reader);
                    self.mark_read(copy.id, copy.file);
                }
            }
        }
        self.gaps.maybe_files |= self.resumed == Some(of) && was_read && first.is_none();
        let goes_on = more.first().is_some_and(|first| first.offset() > 0);
        if index == 0 && was_read && !goes_on {
            // The rest of an incomplete line is lost.
            self.cut = None;
            self.gap.get_or_insert(false);
        }
        self.queue[index] = reopened;
        for reader in more.into_iter().rev() {
            self.queue.insert(index, reader);
        }
        Ok(())
    }

    /// Returns names such as `x-20261128.log` if `x.log` is not truncated and has other lines: logs of their own.
    pub fn release_unrelated(&mut self, files: &LogFiles) -> io::Result<Vec<String>> {
        let mut strangers: Vec<(FileId, String)> = Vec::new();
        let Some(newest) = self.queue.back().filter(|newest| files.base_id() == Some(newest.id())) else {
            return Ok(Vec::new());
        };
        for named in files.rotated.iter().filter(|named| named.name.strip_suffix(".log").is_some()) {
            if let Some(copy) = self.copies.iter().find(|copy| copy.id == named.id && copy.of == newest.id())
                && !newest.fingerprint().matches(&copy.file)?
                && !newest.has_copy(&copy.file)?
            {
                strangers.push((named.id, named.name.clone()));
            }
        }
        // In this order: any of them may be a copy of a log that was truncated before.
        if newest.is_unread() || newest.is_rewritten()? {
            strangers.clear();
        }
        self.copies.retain(|copy| strangers.iter().all(|(id, _)| copy.id != *id));
        Ok(strangers.into_iter().map(|(_, name)| name).collect())
    }

    /// Drops the copies of a file that was read to its end.
    pub(super) fn drop_copies(&mut self, of: FileId) {
        let (copies, others) = mem::take(&mut self.copies).into_iter().partition(|copy| copy.of == of);
        let copies: Vec<CopyCandidate> = copies;
        self.copies = others;
        for CopyCandidate { id, file, .. } in copies {
            self.mark_read(id, file);
        }
    }
}
