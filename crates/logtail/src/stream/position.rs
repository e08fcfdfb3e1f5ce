//! A log's position, taken and resumed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::time::Instant;

use super::Stream;
use super::held_file::{Pinned, TRIES};
use super::late::Late;
use crate::directory::Directory;
use crate::generation::Generation;
use crate::identity::FileId;
use crate::mark::Mark;
use crate::names::Packing;
use crate::packed::{self, Fingerprint};
use crate::plan::{Family, Named};
use crate::position::{Position, Spot};

impl Stream {
    /// A log that was read up to a position, wherever that file is by now.
    pub fn resumed(
        name: &str,
        position: Position,
        directory: &Directory,
        family: &Family,
    ) -> io::Result<Self> {
        let mut stream = Self { known: position.known, ..Self::whole(name) };
        for named in directory.list()?.bases().filter(|named| stream.known.contains(&named.id)) {
            let file = directory.open_file(&named.name, named.id)?;
            stream.away.extend(file.map(|file| (named.id, Pinned::new(file))));
        }
        stream.know_packed(position.fingerprints, directory, family)?;
        for spot in position.late {
            let id = spot.file;
            let was_read = stream.known.contains(&id);
            let is_packed = |file: &Named| file.packing == Packing::Gzip;
            let found = match stream.find(directory, family, id)? {
                Some(file) => Some((id, file)),
                // Unless it is read once more, because a line begins in it.
                None if was_read => stream.copy_with(&spot.mark, directory, family, is_packed)?,
                None => None,
            };
            if let Some((now, file)) = found {
                if now != id {
                    stream.known.insert(now);
                }
                stream.late.push(Late::new(spot.resume(file, now), Instant::now()));
            }
        }
        if let Some(spot) = position.reading {
            let generation = match stream.find(directory, family, spot.file)? {
                Some(file) => Some((spot.file, file)),
                None => stream.copy_with(&spot.mark, directory, family, |_| true)?,
            };
            stream.is_astray = generation.is_none();
            stream.resumed = generation.as_ref().map(|(id, _)| *id);
            stream.queue.extend(generation.map(|(id, file)| spot.resume(file, id)));
        }
        Ok(stream)
    }

    /// Knows the compressed forms of known files that are gone, one of each.
    fn know_packed(
        &mut self,
        mut fingerprints: Vec<(FileId, Fingerprint)>,
        directory: &Directory,
        family: &Family,
    ) -> io::Result<()> {
        fingerprints.retain(|(id, _)| family.files().all(|file| file.id != *id));
        let packed =
            family.files().filter(|file| file.packing == Packing::Gzip && !self.known.contains(&file.id));
        let packed: Vec<&Named> = packed.collect();
        for named in packed.into_iter().rev() {
            if let Some(file) = directory.open_file(&named.name, named.id)?
                && let Ok(unpacked) = packed::unpack(&file)
                && let Ok(found) = Fingerprint::of(&unpacked)
                && let Some(index) = fingerprints.iter().position(|(_, known)| *known == found)
            {
                fingerprints.swap_remove(index);
                self.known.insert(named.id);
            }
        }
        Ok(())
    }

    /// The oldest new file that holds what was read of one that has gone: that one was compressed, or copied, cut and
    /// deleted then.
    fn copy_with(
        &mut self,
        mark: &Mark,
        directory: &Directory,
        family: &Family,
        takes: impl Fn(&Named) -> bool,
    ) -> io::Result<Option<(FileId, File)>> {
        let readable = |file: &&Named| file.packing != Packing::Opaque && takes(file);
        for named in family.rotated.iter().rev().filter(readable) {
            if mark.end() > 0
                && !self.known.contains(&named.id)
                && let Some(file) = directory.open_file(&named.name, named.id)?
                && let Some(file) = self.unpacked(named, file)
                && mark.is_in(&file)?
            {
                return Ok(Some((named.id, file)));
            }
        }
        Ok(None)
    }

    /// Opens the file that was meant, whatever it is called by now.
    fn find(&mut self, directory: &Directory, family: &Family, meant: FileId) -> io::Result<Option<File>> {
        let mut family = family.clone();
        for _ in 0..TRIES {
            let mut named = family.files().find(|file| file.id == meant).cloned();
            if named.is_none() {
                named = directory.list()?.bases().find(|file| file.id == meant).cloned();
            }
            let Some(named) = named else { break };
            if let Some(file) = directory.open_file(&named.name, meant)? {
                return Ok(self.unpacked(&named, file));
            }
            family = directory.family(&self.name)?;
        }
        Ok(None)
    }

    /// Where to go on after a restart.
    pub fn position(&self) -> Position {
        let (front, pending) = (self.queue.front(), self.lines.pending());
        let read = front.map_or(0, Generation::offset);
        let mut unread: BTreeSet<FileId> = self.queue.iter().skip(1).map(Generation::id).collect();
        let reading = match &self.cut {
            Some(cut) if pending > read => {
                unread.extend(front.map(Generation::id).into_iter().chain(cut.over.iter().copied()));
                Some(Spot { file: cut.file, offset: cut.offset, mark: cut.mark.clone() })
            }
            _ => front.map(|front| Spot::of(front, pending)),
        };
        let late = self.late.iter().map(|late| Spot::of(late.generation(), late.lines().pending())).collect();
        let known = self.known.iter().chain(self.away.keys()).filter(|id| !unread.contains(id));
        let known: BTreeSet<FileId> = known.copied().collect();
        let is_read =
            |id: &FileId| known.contains(id) && reading.as_ref().is_none_or(|spot| spot.file != *id);
        let pinned = self.pinned.iter().filter(|(id, _)| is_read(id));
        let fingerprints = pinned.filter_map(|(id, pinned)| Some((*id, pinned.fingerprint?))).collect();
        Position { reading, known, fingerprints, late }
    }
}
