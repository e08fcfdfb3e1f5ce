//! Hints: what the kernel tells about directories, and what people tell by signals.
//!
//! Each directory has a watch of its own, set when a pass has met it. A recursive watch would miss what comes into a new
//! directory before its watch does, and end at the first directory that it may not enter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use dirfd::Identity;
use nix::sys::signal::{SigSet, Signal};
use notify::{Config, ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::changes::{Changes, below};
use crate::heard::Heard;

#[derive(Debug, Default)]
struct Ear {
    heard: Mutex<Heard>,
    more: Condvar,
    /// The mappings file.
    mappings: PathBuf,
    /// For whoever is at work: the program ends.
    stop: Arc<AtomicBool>,
}

impl Ear {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        // Nothing here can panic half-way.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, what: impl FnOnce(&mut Heard)) {
        let mut heard = self.lock();
        what(&mut heard);
        if !heard.is_nothing() {
            self.more.notify_one();
        }
    }
}

/// Watches on directories.
pub struct Watch {
    ear: Arc<Ear>,
    watcher: Option<RecommendedWatcher>,
    /// What shall be watched.
    wanted: BTreeMap<PathBuf, Identity>,
    /// What of it is not, because it was another when it was to be, or the kernel refuses.
    missing: BTreeSet<PathBuf>,
    /// Why not all directories are watched, if so.
    pub refusal: Option<String>,
}

impl Watch {
    /// Takes over SIGTERM, SIGINT and SIGHUP; watches nothing yet.
    pub fn start(mappings: &Path, stop: Arc<AtomicBool>) -> Result<Self> {
        let ear = Arc::new(Ear { mappings: mappings.to_owned(), stop, ..Ear::default() });
        forward_signals(Arc::clone(&ear))?;
        Ok(Self { ear, watcher: None, wanted: BTreeMap::new(), missing: BTreeSet::new(), refusal: None })
    }

    /// Watches these directories as well, or no longer; returns those that are watched from now on, and have to be looked
    /// at again.
    ///
    /// A watch is on a directory and not on its path: after a rename, the old watch would tell the old path. So what has
    /// another identity than before, or was named in `changes`, gets a new one.
    pub fn keep(&mut self, news: BTreeMap<PathBuf, Option<Identity>>, changes: &Changes) -> Vec<PathBuf> {
        let moved = changes.names.iter().flat_map(|name| below(&self.wanted, name));
        let mut stale: BTreeSet<PathBuf> = moved.map(|(path, _)| path.clone()).collect();
        let mut ending: BTreeSet<PathBuf> = stale.difference(&self.missing).cloned().collect();
        let missed = std::mem::take(&mut self.missing);
        stale.extend(missed.iter().cloned());
        for (mut path, is) in news {
            path.shrink_to_fit();
            let former = match is {
                Some(is) => self.wanted.insert(path.clone(), is),
                None => self.wanted.remove(&path),
            };
            if former == is {
                continue;
            }
            if former.is_some() && !stale.contains(&path) {
                ending.insert(path.clone());
            }
            if is.is_some() {
                stale.insert(path);
            } else {
                stale.remove(&path);
            }
        }
        let Some(mut watcher) = self.watcher.take().or_else(|| self.create()) else {
            self.missing = stale;
            return Vec::new();
        };
        // First all that go: a directory that was moved has one watch, whatever its path.
        for path in ending {
            // Fails if the directory is gone, and the watch with it.
            let _ = watcher.unwatch(&path);
        }
        self.refusal = None;
        let mut new = Vec::new();
        for path in stale {
            let Some(is) = self.wanted.get(&path) else { continue };
            if self.refusal.is_some() {
                self.missing.insert(path);
                continue;
            }
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) if identity(&path) == Some(*is) => {
                    new.push(path);
                    continue;
                }
                // Another has come in its place, and has to be looked at; but where the two never agree, not for ever.
                Ok(()) => {
                    let _ = watcher.unwatch(&path);
                    new.extend((!missed.contains(&path)).then(|| path.clone()));
                }
                Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch) => {
                    self.refusal = Some("the kernel grants no more watches".to_owned());
                }
                // Gone meanwhile, or not readable: a pass says so.
                Err(_) => {}
            }
            self.missing.insert(path);
        }
        if self.refusal.is_some() {
            self.refusal = Some(format!(
                "the kernel grants no more than {} watches; \
                 on the host: sysctl fs.inotify.max_user_watches=1048576",
                self.wanted.len() - self.missing.len()
            ));
        }
        self.watcher = Some(watcher);
        new
    }

    /// Sets all watches again: among the events that were lost may be the end of a directory, whose place and number
    /// another has taken since.
    pub fn renew(&mut self) {
        if let Some(watcher) = &mut self.watcher {
            for path in
                self.wanted.keys().filter(|path| !self.missing.contains(*path)).cloned().collect::<Vec<_>>()
            {
                if watcher.watch(&path, RecursiveMode::NonRecursive).is_err() {
                    self.missing.insert(path);
                }
            }
        }
    }

    fn create(&mut self) -> Option<RecommendedWatcher> {
        let ear = Arc::clone(&self.ear);
        let config = Config::default().with_follow_symlinks(false);
        match RecommendedWatcher::new(move |event| ear.tell(|heard| heard.hear(event, &ear.mappings)), config)
        {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                self.refusal = Some(format!(
                    "the kernel refuses to watch ({error}); on the host: sysctl fs.inotify.max_user_instances=1024"
                ));
                None
            }
        }
    }

    /// Waits until something is heard or `until` comes; then gathers for `together`, because changes come in crowds.
    pub fn wait(&self, until: Instant, together: Duration) -> Heard {
        let heard = self.ear.lock();
        let left = until.saturating_duration_since(Instant::now());
        let waited = self.ear.more.wait_timeout_while(heard, left, |heard| heard.is_nothing());
        let (heard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Heard::default();
        }
        let waited = self.ear.more.wait_timeout_while(heard, together, |heard| !heard.stop && !heard.asked);
        let (mut heard, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *heard)
    }
}

/// What a directory is; nothing if it is none, or a link.
pub fn identity(path: &Path) -> Option<Identity> {
    let meta = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_dir)?;
    Some((meta.dev(), meta.ino()))
}

fn forward_signals(ear: Arc<Ear>) -> Result<()> {
    let mut signals = SigSet::empty();
    signals.extend([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    // Before any other thread exists, so that every thread inherits the mask.
    signals.thread_block().context("cannot take over SIGTERM")?;
    thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            let stop = signal != Signal::SIGHUP;
            ear.stop.fetch_or(stop, Ordering::Relaxed);
            ear.tell(|heard| if stop { heard.stop = true } else { heard.asked = true });
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_in_a_directorys_place_before_its_watch_is_looked_at_once() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().to_owned();
        let mut watch = Watch {
            ear: Arc::default(),
            watcher: None,
            wanted: BTreeMap::new(),
            missing: BTreeSet::new(),
            refusal: None,
        };
        let mut keep = |is: &[Option<Identity>]| {
            let news = is.iter().map(|is| (path.clone(), *is)).collect();
            watch.keep(news, &Changes::default()).len()
        };
        let is = identity(top.path());
        let former = is.map(|(device, inode)| (device, inode + 1));
        assert_eq!([keep(&[former]), keep(&[]), keep(&[is]), keep(&[])], [1, 0, 1, 0]);
    }
}
