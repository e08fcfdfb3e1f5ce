//! Progress and notes of a pass, for its caller.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// Receives progress and notes of a pass. Its worker threads call it, several at a time.
pub trait Observer: Sync {
    /// The counters went up. Called for every few entries and every few megabytes; must be quick.
    fn on_progress(&self, counters: &Counters);
    /// Takes a note that is no error.
    fn on_note(&self, note: Note);
    /// Returns true to end the pass, which then returns [`Error::Stopped`](crate::Error::Stopped). Called often.
    fn stop(&self) -> bool;
    /// Returns whether an entry that the source lacks may be removed from the target; called before each. False ends
    /// the pass like a stop.
    fn may_remove(&self) -> bool {
        true
    }
}

/// Looks at nothing and never stops a pass.
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
    /// It was listed and then gone.
    Vanished,
    /// It changed each time it was copied; the next pass will copy it again.
    Unstable,
    /// A socket or device that may not be made here.
    SkippedSpecial(&'static str),
    /// Another file system is mounted there; the directory was made, its content is not part of this tree.
    SkippedMount,
    /// This extended attribute was not accepted.
    AttributeDropped(String),
    /// Source and target differ (comparing only), and how.
    Differs(Difference),
}

/// In what an entry differs; the first that is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// The target does not have it.
    Missing,
    /// The source does not have it.
    Extra,
    /// It is a file here, a link or a directory there.
    Kind,
    /// A file with another time, or a link with another text: it was written since.
    Modified,
    /// A file with the time of the source's and another size or, as far as was looked, other bytes.
    Content,
    /// The same as far as was looked, with other names of the same file.
    HardLinks,
    /// The same with another owner, mode, access list, attribute, or time of something that is no file.
    Metadata,
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = std::path::Path::new("the tree's own directory");
        let path = if self.path.as_os_str().is_empty() { root } else { &self.path }.display();
        match &self.what {
            NoteKind::Vanished => write!(formatter, "{path} vanished while it was copied"),
            NoteKind::Unstable => write!(formatter, "{path} changed repeatedly while it was copied"),
            NoteKind::SkippedSpecial(kind) => {
                write!(formatter, "{path} was left out: a {kind} cannot be made here")
            }
            NoteKind::SkippedMount => {
                write!(formatter, "the content of {path} was left out: another file system is mounted there")
            }
            NoteKind::AttributeDropped(name) => {
                write!(formatter, "{path}: the attribute {name} was not copied")
            }
            NoteKind::Differs(_) => write!(formatter, "{path} differs"),
        }
    }
}
