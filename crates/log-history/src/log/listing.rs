//! The files of a log, and what happens to them.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use kit::missing_ok;

use super::{Change, Log, OPEN, Segment};
use crate::content::Content;
use crate::file_id::FileId;
use crate::file_name::Compression;
use crate::line_time;
use crate::log_files::LogFile;

/// Time after a change of the directory within which another may not change its time again.
const CLOCK_TICK: Duration = Duration::from_millis(20);

/// A listing of the directory.
#[derive(Debug)]
pub(super) struct Listed {
    /// Last change of the directory; nothing if it was too recent to notice a later one.
    changed: Option<SystemTime>,
}

impl Log {
    /// Finds new files and sizes; returns what has changed since the last call.
    pub fn refresh(&mut self) -> Result<Change> {
        let cannot = |error: io::Error, log: &Self| {
            anyhow::Error::new(error).context(format!("cannot read {}", log.directory.path().display()))
        };
        let directory = missing_ok(fs::symlink_metadata(self.directory.path()))
            .map_err(|error| cannot(error, self))?
            .and_then(|meta| meta.modified().ok());
        let is_listed = self
            .listed
            .as_ref()
            .is_some_and(|listed| listed.changed.is_some() && listed.changed == directory);
        let before = std::mem::take(&mut self.segments);
        if is_listed {
            self.segments.clone_from(&before);
        } else {
            self.list(&before).map_err(|error| cannot(error, self))?;
            let settled = |changed: &SystemTime| changed.elapsed().is_ok_and(|age| age >= CLOCK_TICK);
            self.listed = Some(Listed { changed: directory.filter(settled) });
        }
        let truncated = self.update_current(&before);
        let ids = |segments: &[Segment]| segments.iter().map(|segment| segment.named.id).collect::<Vec<_>>();
        let length = |segments: &[Segment]| segments.last().map(|last| last.length);
        Ok(if self.segments.is_empty() {
            if before.is_empty() { Change::None } else { Change::Gone }
        } else if truncated {
            self.indexes.clear();
            Change::Truncated
        } else if ids(&before) != ids(&self.segments) {
            Change::Rotated
        } else if length(&before) != length(&self.segments) {
            Change::Grown
        } else {
            Change::None
        })
    }

    fn list(&mut self, before: &[Segment]) -> io::Result<()> {
        self.problems.clear();
        let files = self.directory.files_of(&self.base)?;
        let known: BTreeMap<FileId, &Segment> =
            before.iter().map(|segment| (segment.named.id, segment)).collect();
        let current = files.base_id();
        for named in files.files().rev() {
            if named.packing == Compression::Opaque {
                self.problems.insert(self.path_of(&named.name), "only gzip can be decompressed".to_owned());
                continue;
            }
            let path = self.directory.path().join(&named.name);
            let Ok(meta) = fs::symlink_metadata(path) else { continue };
            let before = known.get(&named.id).filter(|before| before.named.packing == named.packing);
            let length = match before {
                Some(before) if named.packing == Compression::Gzip => before.length,
                _ if named.packing == Compression::Gzip => self.estimate(named, &meta),
                _ => meta.len(),
            };
            self.segments.push(Segment {
                named: named.clone(),
                length,
                modified: meta.modified().map_or(0.0, line_time::seconds),
                head: before.map_or(0, |before| before.head),
                is_current: current == Some(named.id),
            });
        }
        let ids: Vec<FileId> = self.segments.iter().map(|segment| segment.named.id).collect();
        self.open.retain(|(id, _)| ids.contains(id));
        Ok(())
    }

    /// Returns the size that a compressed file states at its end (RFC 1952).
    fn estimate(&mut self, named: &LogFile, meta: &Metadata) -> u64 {
        let mut size = [0; 4];
        let file = self.directory.open_file(&named.name, named.id).ok().flatten();
        let read = file.zip(meta.len().checked_sub(4)).map(|(file, at)| file.read_exact_at(&mut size, at));
        let stated = if matches!(read, Some(Ok(()))) { u32::from_le_bytes(size) } else { 0 };
        u64::from(stated).max(meta.len())
    }

    /// Updates size and first bytes of the current file; returns true if it was truncated or rewritten.
    fn update_current(&mut self, before: &[Segment]) -> bool {
        let Some(index) = self.segments.len().checked_sub(1).filter(|last| self.segments[*last].is_current)
        else {
            return false;
        };
        let Some(content) = self.content(index) else { return false };
        let (Ok(head), Ok(length)) = (content.head(), content.len()) else { return false };
        let segment = &mut self.segments[index];
        let before = before.iter().find(|before| before.named.id == segment.named.id);
        if segment.length != length {
            // Its time index has grown with it.
            let id = segment.named.id;
            self.indexes.retain(|(of, _)| *of != id);
        }
        (segment.head, segment.length) = (head, length);
        before.is_some_and(|before| length < before.length || (before.head != 0 && before.head != head))
    }

    /// Opens a file; nothing if it cannot be read, which is a problem of the log, or is gone.
    pub(super) fn content(&mut self, index: usize) -> Option<Content> {
        let named = &self.segments[index].named;
        if let Some(at) = self.open.iter().position(|(id, _)| *id == named.id) {
            let found = self.open.remove(at);
            self.open.extend(found);
            return self.open.back().map(|(_, content)| content.clone());
        }
        let opened = self.source(index).open();
        let named = &self.segments[index].named;
        match opened {
            Ok(Some(content)) => {
                if self.open.len() >= OPEN {
                    self.open.pop_front();
                }
                self.open.push_back((named.id, content.clone()));
                Some(content)
            }
            Ok(None) => {
                let path = self.path_of(&self.segments[index].named.name);
                self.problems.insert(path, "it was removed".to_owned());
                None
            }
            Err(error) => {
                let path = self.path_of(&self.segments[index].named.name);
                self.problems.insert(path, error.to_string());
                None
            }
        }
    }
}
