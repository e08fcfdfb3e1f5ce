//! The context of every step of a pass: its options, its counters, and how entries are made.

use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::compare::ChangeTimes;
use crate::copy_file::FileContext;
use crate::entry_plan::PlanOptions;
use crate::observer::{Difference, NoteKind};
use crate::open_directories::WalkDirectory;
use crate::options::Options;
use crate::tree_walk::Walk;

/// The counters of a pass.
#[derive(Debug, Default)]
pub(crate) struct PassCounters {
    pub files: AtomicU64,
    pub copied_files: AtomicU64,
    pub updated: AtomicU64,
    pub removed: AtomicU64,
    pub differing: AtomicU64,
    pub unstable: AtomicU64,
    pub skipped: AtomicU64,
}

pub(crate) fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Options, counters and properties that all entries of a pass share.
pub(crate) struct PassContext<'a> {
    pub options: &'a Options<'a>,
    pub counters: PassCounters,
    pub making: FileContext<'a>,
    pub moments: ChangeTimes,
}

impl PassContext<'_> {
    /// Returns the options that affect plans.
    pub fn plan_options(&self) -> PlanOptions<'_> {
        let Options { write, check, capabilities, .. } = *self.options;
        PlanOptions { write, check, can: capabilities, moments: self.moments }
    }

    /// Counts an entry that differs, and notes how.
    pub fn differs(&self, walk: &Walk, directory: &WalkDirectory, name: &CStr, how: Difference) {
        increment(&self.counters.differing);
        walk.note(directory, name, NoteKind::Differs(how));
    }
}

/// Notes the attributes that the target refused.
pub(crate) fn note_dropped(walk: &Walk, directory: &WalkDirectory, name: &CStr, attributes: Vec<String>) {
    for attribute in attributes {
        walk.note(directory, name, NoteKind::AttributeDropped(attribute));
    }
}
