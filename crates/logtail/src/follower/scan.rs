//! Scans of the directories for logs that appear, rotate or disappear.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::Instant;

use log_history::file_id::FileId;
use log_history::log_files::LogFiles;
use nix::errno::Errno;

use super::followed::{Followed, LogKey};
use super::{CLEAN_INTERVAL, Follower};
use crate::log_reader::LogReader;

/// One scan of all directories.
struct Scan {
    now: Instant,
    /// True if there were no checkpoints: rotated files are old then, and not read.
    is_first: bool,
    /// Number of files that each name has lost since the last scan.
    removals: BTreeMap<LogKey, usize>,
    /// Problems by path.
    troubles: BTreeMap<String, String>,
    /// Files of all directories; nothing after one that could not be listed.
    files: Option<BTreeSet<FileId>>,
    /// True if a rotated file turned out to be a log of its own.
    is_split: bool,
}

impl Scan {
    fn trouble(&mut self, path: &Path, why: String) {
        self.troubles.insert(format!("cannot read {}", path.display()), why);
    }
}

impl Follower {
    /// Scans all directories, opens new files, and drops logs that are gone.
    pub(super) fn scan(&mut self) {
        let now = Instant::now();
        let is_first = self.looked.replace(now).is_none() && self.checkpoints.is_first_run();
        let removals = std::mem::take(&mut self.removals);
        let files = Some(BTreeSet::new());
        let mut scan = Scan { now, is_first, removals, troubles: BTreeMap::new(), files, is_split: false };
        for index in 0..self.directories.len() {
            self.scan_directory(index, &mut scan);
        }
        self.report_new(scan.troubles);
        let is_due = self.cleaned.is_none_or(|cleaned| now.duration_since(cleaned) >= CLEAN_INTERVAL);
        if let Some(files) = scan.files.filter(|_| is_due) {
            self.times.retain(&files);
            self.cleaned = Some(now);
        }
        if scan.is_split {
            self.scan();
        }
    }

    fn scan_directory(&mut self, index: usize, scan: &mut Scan) {
        let watched = self.watch.watch_directory(index, &self.directories[index]);
        self.report_no_inotify(watched.err());
        let directory = self.directories[index].path().to_owned();
        let listing = match self.directories[index].list() {
            Ok(listing) => listing,
            Err(error) => {
                scan.files = None;
                return scan.trouble(&directory.join(""), error.to_string());
            }
        };
        scan.files.iter_mut().for_each(|files| files.extend(&listing.ids));
        for (name, why) in listing.refused {
            scan.trouble(&directory.join(name), why);
        }
        let keys = || (index, String::new())..(index + 1, String::new());
        for (_, log) in self.logs.range_mut(keys()) {
            log.stream.retain_listed(&listing.ids);
        }
        let names: BTreeSet<String> = listing.families.keys().cloned().collect();
        let gone = self.logs.range(keys()).map(|((_, name), _)| name.clone());
        let gone: Vec<String> = gone.filter(|name| !names.contains(name)).collect();
        let gone = gone.into_iter().map(|name| (name, LogFiles::default()));
        let mut own = BTreeSet::new();
        for (name, family) in listing.families.into_iter().chain(gone) {
            own.extend(self.scan_log((index, name), &family, &names, scan));
        }
        let streams = self.logs.range(keys());
        let owners = streams.flat_map(|((_, name), log)| log.stream.files().map(|id| (id, name.clone())));
        let owners = owners.collect();
        let directory = &mut self.directories[index];
        directory.own.extend(own);
        directory.owners = owners;
    }

    /// Scans one log; returns the names that are logs of their own.
    fn scan_log(
        &mut self,
        key: LogKey,
        family: &LogFiles,
        names: &BTreeSet<String>,
        scan: &mut Scan,
    ) -> Vec<String> {
        // Renamed to `x.1.log`, or to `x-20261128.log` before there is another `x.log`: read as lines of `x`.
        let is_renamed = !self.logs.contains_key(&key)
            && family.base_id().is_some_and(|id| self.is_of_another(&key, id, names));
        if is_renamed {
            return Vec::new();
        }
        let mut own = vec![key.1.clone()];
        let opened = self.open_or_resume(&key, family, scan.is_first);
        let directory = &self.directories[key.0];
        let path = directory.path().join(&key.1);
        if let Err(error) = opened {
            scan.trouble(&path, error.to_string());
        }
        let Some(followed) = self.logs.get_mut(&key) else { return own };
        if scan.removals.get(&key).is_some_and(|times| *times > 1) {
            followed.stream.mark_missed();
        }
        let looked = followed.stream.rescan(directory, family.clone(), scan.now);
        match looked.and_then(|()| followed.stream.release_unrelated(family)) {
            Ok(strangers) => {
                scan.is_split |= !strangers.is_empty();
                own.extend(strangers);
            }
            Err(error) => scan.trouble(&path, error.to_string()),
        }
        for text in followed.stream.take_gaps().messages(&followed.label) {
            self.sinks.push_notice(&text);
        }
        if *family == LogFiles::default() && followed.stream.is_finished() {
            self.logs.remove(&key);
        } else {
            self.ready.insert(key);
        }
        own
    }

    /// Follows a log from its checkpoint, if it is not followed yet. An error keeps the checkpoint.
    fn open_or_resume(&mut self, key: &LogKey, family: &LogFiles, is_first: bool) -> io::Result<()> {
        if self.logs.contains_key(key) {
            return Ok(());
        }
        let directory = &self.directories[key.0];
        let path = directory.path().join(&key.1);
        let left = self.checkpoints.pending(&path).map(|left| (path.as_path(), left));
        // Renamed while logtail was not running.
        let renamed = || family.base_id().and_then(|id| self.checkpoints.pending_in(directory.path(), id));
        let (former, stream) = match left.or_else(renamed) {
            Some((former, left)) => {
                (former.to_owned(), LogReader::resume(&key.1, left.clone(), directory, family)?)
            }
            None if is_first => (path, LogReader::from_current(&key.1, family)),
            None => (path, LogReader::from_oldest(&key.1)),
        };
        self.checkpoints.resumed(&former);
        self.logs.insert(key.clone(), Followed::new(stream));
        Ok(())
    }

    /// True if a file belongs to another log of the same directory instead of this new one.
    fn is_of_another(&self, key: &LogKey, id: FileId, names: &BTreeSet<String>) -> bool {
        let directory = self.directories[key.0].path();
        let mut others = self.logs.iter().filter(|(log, _)| log.0 == key.0);
        if others.any(|(_, log)| log.stream.files().any(|file| file == id)) {
            return true;
        }
        let left_in =
            self.checkpoints.pending_in(directory, id).and_then(|(log, _)| log.file_name()?.to_str());
        self.checkpoints.has_read(directory, &key.1, id)
            || left_in.is_some_and(|log| log != key.1 && names.contains(log))
    }

    /// Reports new problems, each once while it lasts.
    fn report_new(&mut self, troubles: BTreeMap<String, String>) {
        for (what, why) in &troubles {
            if self.remarked.get(what) != Some(why) {
                self.sinks.push_notice(&format!("{what}: {why}"));
            }
        }
        self.remarked = troubles;
    }

    /// Reports that events are not available.
    pub(super) fn report_no_inotify(&mut self, error: Option<Errno>) {
        if let Some(error) = error {
            let advice = "raise fs.inotify.max_user_instances and max_user_watches on the host";
            self.sinks.push_notice(&format!("inotify is not available ({error}), polling instead; {advice}"));
        }
    }
}
