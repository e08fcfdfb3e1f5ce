//! Opens the files of a log in order, and holds them open even if they are renamed or deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::mem;

use log_history::file_id::FileId;
use log_history::file_name::{Compression, RotationName};
use log_history::log_directory::LogDirectory;
use log_history::log_files::{LogFile, LogFiles};

use super::LogReader;
use super::held_file::{CopyCandidate, HeldFile, MAX_ATTEMPTS, MAX_HELD};
use super::rotated_file::RotatedFile;
use crate::compressed;
use crate::file_reader::FileReader;
use crate::rotation;

impl LogReader {
    /// Opens new files; returns false, with no effect, if files were renamed meanwhile.
    pub(super) fn open(&mut self, directory: &LogDirectory, files: &LogFiles) -> io::Result<bool> {
        // Files without a name are dropped at once: inode numbers are reused within a tick of the clock.
        let present = files.rotated_ids();
        self.known.retain(|id| present.contains(id));
        // A listing in the middle of a rotation may lack them.
        self.known.extend(self.files().filter(|id| present.contains(id)).collect::<Vec<_>>());
        let has_form = self.match_compressed(directory, files)?;
        let newest_id = self.queue.back().map(FileReader::id);
        let copies = self.copies.iter().map(|copy| copy.id);
        let seen: BTreeSet<FileId> = self.known.iter().copied().chain(copies).collect();
        let mut older = rotation::copy_candidates(newest_id, &seen, files);
        let mut next = rotation::successors(newest_id, &seen, files);
        let is_base = newest_id.is_some() && files.base_id() == newest_id;
        // A file of an unknown kind is not a copy of a log that is new or empty.
        if self.has_looked && self.queue.back().is_some_and(|newest| is_base && newest.is_unread()) {
            older.retain(|file| file.role != RotationName::Other);
        }
        if newest_id.is_none() && !self.lost_position {
            next.retain(|file| file.role != RotationName::Other);
        }
        let is_cut = self.queue.back().map_or(Ok(false), FileReader::is_rewritten)?;
        let is_perhaps_cut =
            is_cut || self.queue.back().is_some_and(|base| base.is_unread() && base.unread_bytes() > 0);
        let is_opaque = |file: &LogFile| file.packing == Compression::Opaque;
        let mut is_unsure =
            next.iter().any(is_opaque) || (self.has_looked && is_perhaps_cut && older.iter().any(is_opaque));
        next.retain(|file| !is_opaque(file));
        // Without a truncation, a compressed file has nothing new, and may be incomplete.
        let is_wanted = |packing| {
            packing == Compression::Plain || (packing == Compression::Gzip && (is_cut || !self.has_looked))
        };
        older.retain(|file| is_wanted(file.packing));
        // More files would be decompressed only to be dropped below.
        while next.len() > MAX_HELD && next[0].packing == Compression::Gzip {
            next.remove(0);
            is_unsure = true;
        }
        let older = self.open_all(directory, &older)?;
        let next = self.open_all(directory, &next)?;
        let (Some(mut older), Some(next)) = (older, next) else { return Ok(false) };
        let newest = self.queue.back();
        let mut opened = Vec::new();
        // Our file was renamed and not truncated, so files with other content are newer, even with older times.
        if let Some(newest) = newest.filter(|newest| !is_base && !is_cut && !newest.is_unread()) {
            for (role, id, file) in mem::take(&mut older) {
                if newest.has_copy(&file)? {
                    older.push((role, id, file));
                } else {
                    opened.push(FileReader::at(file, id, 0)?);
                }
            }
        }
        for (role, id, file) in next {
            let is_copy = match newest {
                // A file with what was read is a copy, not a successor.
                Some(newest) if is_cut => {
                    (role == RotationName::Other || newest.is_deleted())
                        && newest.fingerprint().matches(&file)?
                }
                Some(newest) => {
                    role == RotationName::Other && !newest.is_unread() && newest.has_copy(&file)?
                }
                None => false,
            };
            if is_copy {
                older.push((role, id, file));
            } else {
                opened.push(FileReader::at(file, id, 0)?);
            }
        }
        // Files between ours and these may have come and gone. If older ones exist, which rotation removes first, a single file
        // is most likely the next one; alone, it may be any, because only one may be retained.
        let is_gone =
            newest_id.is_some_and(|id| files.base_id() != Some(id) && !present.contains(&id) && !has_form);
        let missed = opened.iter().filter(|next| files.base_id() != Some(next.id())).count();
        if is_gone && (!self.has_looked || (missed > 0 && (missed > 1 || missed == present.len()))) {
            // Under another log's name, it is not gone.
            let ids = directory.list()?.ids;
            is_unsure |= newest_id.is_some_and(|id| !ids.contains(&id));
        }
        self.gaps.maybe_files |= mem::take(&mut self.lost_position) || is_unsure;
        if let Some(of) = newest_id {
            self.copies.extend(older.into_iter().map(|(_, id, file)| CopyCandidate { id, file, of }));
        }
        self.queue.extend(opened);
        self.known = present;
        for copy in &self.copies {
            self.known.remove(&copy.id);
        }
        Ok(true)
    }

    /// Matches new compressed files with open originals, one each; returns true if the newest file has a compressed form.
    fn match_compressed(&mut self, directory: &LogDirectory, files: &LogFiles) -> io::Result<bool> {
        let queued = self.queue.iter().chain(self.late.iter().map(RotatedFile::reader));
        let queued = queued.map(|reader| (reader.id(), reader.file()));
        let pinned = self.pinned.iter().map(|(id, pinned)| (*id, &pinned.file));
        let copies = self.copies.iter().map(|copy| (copy.id, &copy.file));
        let mut originals: BTreeMap<FileId, &File> = queued.chain(pinned).chain(copies).collect();
        for file in files.files() {
            originals.remove(&file.id);
        }
        let newest = self.queue.back().map(FileReader::id);
        // It was made beside the log, and listed before it was complete.
        let is_known_wanted = files.base.is_some() && newest.is_some_and(|id| originals.contains_key(&id));
        let mut forms = Vec::new();
        let mut has_form = false;
        for named in files.rotated.iter().rev().filter(|named| named.packing != Compression::Plain) {
            if originals.is_empty() {
                break;
            }
            if self.known.contains(&named.id) && !is_known_wanted {
                continue;
            }
            let Some(packed) = directory.open_file(&named.name, named.id)? else { continue };
            for (id, original) in &originals {
                if compressed::is_compressed_form(&packed, named.packing, original)? {
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

    /// Opens files, without those that cannot be decompressed; nothing if one is gone.
    fn open_all(
        &mut self,
        directory: &LogDirectory,
        files: &[LogFile],
    ) -> io::Result<Option<Vec<(RotationName, FileId, File)>>> {
        let mut opened = Vec::new();
        for named in files {
            let Some(file) = directory.open_file(&named.name, named.id)? else { return Ok(None) };
            opened.push((named, file));
        }
        let lines = |(named, file): (&LogFile, _)| Some((named.role, named.id, self.unpacked(named, file)?));
        Ok(Some(opened.into_iter().filter_map(lines).collect()))
    }

    /// Returns the decompressed content of a file; an error is reported as a gap.
    pub(super) fn unpacked(&mut self, named: &LogFile, file: File) -> Option<File> {
        if named.packing == Compression::Plain {
            return Some(file);
        }
        let unpacked = compressed::decompress(&file);
        unpacked.map_err(|error| self.gaps.unreadable.insert(named.name.clone(), error.to_string())).ok()
    }

    /// Opens new files of the present listing.
    pub(super) fn refresh(&mut self, directory: &LogDirectory) -> io::Result<()> {
        for _ in 0..MAX_ATTEMPTS {
            let files = directory.files_of(&self.name)?;
            if self.open(directory, &files)? {
                break;
            }
        }
        Ok(())
    }

    /// Marks a file as read, and holds it while it has a name, so that its inode number is not reused.
    pub(super) fn mark_read(&mut self, id: FileId, file: File) {
        self.known.insert(id);
        self.pinned.insert(id, HeldFile::new(file));
    }

    /// Holds known files, and releases those that are gone.
    pub(super) fn hold(&mut self, directory: &LogDirectory, files: &LogFiles) -> io::Result<()> {
        self.away.retain(|id, _| files.files().all(|file| file.id != *id));
        for (id, pinned) in mem::take(&mut self.pinned) {
            if self.known.contains(&id) {
                self.pinned.insert(id, pinned);
            } else if pinned.has_name() && files.base_id() != Some(id) {
                self.away.insert(id, pinned);
            }
        }
        for named in &files.rotated {
            match self.pinned.get_mut(&named.id) {
                Some(pinned) => pinned.refresh(),
                None if !self.known.contains(&named.id) => {}
                None => {
                    let file = directory.open_file(&named.name, named.id)?;
                    self.pinned.extend(file.map(|file| (named.id, HeldFile::new(file))));
                }
            }
        }
        Ok(())
    }

    /// Drops surplus files, the oldest first, and counts their unread bytes.
    pub(super) fn limit_held(&mut self) {
        while self.queue.len() > MAX_HELD {
            self.cut = None;
            let Some(oldest) = self.queue.pop_front() else { break };
            self.drop_copies(oldest.id());
            let unread = oldest.unread_bytes();
            if unread > 0 {
                self.gaps.bytes += unread;
                // The pending line ends in the lost bytes, and the next one may start there.
                self.gap = Some(oldest.ends_within_a_line());
            }
        }
        // Later copies have everything that earlier ones have.
        while self.copies.len() > MAX_HELD {
            let CopyCandidate { id, file, .. } = self.copies.remove(0);
            self.mark_read(id, file);
        }
    }
}
