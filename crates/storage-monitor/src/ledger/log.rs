//! The whole log: read into what is ours, and written from it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, BufRead, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use anyhow::Result;

use super::Ledger;
use super::records::{Read, Record, Records};
use crate::draft::Draft;
use crate::held::Source;

/// So many bytes of records are written at once.
const CHUNK: usize = 64 << 10;

impl Ledger {
    /// Applies all records, but fails if there are more than `most`; says whether the last one was whole.
    pub(super) fn replay(
        &mut self,
        log: impl BufRead,
        believe: impl Fn(&Path, &Path) -> bool,
        most: usize,
    ) -> io::Result<bool> {
        let mut drafts: BTreeMap<Rc<Path>, Draft> = BTreeMap::new();
        let mut records = Records::new(log);
        // The directory that links were told about last.
        let mut current: Option<Rc<Path>> = None;
        let whole = loop {
            let record = match records.next()? {
                Read::End => break true,
                Read::Torn => break false,
                Read::Whole(record) => record,
            };
            self.records += 1;
            if self.records > most {
                return Err(io::Error::other(format!("it has more than {most} records")));
            }
            let Some((directory, name)) = record.link() else { continue };
            match record {
                Record::Directory(path) if believe(directory, Path::new("")) => {
                    self.directories.insert(path.into());
                }
                Record::Forget(path) => {
                    self.directories.remove(path);
                }
                Record::Link(_, source) if believe(directory, source) => {
                    let number = self.number(source);
                    if current.as_deref() != Some(directory) {
                        if let Some(draft) = current.and_then(|former| drafts.get_mut(&former)) {
                            draft.close();
                        }
                        current = Some(
                            self.directories.get(directory).cloned().unwrap_or_else(|| directory.into()),
                        );
                    }
                    if let Some(current) = &current {
                        let draft =
                            drafts.entry(Rc::clone(current)).or_insert_with(|| Draft::new(&self.pool));
                        draft.link(name, number);
                    }
                }
                Record::Unlink(_, source) if believe(directory, source) => {
                    // One without a number is none into which a link of ours could lead.
                    if let (Some(draft), Some(number)) = (drafts.get_mut(directory), self.known(source)) {
                        draft.unlink(name, number);
                    }
                }
                Record::Directory(_) | Record::Link(..) | Record::Unlink(..) | Record::Other => {}
            }
        };
        for (path, draft) in drafts {
            let (held, doubts) = draft.settle();
            if !doubts.is_empty() {
                self.doubts.insert(path.to_path_buf(), doubts);
            }
            self.count += held.len();
            if !held.is_empty() {
                self.links.insert(path, held);
            }
        }
        Ok(whole)
    }

    /// Writes the log anew, without history.
    pub(super) fn rewrite(&mut self) -> Result<()> {
        let Self { file, directories, links, doubts, sources, .. } = self;
        let source = |number: Source| sources.get(number as usize).map_or(Path::new(""), |source| source);
        file.replace(|log| {
            let mut records = Vec::new();
            for path in directories.iter() {
                Record::Directory(path).write(&mut records);
            }
            for (directory, held) in links.iter() {
                let doubts = doubts.get(&**directory);
                for (name, number) in held.iter() {
                    let path = directory.join(OsStr::from_bytes(name));
                    if let Some(before) = doubts.and_then(|doubts| doubts.get(name)) {
                        Record::Link(&path, source(*before)).write(&mut records);
                    }
                    Record::Link(&path, source(number)).write(&mut records);
                    if records.len() >= CHUNK {
                        log.write_all(&records)?;
                        records.clear();
                    }
                }
            }
            log.write_all(&records)
        })?;
        self.records = self.count() + self.directories.len();
        self.torn = false;
        Ok(())
    }
}
