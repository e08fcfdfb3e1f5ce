//! Writer of the time indexes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::libc::O_NOFOLLOW;

use super::{INTERVAL, MAX_RECORDS, RECORD, Record, TimeIndex, name};
use crate::file_id::FileId;

/// Records of one log file that are not saved yet, at most: while the disk is full.
const MAX_PENDING: usize = 64;
/// Log files whose state is in memory.
const MAX_FILES: usize = 4096;

/// Records the times of all log files.
#[derive(Debug)]
pub struct Recorder {
    directory: PathBuf,
    files: BTreeMap<FileId, Recorded>,
    failed: bool,
}

#[derive(Debug)]
struct Recorded {
    interval: u64,
    saved: usize,
    last: Option<Record>,
    pending: Vec<Record>,
    /// True if the file on disk is of older content, or damaged.
    is_stale: bool,
}

impl Recorder {
    /// Creates the directory, which the group `adm` may read. Without it, a warning is logged, and nothing is recorded.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        let created = fs::create_dir_all(&directory).and_then(|()| share(&directory));
        if let Err(error) = &created {
            log::warn!("cannot create {}: {error}; logs have no times of their lines", directory.display());
        }
        Self { directory, files: BTreeMap::new(), failed: created.is_err() }
    }

    /// Takes note that the bytes of a file from `offset` on were read at a time.
    pub fn note(&mut self, id: FileId, offset: u64, time: SystemTime) {
        let time = time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
        let time = u64::try_from(time).unwrap_or(u64::MAX);
        if self.files.len() >= MAX_FILES && !self.files.contains_key(&id) {
            self.save();
            let oldest = self.files.iter().min_by_key(|(_, recorded)| recorded.last.map(|last| last.time));
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.files.remove(&oldest);
            }
        }
        let directory = &self.directory;
        self.files.entry(id).or_insert_with(|| Recorded::load(directory, id)).note(offset, time);
    }

    /// Saves new records, one small write for each log that has some.
    pub fn save(&mut self) {
        let Self { directory, files, failed } = self;
        for (id, recorded) in files {
            if recorded.pending.is_empty() && !recorded.is_stale {
                continue;
            }
            let path = directory.join(name(*id));
            match recorded.save(&path) {
                Ok(()) => *failed = false,
                Err(error) => {
                    if !std::mem::replace(failed, true) {
                        log::warn!(
                            "cannot write {}: {error}; logs lack times of their lines",
                            path.display()
                        );
                    }
                    recorded.pending.truncate(MAX_PENDING);
                }
            }
        }
    }

    /// Removes the indexes of log files that do not exist any more.
    pub fn retain(&mut self, existing: &BTreeSet<FileId>) {
        self.files.retain(|id, _| existing.contains(id));
        let names: BTreeSet<String> = existing.iter().map(|id| name(*id)).collect();
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_str().is_none_or(|name| !names.contains(name)) {
                // Tried again by the next call.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Gives a directory, and the files in it, to the readers of logs.
fn share(directory: &Path) -> io::Result<()> {
    if nix::unistd::geteuid().is_root()
        && let Some(readers) = kit::system_account::group("adm")
    {
        nix::unistd::chown(directory, None, Some(readers.into()))?;
    }
    fs::set_permissions(directory, Permissions::from_mode(0o2750))
}

/// Removes what a kill or a damage has left behind the last whole record.
fn truncate(path: &Path, length: u64) -> io::Result<()> {
    OpenOptions::new().write(true).custom_flags(O_NOFOLLOW).open(path)?.set_len(length)
}

impl Recorded {
    fn load(directory: &Path, id: FileId) -> Self {
        // What cannot be read is replaced.
        let index = TimeIndex::read(directory, id).unwrap_or_default();
        let path = directory.join(name(id));
        let length = fs::symlink_metadata(&path).map_or(0, |meta| meta.len());
        let mut whole = if index.interval == 0 { 0 } else { (RECORD * (1 + index.records.len())) as u64 };
        if 0 < whole && whole < length && truncate(&path, whole).is_ok() {
            whole = length;
        }
        Self {
            interval: index.interval.max(INTERVAL),
            saved: index.records.len(),
            last: index.records.last().copied(),
            pending: Vec::new(),
            is_stale: length != whole,
        }
    }

    fn note(&mut self, offset: u64, time: u64) {
        match self.last {
            // Truncated, or another content.
            Some(last) if offset == 0 && last.offset > 0 => {
                *self =
                    Self { interval: INTERVAL, saved: 0, last: None, pending: Vec::new(), is_stale: true };
            }
            // Read again after a kill.
            Some(last) if offset <= last.offset => return,
            Some(last) if (last.time..last.time + self.interval).contains(&time) => return,
            _ => {}
        }
        let record = Record { time, offset };
        self.last = Some(record);
        self.pending.push(record);
    }

    fn save(&mut self, path: &Path) -> io::Result<()> {
        let index = TimeIndex { interval: self.interval, records: std::mem::take(&mut self.pending) };
        let saved = self.append(path, &index);
        if saved.is_err() {
            self.pending = index.records;
        }
        saved
    }

    fn append(&mut self, path: &Path, index: &TimeIndex) -> io::Result<()> {
        if self.saved + index.records.len() > MAX_RECORDS {
            return self.thin(path, index);
        }
        let is_new = self.saved == 0 || self.is_stale;
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).mode(0o640).custom_flags(O_NOFOLLOW).open(path)?;
        let bytes = index.to_bytes();
        if is_new {
            self.rewrite(&mut file, index)
        } else {
            let before = file.metadata()?.len();
            let written = file.write_all(&bytes[RECORD..]);
            if written.is_err() {
                // The part that fitted.
                let _ = file.set_len(before);
            }
            written?;
            self.saved += index.records.len();
            Ok(())
        }
    }

    fn rewrite(&mut self, file: &mut File, index: &TimeIndex) -> io::Result<()> {
        file.set_len(0)?;
        self.saved = 0;
        self.is_stale = true;
        file.write_all(&index.to_bytes())?;
        self.is_stale = false;
        self.saved = index.records.len();
        Ok(())
    }

    /// Keeps every second record.
    fn thin(&mut self, path: &Path, new: &TimeIndex) -> io::Result<()> {
        let bytes = fs::read(path)?;
        let mut index = TimeIndex::parse(&bytes);
        index.records.extend(&new.records);
        let mut keep = false;
        index.records.retain(|_| {
            keep = !keep;
            keep
        });
        self.interval *= 2;
        index.interval = self.interval;
        let beside = path.with_extension("new");
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o640)
            .custom_flags(O_NOFOLLOW)
            .open(&beside)?;
        file.write_all(&index.to_bytes())?;
        fs::rename(&beside, path)?;
        self.saved = index.records.len();
        self.is_stale = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BEGIN: u64 = 1_795_478_400;

    fn id(directory: &Path) -> FileId {
        FileId::from_metadata(&fs::metadata(directory).unwrap())
    }

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(BEGIN + second)
    }

    #[test]
    fn what_is_recorded_is_read_also_after_a_restart() {
        // (offset, second) of each read, and what is recorded; a restart is before offset 7.
        for (reads, recorded) in [
            (&[(0, 0), (10, 5), (20, 9)][..], &[(0, 0), (10, 5), (20, 9)][..]),
            (&[(0, 0), (10, 0), (20, 1)], &[(0, 0), (20, 1)]),
            (&[(0, 0), (7, 4), (9, 8)], &[(0, 0), (7, 4), (9, 8)]),
            (&[(0, 0), (20, 4), (7, 8), (30, 9)], &[(0, 0), (20, 4), (30, 9)]),
            (&[(0, 0), (20, 4), (0, 8)], &[(0, 8)]),
            (&[(0, 100), (20, 50), (30, 51)], &[(0, 100), (20, 50), (30, 51)]),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let directory = dir.path().join("times");
            let mut recorder = Recorder::new(directory.clone());
            for &(offset, second) in reads {
                if offset == 7 {
                    recorder = Recorder::new(directory.clone());
                }
                recorder.note(id(dir.path()), offset, at(second));
                recorder.save();
            }
            let expected =
                recorded.iter().map(|&(offset, second)| Record { time: (BEGIN + second) * 1_000, offset });
            let found = TimeIndex::read(&directory, id(dir.path())).unwrap();
            assert_eq!(found.records, expected.collect::<Vec<_>>(), "{reads:?}");
            recorder.retain(&BTreeSet::new());
            assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_long_time_makes_the_record_coarser_and_not_larger() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("times");
        let mut recorder = Recorder::new(directory.clone());
        let seconds = 5 * MAX_RECORDS as u64;
        for second in 0..seconds {
            recorder.note(id(dir.path()), second * 100, at(second));
            if second % 10 == 0 {
                recorder.save();
            }
        }
        recorder.save();
        let size = fs::metadata(directory.join(name(id(dir.path())))).unwrap().len();
        assert!(size <= (RECORD * (MAX_RECORDS + 1)) as u64, "{size}");
        let found = TimeIndex::read(&directory, id(dir.path())).unwrap();
        for second in [0, 1_000, seconds / 2, seconds - 20] {
            let offset = found.offset_at(crate::line_time::seconds(at(second))).unwrap();
            assert!(offset <= second * 100 && second * 100 <= offset + 100 * 20, "{second}: {offset}");
        }
    }

    #[test]
    fn with_very_many_files_no_record_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("times");
        let mut recorder = Recorder::new(directory.clone());
        let mut ids = Vec::new();
        for second in 0..=MAX_FILES as u64 {
            let path = dir.path().join(second.to_string());
            fs::write(&path, "").unwrap();
            ids.push(FileId::from_metadata(&fs::metadata(path).unwrap()));
            recorder.note(ids[ids.len() - 1], 0, at(second));
        }
        assert_eq!((recorder.files.len(), recorder.files.contains_key(&ids[0])), (MAX_FILES, false));
        assert_eq!(TimeIndex::read(&directory, ids[0]).unwrap().records.len(), 1);
    }
}
