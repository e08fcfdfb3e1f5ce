//! Logs that are copied and cut: what was not read before the cut is in copies.

use std::fs::File;
use std::io;

use super::{Stream, TRIES};
use crate::directory::Directory;
use crate::generation::{self, Generation};
use crate::plan::Family;

/// What a copy of a log is to us.
enum Copy {
    /// Of the content that the log still has.
    OfToday,
    /// Of nothing that was not read.
    Read,
    /// To be read from here on.
    From(u64),
}

impl Stream {
    /// The file was copied and cut, or written anew: what we missed is in copies, if there are any.
    pub(super) fn rewritten(&mut self, directory: &Directory) -> io::Result<()> {
        let Some(front) = self.queue.pop_front() else { return Ok(()) };
        self.cut = None;
        self.queue.push_front(front.anew()?);
        for _ in 0..TRIES {
            let (family, head) = self.settled(directory)?;
            let judged = self.insert_copies(directory, &family, |copy| {
                let today = !head.is_empty() && generation::begin_alike(copy, &head)?;
                Ok(if today { Copy::OfToday } else { front.resume_in(copy)?.map_or(Copy::Read, Copy::From) })
            })?;
            if judged {
                break;
            }
        }
        Ok(())
    }

    /// Before the first byte of the base is read: it may have been copied and cut since it was opened.
    ///
    /// Returns how the content begins that may be read next; nothing if that is not the base's beginning.
    pub(super) fn begin(&mut self, directory: &Directory) -> io::Result<Option<Vec<u8>>> {
        let Some(front) = self.queue.front().filter(|front| front.offset() == 0 && self.queue.len() == 1)
        else {
            return Ok(None);
        };
        let id = front.id();
        // Most logs are empty for long: nothing more is asked about these.
        if !self.copied && front.peek()?.is_empty() {
            return Ok(Some(Vec::new()));
        }
        self.copied = false;
        for _ in 0..TRIES {
            let (family, head) = self.settled(directory)?;
            if family.base != Some(id) {
                return Ok(None);
            }
            let judged = self.insert_copies(directory, &family, |copy| {
                // A copy that begins like the file is one of what we are about to read.
                Ok(if generation::begin_alike(copy, &head)? { Copy::OfToday } else { Copy::From(0) })
            })?;
            if judged {
                return Ok((self.queue.len() == 1).then_some(head));
            }
        }
        // Files move all the time: the next look asks again.
        self.copied = true;
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

    /// Puts what new copies hold before everything else; says no, and does nothing, if files were renamed meanwhile.
    fn insert_copies(
        &mut self,
        directory: &Directory,
        family: &Family,
        judge: impl Fn(&File) -> io::Result<Copy>,
    ) -> io::Result<bool> {
        let (mut copies, mut judged) = (Vec::new(), Vec::new());
        for &(number, id) in family.rotated.iter().rev().filter(|(_, id)| !self.known.contains(id)) {
            let Some(file) = directory.open_file(&format!("{}.{number}", self.name), id)? else {
                return Ok(false);
            };
            // Being made at this moment, and of the content of today therefore.
            if file.metadata()?.len() == 0 {
                continue;
            }
            let copy = judge(&file)?;
            if matches!(copy, Copy::OfToday) {
                continue;
            }
            judged.push((id, file.try_clone()?));
            if let Copy::From(offset) = copy {
                copies.push(Generation::at(file, id, offset)?);
            }
        }
        self.known.extend(judged.iter().map(|&(id, _)| id));
        self.pinned.extend(judged);
        for copy in copies.into_iter().rev() {
            self.queue.push_front(copy);
        }
        self.bound();
        Ok(true)
    }
}
