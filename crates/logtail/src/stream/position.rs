//! How far a log was read, in a form that outlives us.

use std::collections::BTreeSet;
use std::io;

use serde::{Deserialize, Serialize};

use super::Stream;
use crate::directory::Directory;
use crate::generation::Generation;
use crate::identity::FileId;
use crate::lines::Lines;
use crate::plan::Family;

/// How far a log was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    file: Option<FileId>,
    offset: u64,
    known: BTreeSet<FileId>,
    /// The file before, whose writer may not have noticed that it was rotated.
    #[serde(default)]
    late: Option<(FileId, u64)>,
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
        let open = |id: FileId, offset: u64| -> io::Result<Option<Generation>> {
            let rotated = family.rotated.iter().map(|&(number, id)| (format!("{name}.{number}"), id));
            let base = family.base.map(|id| (name.to_owned(), id));
            let Some((name, _)) = base.into_iter().chain(rotated).find(|&(_, other)| other == id) else {
                return Ok(None);
            };
            let file = directory.open_file(&name, id)?;
            file.map(|file| Generation::at(file, id, offset)).transpose()
        };
        if let Some(id) = position.file {
            stream.queue.extend(open(id, position.offset)?);
        }
        if let Some((id, offset)) = position.late {
            stream.late = open(id, offset)?.map(|late| (late, Lines::default()));
        }
        Ok(stream)
    }

    /// Where to go on after a restart.
    pub fn position(&self) -> Position {
        let (front, pending) = (self.queue.front(), self.lines.pending());
        let read = front.map_or(0, Generation::offset);
        let mut unread: BTreeSet<FileId> = self.queue.iter().skip(1).map(Generation::id).collect();
        let (file, offset) = match &self.cut {
            Some(cut) if pending > read => {
                unread.extend(front.map(Generation::id).into_iter().chain(cut.over.iter().copied()));
                (Some(cut.file), cut.offset)
            }
            _ => (front.map(Generation::id), read.saturating_sub(pending)),
        };
        let late = self.late.as_ref();
        let late = late.map(|(late, lines)| (late.id(), late.offset().saturating_sub(lines.pending())));
        Position { file, offset, known: self.known.difference(&unread).copied().collect(), late }
    }
}
