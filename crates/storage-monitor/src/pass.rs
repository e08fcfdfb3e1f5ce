//! What a pass is about, and what it knows on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use dirfd::Identity;

use crate::changes::{Changes, Names};
use crate::findings::Tally;
use crate::shown::Shown;
use crate::targets::{Source, Targets};

/// What to look at.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// Everything.
    All,
    /// Where these changes of the tree lead.
    Changed(&'a Changes),
    /// Directories with links that were changed themselves, by absolute path.
    Spoilt(&'a Changes),
}

/// Who hears of the steps instead of their being made.
pub type Show<'a> = Option<&'a mut dyn FnMut(Shown)>;

/// A directory to look at.
#[derive(Debug, Clone)]
pub struct Job {
    /// What leads into it.
    pub sources: Vec<Source>,
    /// What to look at in it.
    pub names: Names,
}

/// Directories to look at.
pub type Work = BTreeMap<Rc<Path>, Job>;
/// Directories in one directory, with what leads into them.
pub type Children = BTreeMap<Rc<Path>, Vec<Source>>;

/// What a look at one directory came to.
pub enum Visit {
    /// It is as it shall be, but for what was found; with what leads into directories in it, and how many entries it has.
    Done(Children, usize),
    /// It is not there.
    Absent,
    /// It or a source cannot be looked at: nothing in it or below may be changed.
    Unknown,
    /// The program ends.
    Stopped,
}

/// A pass under way.
pub struct Pass<'a, 'b> {
    pub targets: &'a Targets,
    pub top: Option<OwnedFd>,
    pub identity: Option<Identity>,
    pub show: Show<'b>,
    /// Directories that were removed, or would have been.
    pub gone: BTreeSet<Rc<Path>>,
    pub tally: Tally,
}
