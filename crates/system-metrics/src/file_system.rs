//! Space and inodes of a file system, asked on a thread of its own.
//!
//! A network file system whose server does not respond blocks statvfs(3) for minutes or forever, and such a thread cannot be
//! ended. So it is asked again only after it has answered, and nothing waits for it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::statvfs::{FsFlags, statvfs};
use serde::Serialize;

/// Time after which a file system counts as not responding.
const RESPONSE_LIMIT: Duration = Duration::from_secs(10);

/// Space and inodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Size in bytes. With a quota of the file system, that is usually its limit.
    pub size: u64,
    /// Bytes used.
    pub used: u64,
    /// Bytes that programs without privileges can use.
    pub available: u64,
    /// Number of inodes; `None` if the file system has no fixed number (btrfs) or does not report it.
    pub inodes: Option<u64>,
    /// Inodes used.
    pub inodes_used: Option<u64>,
    /// True if nothing can be written.
    pub read_only: bool,
    /// Number of the device, to recognise paths on the same file system.
    #[serde(skip)]
    pub device: u64,
}

/// Whether a file system answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum FileSystemState {
    /// It did.
    Ok(Usage),
    /// Its answer is not there yet.
    Pending,
    /// It has not answered for this many seconds.
    NotResponding {
        /// Seconds since it was asked.
        seconds: u64,
    },
    /// It answered with an error.
    Failed {
        /// The system's message.
        message: String,
    },
}

/// One file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileSystem {
    /// Path at which it was asked.
    pub path: PathBuf,
    /// Space and inodes, or why they are unknown.
    #[serde(flatten)]
    pub state: FileSystemState,
}

impl FileSystem {
    /// Returns space and inodes, if known.
    #[must_use]
    pub fn usage(&self) -> Option<&Usage> {
        match &self.state {
            FileSystemState::Ok(usage) => Some(usage),
            _ => None,
        }
    }
}

impl Usage {
    /// Returns the part of the space that is used, 0 to 1, as `df` counts it; `None` if the size is not reported.
    #[must_use]
    pub fn used_ratio(&self) -> Option<f64> {
        ratio(self.used, self.used.saturating_add(self.available))
    }

    /// Returns the part of the inodes that is used, 0 to 1.
    #[must_use]
    pub fn inodes_ratio(&self) -> Option<f64> {
        ratio(self.inodes_used?, self.inodes?)
    }

    /// Converts the answer of the kernel.
    fn new(unit: u64, blocks: [u64; 3], inodes: [u64; 2], read_only: bool, device: u64) -> Self {
        let [size, free, available] = blocks.map(|count| count.saturating_mul(unit));
        let [inodes, inodes_free] = inodes;
        let inodes = Some(inodes).filter(|count| *count > 0 && inodes_free <= *count);
        Self {
            size,
            used: size.saturating_sub(free),
            available,
            inodes,
            inodes_used: inodes.map(|count| count - inodes_free),
            read_only,
            device,
        }
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    use crate::kernel_files::scale;
    (whole > 0).then(|| scale(part, scale(whole, 1.0)))
}

/// Asks the kernel; may block.
#[expect(clippy::useless_conversion, reason = "the types differ between architectures")]
fn measure(path: &Path) -> io::Result<Usage> {
    let answer = statvfs(path)?;
    let blocks = [answer.blocks(), answer.blocks_free(), answer.blocks_available()].map(u64::from);
    let inodes = [answer.files(), answer.files_free()].map(u64::from);
    let read_only = answer.flags().contains(FsFlags::ST_RDONLY);
    Ok(Usage::new(u64::from(answer.fragment_size()), blocks, inodes, read_only, fs::metadata(path)?.dev()))
}

/// Question and answer of the thread.
#[derive(Debug, Default)]
struct Exchange {
    asked: Option<Instant>,
    answer: Option<Result<Usage, String>>,
    is_closed: bool,
}

/// Thread that asks one file system.
#[derive(Debug)]
pub struct FileSystemWatch {
    path: PathBuf,
    shared: Arc<(Mutex<Exchange>, Condvar)>,
}

impl FileSystemWatch {
    /// Starts the thread.
    pub fn new(path: &Path) -> io::Result<Self> {
        Self::with(path, measure)
    }

    fn with(path: &Path, measure: impl Fn(&Path) -> io::Result<Usage> + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new((Mutex::new(Exchange::default()), Condvar::new()));
        let watch = Self { path: path.to_owned(), shared: shared.clone() };
        let path = path.to_owned();
        thread::Builder::new().name("file-system".into()).spawn(move || {
            loop {
                let exchange = lock(&shared.0);
                let waiting = |exchange: &mut Exchange| exchange.asked.is_none() && !exchange.is_closed;
                let exchange = shared.1.wait_while(exchange, waiting).unwrap_or_else(PoisonError::into_inner);
                if exchange.is_closed {
                    return;
                }
                drop(exchange);
                let answer = measure(&path).map_err(|error| error.to_string());
                let mut exchange = lock(&shared.0);
                (exchange.answer, exchange.asked) = (Some(answer), None);
                shared.1.notify_all();
            }
        })?;
        Ok(watch)
    }

    /// Asks, unless the last question is unanswered.
    pub fn ask(&self) {
        lock(&self.shared.0).asked.get_or_insert_with(Instant::now);
        self.shared.1.notify_all();
    }

    /// Waits for the answer, but not beyond `deadline`, and returns the latest one.
    pub fn read(&self, deadline: Instant) -> FileSystem {
        let left = deadline.saturating_duration_since(Instant::now());
        let waited =
            self.shared.1.wait_timeout_while(lock(&self.shared.0), left, |exchange| exchange.asked.is_some());
        let (exchange, _) = waited.unwrap_or_else(PoisonError::into_inner);
        FileSystem { path: self.path.clone(), state: state(&exchange, Instant::now()) }
    }
}

impl Drop for FileSystemWatch {
    fn drop(&mut self) {
        lock(&self.shared.0).is_closed = true;
        self.shared.1.notify_all();
    }
}

fn state(exchange: &Exchange, now: Instant) -> FileSystemState {
    let waited = exchange.asked.map(|asked| now.saturating_duration_since(asked));
    match (waited, &exchange.answer) {
        (Some(waited), _) if waited >= RESPONSE_LIMIT => {
            FileSystemState::NotResponding { seconds: waited.as_secs() }
        }
        (_, Some(Ok(usage))) => FileSystemState::Ok(*usage),
        (_, Some(Err(message))) => FileSystemState::Failed { message: message.clone() },
        (_, None) => FileSystemState::Pending,
    }
}

fn lock(exchange: &Mutex<Exchange>) -> MutexGuard<'_, Exchange> {
    exchange.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn answers_of_the_kernel_are_converted() {
        let usage = Usage::new(4096, [100, 40, 30], [0, 0], false, 7);
        assert_eq!((usage.size, usage.used, usage.available), (409_600, 245_760, 122_880));
        assert_eq!((usage.inodes, usage.inodes_ratio()), (None, None), "btrfs reports no inodes");
        assert_eq!(usage.used_ratio(), Some(60.0 / 90.0), "reserved blocks are not available");
        assert_eq!(Usage::new(4096, [0; 3], [0; 2], true, 7).used_ratio(), None, "no size");
        let odd = Usage::new(1 << 20, [u64::MAX, 0, u64::MAX], [5, u64::MAX], false, 7);
        assert_eq!((odd.size, odd.used, odd.inodes), (u64::MAX, u64::MAX, None));
        assert_eq!(Usage::new(1, [1; 3], [1000, 20], false, 7).inodes_ratio(), Some(0.98));
    }

    #[test]
    fn a_file_system_that_hangs_is_reported_and_asked_only_once() {
        let (release, blocked) = mpsc::channel::<()>();
        let (count, counted) = mpsc::channel();
        let watch = FileSystemWatch::with(Path::new("/data"), move |_| {
            count.send(()).unwrap();
            blocked.recv().unwrap();
            Ok(Usage { size: 7, ..Usage::default() })
        })
        .unwrap();
        watch.ask();
        counted.recv().unwrap();
        watch.ask();
        assert_eq!(watch.read(Instant::now()).state, FileSystemState::Pending);
        let later = Instant::now() + Duration::from_secs(42);
        assert!(matches!(
            state(&lock(&watch.shared.0), later),
            FileSystemState::NotResponding { seconds: 42 | 41 }
        ));
        release.send(()).unwrap();
        let far = Instant::now() + Duration::from_mins(10);
        assert_eq!(watch.read(far).usage().map(|usage| usage.size), Some(7));
        counted.try_recv().unwrap_err();
    }

    #[test]
    fn a_real_and_a_missing_path() {
        let far = Instant::now() + Duration::from_mins(10);
        let read = |path: &str| {
            let watch = FileSystemWatch::new(Path::new(path)).unwrap();
            watch.ask();
            watch.read(far)
        };
        assert!(read("/").usage().unwrap().size > 0);
        let missing = FileSystemState::Failed { message: "No such file or directory (os error 2)".into() };
        assert_eq!(read("/nonexistent").state, missing);
    }
}
