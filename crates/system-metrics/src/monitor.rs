//! Samples in the background, and keeps the last hour.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::history::History;
use crate::sample::Sample;
use crate::sampler::Sampler;
use crate::warnings::{self, Warning};

/// Interval between samples.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// Time for which a request for figures counts as watching.
const WATCHED: Duration = Duration::from_secs(20);

/// Places that are measured.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Directory with `proc`, `sys` and `dev`: `/`, but for tests.
    pub root: PathBuf,
    /// Paths whose file systems are measured; the first one is the workspace.
    pub file_systems: Vec<PathBuf>,
}

impl Paths {
    /// Returns the paths of this container.
    #[must_use]
    pub fn new(workspace: &Path) -> Self {
        // Without a slash at the end.
        let workspace = workspace.components().collect();
        Self { root: "/".into(), file_systems: vec![workspace, "/".into(), "/dev/shm".into()] }
    }
}

/// Handle of the figures, cheap to clone. No method waits for anything that may hang.
#[derive(Debug, Clone)]
pub struct Monitor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    started: Instant,
    /// Milliseconds since the start at which figures were last asked for.
    watched: AtomicU64,
    latest: Mutex<Option<Arc<Sample>>>,
    history: Mutex<History>,
}

impl Default for Monitor {
    /// Returns a monitor that has no figures until [`Monitor::start`].
    fn default() -> Self {
        let shared = Shared {
            started: Instant::now(),
            watched: AtomicU64::new(0),
            latest: Mutex::default(),
            history: Mutex::default(),
        };
        Self(Arc::new(shared))
    }
}

impl Monitor {
    /// Takes the first sample and starts the thread that takes the others.
    pub fn start(&self, paths: &Paths) -> Result<()> {
        let mut sampler = Sampler::new(&paths.root, &paths.file_systems)?;
        self.add(&mut sampler);
        let monitor = self.clone();
        let run = move || {
            loop {
                thread::sleep(INTERVAL);
                monitor.add(&mut sampler);
            }
        };
        thread::Builder::new()
            .name("system".into())
            .spawn(run)
            .context("cannot start the thread that measures")?;
        Ok(())
    }

    /// Takes one sample.
    fn add(&self, sampler: &mut Sampler) {
        let started = self.0.started.elapsed();
        let watched = Duration::from_millis(self.0.watched.load(Ordering::Relaxed));
        let is_watched = !watched.is_zero() && started.saturating_sub(watched) < WATCHED;
        let sample = Arc::new(sampler.sample(is_watched));
        lock(&self.0.history).push(u32::try_from(started.as_secs()).unwrap_or(u32::MAX), &sample);
        *lock(&self.0.latest) = Some(sample);
    }

    /// Marks that someone looks at the figures, so that GPUs are asked often.
    pub fn watch(&self) {
        let now = u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        self.0.watched.store(now, Ordering::Relaxed);
    }

    /// Returns the latest sample; `None` before the first one.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<Sample>> {
        lock(&self.0.latest).clone()
    }

    /// Returns what endangers work now.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        self.latest().map(|sample| warnings::warnings(&sample)).unwrap_or_default()
    }

    /// Uses the history, for example to serialize [`History::since`].
    pub fn with_history<T>(&self, act: impl FnOnce(&History) -> T) -> T {
        act(&lock(&self.0.history))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sample_is_there_at_once() {
        let (dir, _files) =
            crate::kernel_files::tests::sample(&[("proc/meminfo", "MemTotal: 1 kB\nMemFree: 1 kB\n")]);
        let monitor = Monitor::default();
        assert!(monitor.latest().is_none() && monitor.warnings().is_empty());
        monitor.start(&Paths { root: dir.path().into(), file_systems: vec!["/".into()] }).unwrap();
        assert_eq!(monitor.latest().unwrap().memory.limit, Some(1024));
        let history = monitor.with_history(|history| serde_json::to_value(history.since(0)).unwrap());
        assert_eq!((&history["next"], &history["series"]["memory"]), (&1.into(), &serde_json::json!([0.0])));
    }
}
