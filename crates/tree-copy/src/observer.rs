//! Progress and notes of a pass, for its caller.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// Receives progress and notes of a pass. Its worker threads call it, several at a time.
pub trait Observer: Sync {
    /// Called for every few entries and every few megabytes; must be quick.
    fn on_progress(&self, counters: &Counters);
    /// Receives a note that is not an error.
    fn on_note(&self, note: Note);
    /// Returns true to end the pass, which then returns [`Error::Stopped`](crate::Error::Stopped). Called often.
    fn stop(&self) -> bool;
    /// True if an entry that the source lacks may be removed from the target; called before each removal. False ends
    /// the pass like a stop.
    fn may_remove(&self) -> bool {
        true
    }
}

/// Ignores everything and never stops a pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn on_progress(&self, _counters: &Counters) {}
    fn on_note(&self, _note: Note) {}
    fn stop(&self) -> bool {
        false
    }
}

/// Progress of a pass or a survey.
#[derive(Debug, Default)]
pub struct Counters {
    entries: AtomicU64,
    bytes: AtomicU64,
    copied_bytes: AtomicU64,
    pub(crate) vanished: AtomicU64,
}

impl Counters {
    /// Entries of the source that are done with, directories counted when they are entered.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Bytes of the files that are done with, whether they had to be copied or not.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes that were written to the target.
    pub fn copied_bytes(&self) -> u64 {
        self.copied_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, entries: u64, bytes: u64, copied_bytes: u64) {
        for (counter, more) in
            [(&self.entries, entries), (&self.bytes, bytes), (&self.copied_bytes, copied_bytes)]
        {
            if more > 0 {
                counter.fetch_add(more, Ordering::Relaxed);
            }
        }
    }
}

/// One observation about one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The entry, relative to the root of both trees.
    pub path: PathBuf,
    /// The kind of note.
    pub what: NoteKind,
}

/// Facts worth a line in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoteKind {
    /// It vanished after it was listed.
    Vanished,
    /// It changed each time that it was copied; the next pass copies it again.
    Unstable,
    /// A socket, device or FIFO that cannot be created there.
    SkippedSpecial(&'static str),
    /// A mount point; the directory was created, its content is not part of the tree.
    SkippedMount,
    /// This extended attribute was not accepted.
    AttributeDropped(String),
    /// Source and target differ (comparing only), and how.
    Differs(Difference),
}

/// Difference of an entry; the first that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// The target does not have it.
    Missing,
    /// The source does not have it.
    Extra,
    /// The types differ.
    Kind,
    /// A file with another time, or a link with another target.
    Modified,
    /// A file with the same time and another size or, as far as compared, other content.
    Content,
    /// Equal as far as compared, with other hard links.
    HardLinks,
    /// Equal content with another owner, mode, access list or attribute, or another time of an entry that is not a
    /// file.
    Metadata,
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = std::path::Path::new("the tree's own directory");
        let path = if self.path.as_os_str().is_empty() { root } else { &self.path }.display();
        match &self.what {
            NoteKind::Vanished => write!(formatter, "{path} vanished during the copy"),
            NoteKind::Unstable => write!(formatter, "{path} changed repeatedly during the copy"),
            NoteKind::SkippedSpecial(kind) => {
                write!(formatter, "skipped {path}: cannot create a {kind} here")
            }
            NoteKind::SkippedMount => {
                write!(formatter, "skipped the content of {path}: it is a mount point")
            }
            NoteKind::AttributeDropped(name) => {
                write!(formatter, "{path}: the attribute {name} was not copied")
            }
            NoteKind::Differs(_) => write!(formatter, "{path} differs"),
        }
    }
}
