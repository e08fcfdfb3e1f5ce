//! Logs that are copied and cut: what was not read before the cut is in copies.

use std::cmp::Ordering;
use std::io;
use std::mem;

use super::Stream;
use super::held_file::{Copy, TRIES};
use crate::directory::Directory;
use crate::generation::Generation;
use crate::identity::FileId;
use crate::plan::Family;

/// What a copy holds for us.
enum Holds {
    /// What the log still has; it tells of a cut as soon as the log is shorter.
    Today,
    /// What was read.
    Nothing,
    /// What was not, from there on.
    More(Generation),
}

impl Stream {
    /// The first file was copied and cut, or written anew: what we missed is in copies, if there are any.
    pub(super) fn rewritten(&mut self, directory: &Directory) -> io::Result<()> {
        self.refresh(directory)?;
        self.recover(0, true)?;
        self.bound();
        Ok(())
    }

    /// Before the first file is read: it may have been copied and cut since it was opened.
    ///
    /// Returns how the content begins that may be read next; nothing if that is not the base's beginning.
    pub(super) fn begin(&mut self, directory: &Directory) -> io::Result<Option<Vec<u8>>> {
        self.recover(0, false)?;
        let Some(front) = self.queue.front().filter(|front| front.is_untouched() && self.queue.len() == 1)
        else {
            return Ok(None);
        };
        let id = front.id();
        // Most logs are empty for long: nothing more is asked about these.
        if front.peek()?.is_empty() {
            return Ok(Some(Vec::new()));
        }
        for _ in 0..TRIES {
            let (family, head) = self.settled(directory)?;
            if self.open(directory, &family)? {
                self.recover(0, false)?;
                self.bound();
                let is_next =
                    self.queue.len() == 1 && self.queue.front().is_some_and(|front| front.id() == id);
                return Ok(is_next.then_some(head));
            }
        }
        // Files move all the time: nothing is taken before they rest.
        Ok(Some(Vec::new()))
    }

    /// The files of the log, and how the base begins at the same moment.
    fn settled(&self, directory: &Directory) -> io::Result<(Family, Vec<u8>)> {
        let peek = || self.queue.back().map_or(Ok(Vec::new()), Generation::peek);
        let mut family = directory.family(&self.name)?;
        let mut head = peek()?;
        for _ in 0..TRIES {
            let (next, begins) = (directory.family(&self.name)?, peek()?);
            if next == family && begins == head {
                break;
            }
            (family, head) = (next, begins);
        }
        Ok((family, head))
    }

    /// If a file was cut, which its copies may show, puts what they hold before it, and begins with it anew.
    pub(super) fn recover(&mut self, index: usize, is_cut: bool) -> io::Result<()> {
        let Some(old) = self.queue.get(index) else { return Ok(()) };
        let of = old.id();
        let copies: Vec<&Copy> = self.copies.iter().filter(|copy| copy.of == of).collect();
        let mut is_cut = is_cut || (!copies.is_empty() && (old.is_untouched() || old.is_rewritten()?));
        for copy in &copies {
            is_cut = is_cut || old.is_outlived_by(&copy.file)?;
        }
        if !is_cut {
            return Ok(());
        }
        // The first that holds our place was the first to be made after it: those before it are older than what was read,
        // and those after it are all new.
        let mut first = None;
        for (number, copy) in copies.iter().enumerate() {
            if old.mark().is_in(&copy.file)? {
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
                None => (!old.mark().begins_with(&copy.file)?).then_some(0),
            };
            verdicts.push(match from {
                _ if old.has_copy(&copy.file)? => Holds::Today,
                None => Holds::Nothing,
                Some(from) => Holds::More(Generation::at(copy.file.try_clone()?, copy.id, from)?),
            });
        }
        let (anew, was_read) = (old.anew()?, old.offset() > 0);
        let mut more = Vec::new();
        let (copies, others) = mem::take(&mut self.copies).into_iter().partition(|copy| copy.of == of);
        let copies: Vec<Copy> = copies;
        self.copies = others;
        for (copy, verdict) in copies.into_iter().zip(verdicts) {
            match verdict {
                Holds::Today => self.copies.push(copy),
                Holds::Nothing => self.is_done(copy.id, copy.file),
                Holds::More(generation) => {
                    more.push(generation);
                    self.is_done(copy.id, copy.file);
                }
            }
        }
        self.lost.perhaps_files |= self.resumed == Some(of) && was_read && first.is_none();
        let goes_on = more.first().is_some_and(|first| first.offset() > 0);
        if index == 0 && was_read && !goes_on {
            // The rest of a line that was begun is not to be had.
            self.cut = None;
            self.torn.get_or_insert(false);
        }
        self.queue[index] = anew;
        for generation in more.into_iter().rev() {
            self.queue.insert(index, generation);
        }
        Ok(())
    }

    /// Returns `x-20261128.log` where `x.log` is not cut and holds other lines: a log of its own, and no copy.
    pub fn release_strangers(&mut self, family: &Family) -> io::Result<Vec<String>> {
        let mut strangers: Vec<(FileId, String)> = Vec::new();
        let Some(newest) = self.queue.back().filter(|newest| family.base_id() == Some(newest.id())) else {
            return Ok(Vec::new());
        };
        for named in family.rotated.iter().filter(|named| named.name.strip_suffix(".log").is_some()) {
            if let Some(copy) = self.copies.iter().find(|copy| copy.id == named.id && copy.of == newest.id())
                && !newest.mark().is_in(&copy.file)?
                && !newest.has_copy(&copy.file)?
            {
                strangers.push((named.id, named.name.clone()));
            }
        }
        // After that: of a log that was cut before, any of them may be a copy.
        if newest.is_untouched() || newest.is_rewritten()? {
            strangers.clear();
        }
        self.copies.retain(|copy| strangers.iter().all(|(id, _)| copy.id != *id));
        Ok(strangers.into_iter().map(|(_, name)| name).collect())
    }

    /// A file is read to its end, so that its copies are of no interest any more.
    pub(super) fn forget_copies(&mut self, of: FileId) {
        let (copies, others) = mem::take(&mut self.copies).into_iter().partition(|copy| copy.of == of);
        let copies: Vec<Copy> = copies;
        self.copies = others;
        for Copy { id, file, .. } in copies {
            self.is_done(id, file);
        }
    }
}
