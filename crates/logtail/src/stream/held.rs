//! Which files of a log are held open, so that they can be read whatever becomes of their names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::mem;

use super::Stream;
use super::held_file::{Copy, HELD, Pinned, TRIES};
use super::late::Late;
use crate::directory::Directory;
use crate::generation::Generation;
use crate::identity::FileId;
use crate::names::{Packing, Role};
use crate::packed;
use crate::plan::{self, Family, Named};

impl Stream {
    /// Opens what a family has that is new; says no, and does nothing, if files were renamed meanwhile.
    pub(super) fn open(&mut self, directory: &Directory, family: &Family) -> io::Result<bool> {
        // Names that are gone are forgotten at once: their inodes come back, within a tick of the clock even.
        let present = family.rotated_ids();
        self.known.retain(|id| present.contains(id));
        // A listing in the middle of a rotation may not have shown them.
        self.known.extend(self.files().filter(|id| present.contains(id)).collect::<Vec<_>>());
        let has_form = self.know_packed_forms(directory, family)?;
        let newest_id = self.queue.back().map(Generation::id);
        let copies = self.copies.iter().map(|copy| copy.id);
        let seen: BTreeSet<FileId> = self.known.iter().copied().chain(copies).collect();
        let mut older = plan::older(newest_id, &seen, family);
        let mut next = plan::next(newest_id, &seen, family);
        let is_base = newest_id.is_some() && family.base_id() == newest_id;
        // Beside a log that is new, or has nothing yet, a file of an unknown kind is no copy of it.
        if self.has_looked && self.queue.back().is_some_and(|newest| is_base && newest.is_untouched()) {
            older.retain(|file| file.role != Role::Other);
        }
        if newest_id.is_none() && !self.is_astray {
            next.retain(|file| file.role != Role::Other);
        }
        let is_cut = self.queue.back().map_or(Ok(false), Generation::is_rewritten)?;
        let is_perhaps_cut =
            is_cut || self.queue.back().is_some_and(|base| base.is_untouched() && base.unread() > 0);
        let is_opaque = |file: &Named| file.packing == Packing::Opaque;
        let mut is_unsure =
            next.iter().any(is_opaque) || (self.has_looked && is_perhaps_cut && older.iter().any(is_opaque));
        next.retain(|file| !is_opaque(file));
        // Beside a log that is not cut, what is packed holds nothing new, and may not be complete yet.
        let is_wanted =
            |packing| packing == Packing::Plain || (packing == Packing::Gzip && (is_cut || !self.has_looked));
        older.retain(|file| is_wanted(file.packing));
        // More would be given up below, after they were unpacked.
        while next.len() > HELD && next[0].packing == Packing::Gzip {
            next.remove(0);
            is_unsure = true;
        }
        let older = self.open_all(directory, &older)?;
        let next = self.open_all(directory, &next)?;
        let (Some(mut older), Some(next)) = (older, next) else { return Ok(false) };
        let newest = self.queue.back();
        let mut opened = Vec::new();
        // Ours was renamed and not cut since: what is no part of it came after it, whatever times say.
        if let Some(newest) = newest.filter(|newest| !is_base && !is_cut && !newest.is_untouched()) {
            for (role, id, file) in mem::take(&mut older) {
                if newest.has_copy(&file)? {
                    older.push((role, id, file));
                } else {
                    opened.push(Generation::at(file, id, 0)?);
                }
            }
        }
        for (role, id, file) in next {
            let is_copy = match newest {
                // What holds our place is a copy of it, and no successor.
                Some(newest) if is_cut => {
                    (role == Role::Other || newest.is_deleted()) && newest.mark().is_in(&file)?
                }
                Some(newest) => role == Role::Other && !newest.is_untouched() && newest.has_copy(&file)?,
                None => false,
            };
            if is_copy {
                older.push((role, id, file));
            } else {
                opened.push(Generation::at(file, id, 0)?);
            }
        }
        // Files between ours and these may have come and gone. Beside older ones, which rotation removes first, a single one
        // is most likely the very next; alone, it may be any, because no more may be kept.
        let is_gone =
            newest_id.is_some_and(|id| family.base_id() != Some(id) && !present.contains(&id) && !has_form);
        let missed = opened.iter().filter(|next| family.base_id() != Some(next.id())).count();
        if is_gone && (!self.has_looked || (missed > 0 && (missed > 1 || missed == present.len()))) {
            // Others that were renamed like it are logs of their own.
            let ids = directory.list()?.ids;
            is_unsure |= newest_id.is_some_and(|id| !ids.contains(&id));
        }
        self.lost.perhaps_files |= mem::take(&mut self.is_astray) || is_unsure;
        if let Some(of) = newest_id {
            self.copies.extend(older.into_iter().map(|(_, id, file)| Copy { id, file, of }));
        }
        self.queue.extend(opened);
        self.known = present;
        for copy in &self.copies {
            self.known.remove(&copy.id);
        }
        Ok(true)
    }

    /// Knows new packed files of which the original is held, one of each; says whether the newest file has such a form.
    fn know_packed_forms(&mut self, directory: &Directory, family: &Family) -> io::Result<bool> {
        let queued = self.queue.iter().chain(self.late.iter().map(Late::generation));
        let queued = queued.map(|generation| (generation.id(), generation.file()));
        let pinned = self.pinned.iter().map(|(id, pinned)| (*id, &pinned.file));
        let copies = self.copies.iter().map(|copy| (copy.id, &copy.file));
        let mut originals: BTreeMap<FileId, &File> = queued.chain(pinned).chain(copies).collect();
        for file in family.files() {
            originals.remove(&file.id);
        }
        let newest = self.queue.back().map(Generation::id);
        // It was made beside the log, and seen before it was complete.
        let is_known_wanted = family.base.is_some() && newest.is_some_and(|id| originals.contains_key(&id));
        let mut forms = Vec::new();
        let mut has_form = false;
        for named in family.rotated.iter().rev().filter(|named| named.packing != Packing::Plain) {
            if originals.is_empty() {
                break;
            }
            if self.known.contains(&named.id) && !is_known_wanted {
                continue;
            }
            let Some(packed) = directory.open_file(&named.name, named.id)? else { continue };
            for (id, original) in &originals {
                if packed::is_form_of(&packed, named.packing, original)? {
                    has_form |= newest == Some(*id);
                    forms.push(named.id);
                    let id = *id;
                    originals.remove(&id);
                    break;
                }
            }
        }
        self.known.extend(forms);
        Ok(has_form)
    }

    /// The files of some steps, without those that cannot be unpacked; nothing if one is not there any more.
    fn open_all(
        &mut self,
        directory: &Directory,
        files: &[Named],
    ) -> io::Result<Option<Vec<(Role, FileId, File)>>> {
        let mut opened = Vec::new();
        for named in files {
            let Some(file) = directory.open_file(&named.name, named.id)? else { return Ok(None) };
            opened.push((named, file));
        }
        let lines = |(named, file): (&Named, _)| Some((named.role, named.id, self.unpacked(named, file)?));
        Ok(Some(opened.into_iter().filter_map(lines).collect()))
    }

    /// The lines of a file; nothing, which is reported, if they are not to be had.
    pub(super) fn unpacked(&mut self, named: &Named, file: File) -> Option<File> {
        if named.packing == Packing::Plain {
            return Some(file);
        }
        let unpacked = packed::unpack(&file);
        unpacked.map_err(|error| self.lost.unreadable.insert(named.name.clone(), error.to_string())).ok()
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
        self.pinned.insert(id, Pinned::new(file));
    }

    /// Holds what is known, and nothing that has gone.
    pub(super) fn pin(&mut self, directory: &Directory, family: &Family) -> io::Result<()> {
        self.away.retain(|id, _| family.files().all(|file| file.id != *id));
        for (id, pinned) in mem::take(&mut self.pinned) {
            if self.known.contains(&id) {
                self.pinned.insert(id, pinned);
            } else if pinned.has_name() && family.base_id() != Some(id) {
                self.away.insert(id, pinned);
            }
        }
        for named in &family.rotated {
            match self.pinned.get_mut(&named.id) {
                Some(pinned) => pinned.refresh(),
                None if !self.known.contains(&named.id) => {}
                None => {
                    let file = directory.open_file(&named.name, named.id)?;
                    self.pinned.extend(file.map(|file| (named.id, Pinned::new(file))));
                }
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
