//! Logs that are copied and cut: what was not read before the cut is in copies.

use std::cmp::Ordering;
use std::io;
use std::mem;

use super::LogReader;
use super::held_file::{CopyCandidate, MAX_ATTEMPTS};
use crate::file_id::FileId;
use crate::file_reader::FileReader;
use crate::log_directory::LogDirectory;
use crate::rotation::LogFiles;

/// What a copy holds for us.
enum CopyContent {
    /// What the log still has; it tells of a cut as soon as the log is shorter.
    Today,
    /// What was read.
    Nothing,
    /// What was not, from there on.
    More(FileReader),
}

impl LogReader {
    /// The first file was copied and cut, or written reopened: what we missed is in copies, if there are any.
    pub(super) fn handle_truncation(&mut self, directory: &LogDirectory) -> io::Result<()> {
        self.refresh(directory)?;
        self.recover_copies(0, true)?;
        self.limit_held();
        Ok(())
    }

    /// Before the first file is read: it may have been copied and cut since it was opened.
    ///
    /// Returns how the content begins that may be read next; nothing if that is not the base's beginning.
    pub(super) fn begin(&mut self, directory: &LogDirectory) -> io::Result<Option<Vec<u8>>> {
        self.recover_copies(0, false)?;
        let Some(front) = self.queue.front().filter(|front| front.is_unread() && self.queue.len() == 1)
        else {
            return Ok(None);
        };
        let id = front.id();
        // Most logs are empty for long: nothing more is asked about these.
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
        // Files move all the time: nothing is taken before they rest.
        Ok(Some(Vec::new()))
    }

    /// The files of the log, and how the base begins at the same moment.
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

    /// If a file was cut, which its copies may show, puts what they hold before it, and begins with it reopened.
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
        // The first that holds our place was the first to be made after it: those before it are older than what was read,
        // and those after it are all new.
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
                // One of a later content, which was cut as well before we saw it, or a part of what was read.
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
            // The rest of a line that was begun is not to be had.
            self.cut = None;
            self.gap.get_or_insert(false);
        }
        self.queue[index] = reopened;
        for reader in more.into_iter().rev() {
            self.queue.insert(index, reader);
        }
        Ok(())
    }

    /// Returns `x-20261128.log` where `x.log` is not cut and holds other lines: a log of its own, and no copy.
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
        // After that: of a log that was cut before, any of them may be a copy.
        if newest.is_unread() || newest.is_rewritten()? {
            strangers.clear();
        }
        self.copies.retain(|copy| strangers.iter().all(|(id, _)| copy.id != *id));
        Ok(strangers.into_iter().map(|(_, name)| name).collect())
    }

    /// A file is read to its end, so that its copies are of no interest any more.
    pub(super) fn drop_copies(&mut self, of: FileId) {
        let (copies, others) = mem::take(&mut self.copies).into_iter().partition(|copy| copy.of == of);
        let copies: Vec<CopyCandidate> = copies;
        self.copies = others;
        for CopyCandidate { id, file, .. } in copies {
            self.mark_read(id, file);
        }
    }
}
