//! Which files of a log are held open, so that they can be read whatever becomes of their names.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::mem;

use super::copies::Copy;
use super::{HELD, Stream, TRIES};
use crate::directory::Directory;
use crate::generation::Generation;
use crate::identity::FileId;
use crate::plan::{self, Family, Next};

impl Stream {
    /// Opens what a family has that is new; says no, and does nothing, if files were renamed meanwhile.
    pub(super) fn open(&mut self, directory: &Directory, family: &Family) -> io::Result<bool> {
        // Names that are gone are forgotten at once: their inodes come back, within a tick of the clock even.
        let present = family.rotated_ids();
        self.known.retain(|id| present.contains(id));
        let newest = self.queue.back();
        let newest_id = newest.map(Generation::id);
        let copies = self.copies.iter().map(|copy| copy.id);
        let seen: BTreeSet<FileId> = self.known.iter().copied().chain(copies).collect();
        let older = self.open_all(directory, &plan::older(newest_id, &seen, family))?;
        let next = self.open_all(directory, &plan::next(newest_id, &seen, family))?;
        let (Some(mut older), Some(next)) = (older, next) else { return Ok(false) };
        // One that was cut and then deleted: what holds our place is a copy of it, and no successor.
        let cut = match newest {
            Some(newest) if newest.is_deleted() && newest.is_rewritten()? => Some(newest),
            _ => None,
        };
        let mut opened = Vec::new();
        for (id, file) in next {
            match cut {
                Some(cut) if cut.mark().is_in(&file)? => older.push((id, file)),
                _ => opened.push(Generation::at(file, id, 0)?),
            }
        }
        // Files between ours and these may have come and gone. Beside older ones, which rotation removes first, a single one
        // is most likely the very next; alone, it may be any, because no more may be kept.
        let is_gone = newest_id.is_some_and(|id| family.base != Some(id) && !present.contains(&id));
        let missed = opened.iter().filter(|next| family.base != Some(next.id())).count();
        let is_unsure = is_gone && (missed > 1 || missed == present.len());
        self.lost.perhaps_files |= (mem::take(&mut self.is_astray) || is_unsure) && missed > 0;
        if let Some(of) = newest_id {
            self.copies.extend(older.into_iter().map(|(id, file)| Copy { id, file, of }));
        }
        self.queue.extend(opened);
        self.known = present;
        for copy in &self.copies {
            self.known.remove(&copy.id);
        }
        Ok(true)
    }

    /// The files of some steps; nothing if one of them is not there any more.
    fn open_all(&self, directory: &Directory, steps: &[Next]) -> io::Result<Option<Vec<(FileId, File)>>> {
        let open = |step: &Next| {
            let name = step.number.map_or(self.name.clone(), |number| format!("{}.{number}", self.name));
            Ok(directory.open_file(&name, step.id)?.map(|file| (step.id, file)))
        };
        steps.iter().map(open).collect()
    }

    /// The same with the files that are there at this moment.
    pub(super) fn refresh(&mut self, directory: &Directory) -> io::Result<()> {
        for _ in 0..TRIES {
            let family = directory.family(&self.name)?;
            if self.open(directory, &family)? {
                break;
            }
        }
        Ok(())
    }

    /// Gives a file up as read, or too old to be, but holds it as long as it has a name: its inode must not come back.
    pub(super) fn is_done(&mut self, id: FileId, file: File) {
        self.known.insert(id);
        self.pinned.insert(id, file);
    }

    /// Holds what is known, and nothing that has gone.
    pub(super) fn pin(&mut self, directory: &Directory, family: &Family) -> io::Result<()> {
        self.pinned.retain(|id, _| self.known.contains(id));
        for &(number, id) in &family.rotated {
            if self.known.contains(&id)
                && !self.pinned.contains_key(&id)
                && let Some(file) = directory.open_file(&format!("{}.{number}", self.name), id)?
            {
                self.pinned.insert(id, file);
            }
        }
        Ok(())
    }

    /// Gives up what is too much, the oldest first, and counts what was not read of it.
    pub(super) fn bound(&mut self) {
        while self.queue.len() > HELD {
            self.cut = None;
            let Some(oldest) = self.queue.pop_front() else { break };
            self.forget_copies(oldest.id());
            let unread = oldest.unread();
            if unread > 0 {
                self.lost.bytes += unread;
                // What is pending ends in what is lost, and what comes next may begin there.
                self.torn = Some(oldest.ends_within_a_line());
            }
        }
        // Of what is there now, later copies hold all that earlier ones do.
        while self.copies.len() > HELD {
            let Copy { id, file, .. } = self.copies.remove(0);
            self.is_done(id, file);
        }
    }
}
