//! Writes a planned tree, on all processors.

use std::fs::{self, FileTimes, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::content;
use crate::plan::{self, Directory, File, Link, Time};
use crate::random::Random;
use crate::shape::Shape;

/// Creates the tree of a shape and a seed; `root` must not exist, its parent must.
///
/// Owners are the caller's, modes and times (of files, links and directories) come from the seed.
pub fn build(root: &Path, shape: &Shape, seed: u64) -> Result<()> {
    let plan = plan::plan(shape, seed);
    for directory in std::iter::once(&plan.root).chain(&plan.directories) {
        let path = at(root, &directory.path);
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    // Large ones first, so that no processor is left with the largest at the end.
    let mut order: Vec<&File> = plan.files.iter().collect();
    order.sort_unstable_by_key(|file| std::cmp::Reverse(file.size));
    in_parallel(&order, |file| write(&at(root, &file.path), file, seed))?;
    in_parallel(&plan.hard_links, |(number, name)| {
        fs::hard_link(root.join(&plan.files[*number].path), root.join(name))
            .with_context(|| format!("cannot link {}", name.display()))
    })?;
    in_parallel(&plan.links, |link| make_link(root, link))?;
    // Last, because everything made in a directory changes its time.
    let all: Vec<&Directory> = std::iter::once(&plan.root).chain(&plan.directories).collect();
    in_parallel(&all, |directory| finish(&at(root, &directory.path), directory))
}

/// Joining an empty path would end in a slash.
fn at(root: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { root.to_owned() } else { root.join(path) }
}

fn write(path: &Path, file: &File, seed: u64) -> Result<()> {
    let write = || {
        let mut made = fs::File::create_new(path)?;
        content::write(&mut made, Random::fork(seed, file.stream), file.size)?;
        made.set_permissions(Permissions::from_mode(file.mode))?;
        made.set_times(FileTimes::new().set_modified(system_time(file.time)))
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn make_link(root: &Path, link: &Link) -> Result<()> {
    let path = root.join(&link.path);
    std::os::unix::fs::symlink(&link.target, &path)
        .with_context(|| format!("cannot link {}", path.display()))?;
    let stamp = Timespec { tv_sec: link.time.0, tv_nsec: link.time.1 };
    let times = Timestamps { last_access: stamp, last_modification: stamp };
    utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .with_context(|| format!("cannot set the time of {}", path.display()))
}

fn finish(path: &Path, directory: &Directory) -> Result<()> {
    let finish = || {
        let made = fs::File::open(path)?;
        made.set_permissions(Permissions::from_mode(directory.mode))?;
        made.set_times(FileTimes::new().set_modified(system_time(directory.time)))
    };
    finish().with_context(|| format!("cannot set mode and time of {}", path.display()))
}

fn system_time((seconds, nanoseconds): Time) -> SystemTime {
    let unsigned = |number: i64| number.unsigned_abs();
    SystemTime::UNIX_EPOCH
        + Duration::from_secs(unsigned(seconds))
        + Duration::from_nanos(unsigned(nanoseconds))
}

/// Calls a function for each item of a list; returns the first error after all threads have ended.
fn in_parallel<T: Sync>(list: &[T], task: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        while let Some(item) = list.get(next.fetch_add(1, Ordering::Relaxed)) {
            task(item)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = running.into_iter().map(thread::ScopedJoinHandle::join);
        let ended: Vec<_> =
            ended.map(|ended| ended.unwrap_or_else(|_| Err(anyhow!("a thread died")))).collect();
        ended.into_iter().collect()
    })
}
