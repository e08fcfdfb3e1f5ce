//! How far a log was read, in a form that outlives us.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::late::Late;
use super::{Stream, TRIES};
use crate::directory::Directory;
use crate::generation::Generation;
use crate::identity::FileId;
use crate::mark::Mark;
use crate::plan::Family;

/// How far a log was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    reading: Option<Spot>,
    known: BTreeSet<FileId>,
    /// In the file before, whose writer may not have noticed that it was rotated.
    late: Option<Spot>,
}

/// A place in a file. The mark tells whether the file still holds what it held: one that is copied and cut is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Spot {
    file: FileId,
    offset: u64,
    /// Of all that was read, also behind the offset, where a line has begun.
    mark: Mark,
}

impl Spot {
    /// Where a file is read on, so many bytes of which are not handed out.
    fn of(generation: &Generation, pending: u64) -> Self {
        let offset = generation.offset().saturating_sub(pending);
        Self { file: generation.id(), offset, mark: generation.mark().clone() }
    }

    fn resume(self, file: File, id: FileId) -> Generation {
        Generation::resumed(file, id, self.offset, self.mark)
    }
}

impl Stream {
    /// A log that was read up to a position, wherever that file is by now.
    pub fn resumed(
        name: &str,
        position: Position,
        directory: &Directory,
        family: &Family,
    ) -> io::Result<Self> {
        let mut stream = Self { known: position.known, ..Self::whole(name) };
        if let Some(spot) = position.reading {
            let generation = match find(name, directory, family, spot.file)? {
                Some(file) => Some((spot.file, file)),
                None => stream.copy_with(&spot.mark, directory, family)?,
            };
            stream.is_astray = generation.is_none();
            stream.queue.extend(generation.map(|(id, file)| spot.resume(file, id)));
        }
        if let Some(spot) = position.late
            && let Some(file) = find(name, directory, family, spot.file)?
        {
            let id = spot.file;
            stream.late = Some(Late::new(spot.resume(file, id), Instant::now()));
        }
        Ok(stream)
    }

    /// The oldest new file that holds what was read of one that has gone: that one was copied, cut, and deleted then.
    fn copy_with(
        &self,
        mark: &Mark,
        directory: &Directory,
        family: &Family,
    ) -> io::Result<Option<(FileId, File)>> {
        for &(_, id) in family.rotated.iter().rev().filter(|(_, id)| !self.known.contains(id)) {
            if let Some(file) = find(&self.name, directory, family, id)?
                && mark.end() > 0
                && mark.is_in(&file)?
            {
                return Ok(Some((id, file)));
            }
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
        let late = self.late.as_ref().map(|late| Spot::of(late.generation(), late.lines().pending()));
        Position { reading, known: self.known.difference(&unread).copied().collect(), late }
    }
}

/// Opens the file that was meant, whatever it is called by now.
fn find(name: &str, directory: &Directory, family: &Family, meant: FileId) -> io::Result<Option<File>> {
    let mut family = family.clone();
    for _ in 0..TRIES {
        let rotated = family.rotated.iter().map(|&(number, id)| (format!("{name}.{number}"), id));
        let base = family.base.map(|id| (name.to_owned(), id));
        let Some((now, _)) = base.into_iter().chain(rotated).find(|&(_, id)| id == meant) else { break };
        if let Some(file) = directory.open_file(&now, meant)? {
            return Ok(Some(file));
        }
        family = directory.family(name)?;
    }
    Ok(None)
}
