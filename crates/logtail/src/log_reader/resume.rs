//! Checkpoints of a log, taken and resumed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::time::Instant;

use log_history::file_id::FileId;
use log_history::file_name::Compression;
use log_history::log_directory::LogDirectory;
use log_history::log_files::{LogFile, LogFiles};

use super::LogReader;
use super::held_file::{HeldFile, MAX_ATTEMPTS};
use super::rotated_file::RotatedFile;
use crate::checkpoint::{Checkpoint, FileCheckpoint};
use crate::compressed::{self, ContentSum};
use crate::file_reader::FileReader;
use crate::fingerprint::Fingerprint;

impl LogReader {
    /// Returns a reader that continues at a checkpoint, wherever that file is now.
    pub fn resume(
        name: &str,
        checkpoint: Checkpoint,
        directory: &LogDirectory,
        files: &LogFiles,
    ) -> io::Result<Self> {
        let mut stream = Self { known: checkpoint.known, ..Self::from_oldest(name) };
        for named in directory.list()?.bases().filter(|named| stream.known.contains(&named.id)) {
            let file = directory.open_file(&named.name, named.id)?;
            stream.away.extend(file.map(|file| (named.id, HeldFile::new(file))));
        }
        stream.match_compressed_known(checkpoint.content_sums, directory, files)?;
        for spot in checkpoint.rotated {
            let id = spot.file;
            let was_read = stream.known.contains(&id);
            let is_packed = |file: &LogFile| file.packing == Compression::Gzip;
            let found = match stream.find(directory, files, id)? {
                Some(file) => Some((id, file)),
                // Except one that is read again, because a line starts in it.
                None if was_read => stream.copy_with(&spot.fingerprint, directory, files, is_packed)?,
                None => None,
            };
            if let Some((now, file)) = found {
                if now != id {
                    stream.known.insert(now);
                }
                stream.late.push(RotatedFile::new(spot.resume(file, now), Instant::now()));
            }
        }
        if let Some(spot) = checkpoint.reading {
            let reader = match stream.find(directory, files, spot.file)? {
                Some(file) => Some((spot.file, file)),
                None => stream.copy_with(&spot.fingerprint, directory, files, |_| true)?,
            };
            stream.lost_position = reader.is_none();
            stream.resumed = reader.as_ref().map(|(id, _)| *id);
            stream.queue.extend(reader.map(|(id, file)| spot.resume(file, id)));
        }
        Ok(stream)
    }

    /// Matches compressed files with known files that are gone, one each.
    fn match_compressed_known(
        &mut self,
        mut content_sums: Vec<(FileId, ContentSum)>,
        directory: &LogDirectory,
        files: &LogFiles,
    ) -> io::Result<()> {
        content_sums.retain(|(id, _)| files.files().all(|file| file.id != *id));
        let packed =
            files.files().filter(|file| file.packing == Compression::Gzip && !self.known.contains(&file.id));
        let packed: Vec<&LogFile> = packed.collect();
        for named in packed.into_iter().rev() {
            if let Some(file) = directory.open_file(&named.name, named.id)?
                && let Ok(unpacked) = compressed::decompress(&file)
                && let Ok(found) = ContentSum::of(&unpacked)
                && let Some(index) = content_sums.iter().position(|(_, known)| *known == found)
            {
                content_sums.swap_remove(index);
                self.known.insert(named.id);
            }
        }
        Ok(())
    }

    /// Returns the oldest new file with the content that was read of one that is gone: it was compressed, or copied, truncated
    /// and deleted.
    fn copy_with(
        &mut self,
        mark: &Fingerprint,
        directory: &LogDirectory,
        files: &LogFiles,
        takes: impl Fn(&LogFile) -> bool,
    ) -> io::Result<Option<(FileId, File)>> {
        let readable = |file: &&LogFile| file.packing != Compression::Opaque && takes(file);
        for named in files.rotated.iter().rev().filter(readable) {
            if mark.end() > 0
                && !self.known.contains(&named.id)
                && let Some(file) = directory.open_file(&named.name, named.id)?
                && let Some(file) = self.unpacked(named, file)
                && mark.matches(&file)?
            {
                return Ok(Some((named.id, file)));
            }
        }
        Ok(None)
    }

    /// Opens a file by its identity, under any name.
    fn find(
        &mut self,
        directory: &LogDirectory,
        files: &LogFiles,
        meant: FileId,
    ) -> io::Result<Option<File>> {
        let mut files = files.clone();
        for _ in 0..MAX_ATTEMPTS {
            let mut named = files.files().find(|file| file.id == meant).cloned();
            if named.is_none() {
                named = directory.list()?.bases().find(|file| file.id == meant).cloned();
            }
            let Some(named) = named else { break };
            if let Some(file) = directory.open_file(&named.name, meant)? {
                return Ok(self.unpacked(&named, file));
            }
            files = directory.files_of(&self.name)?;
        }
        Ok(None)
    }

    /// Returns the position at which a restart continues.
    pub fn checkpoint(&self) -> Checkpoint {
        let (front, pending) = (self.queue.front(), self.lines.pending());
        let read = front.map_or(0, FileReader::offset);
        let mut unread: BTreeSet<FileId> = self.queue.iter().skip(1).map(FileReader::id).collect();
        let reading = match &self.cut {
            Some(cut) if pending > read => {
                unread.extend(front.map(FileReader::id).into_iter().chain(cut.over.iter().copied()));
                Some(FileCheckpoint {
                    file: cut.file,
                    offset: cut.offset,
                    fingerprint: cut.fingerprint.clone(),
                })
            }
            _ => front.map(|front| FileCheckpoint::of(front, pending)),
        };
        let rotated =
            self.late.iter().map(|late| FileCheckpoint::of(late.reader(), late.lines().pending())).collect();
        let known = self.known.iter().chain(self.away.keys()).filter(|id| !unread.contains(id));
        let known: BTreeSet<FileId> = known.copied().collect();
        let is_read =
            |id: &FileId| known.contains(id) && reading.as_ref().is_none_or(|spot| spot.file != *id);
        let pinned = self.pinned.iter().filter(|(id, _)| is_read(id));
        let content_sums = pinned.filter_map(|(id, pinned)| Some((*id, pinned.content_sum?))).collect();
        Checkpoint { reading, known, content_sums, rotated }
    }
}
