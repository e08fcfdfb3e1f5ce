//! Handles each entry of a pass: reads both sides, plans, and executes the plan, in the order of the names of one file.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::copy_directory;
use crate::entry_execute::{Executed, execute};
use crate::entry_plan::{EntryPlan, plan};
use crate::entry_state::{EntryState, Pairing};
use crate::error::{Result, SideError};
use crate::hard_links::{FirstName, HardLinks, LinkDecision, PendingName};
use crate::metadata::Metadata;
use crate::open_directories::{TargetSide, WalkDirectory};
use crate::pass_context::{PassContext, increment};
use crate::tree_walk::{EntryPlace, Visitor, Walk, WorkerScratch};

/// The visitor of a pass.
pub(crate) struct Copier<'a> {
    pub context: PassContext<'a>,
    pub links: HardLinks,
}

impl Visitor for Copier<'_> {
    /// Handles an entry in the order of the names of its file.
    fn entry(
        &self,
        at: &EntryPlace<'_, '_>,
        source: Metadata,
        link_text: OsString,
        scratch: &mut WorkerScratch,
    ) -> Result<bool> {
        let mut state = EntryState::read(at, source, link_text)?;
        let EntryPlace { walk, directory, .. } = *at;
        if source.links <= 1 || !self.context.options.capabilities.hard_links {
            let done = self.execute_plan(at, &mut state, None, scratch)?;
            return Ok(self.count(at, &state, &done, true, scratch));
        }
        // A name that waits delays its directory. Counted first, because another worker may resume it at once.
        directory.defer_leave();
        let turn = self.links.visit_name(&source, directory, at.name);
        if matches!(turn, LinkDecision::WaitForFirst) {
            return Ok(true);
        }
        directory.undo_defer();
        if let LinkDecision::Link(first) = turn {
            state.pairing = Pairing::NameOf(first.inode);
            let mut done = self.execute_plan(at, &mut state, Some(&first), scratch)?;
            if matches!(done, Executed::LinkRefused) {
                // Too many links to that file: copy it.
                state.pairing = Pairing::Foreign;
                done = self.execute_plan(at, &mut state, None, scratch)?;
            }
            return Ok(self.count(at, &state, &done, false, scratch));
        }
        if state.target.is_some_and(|there| there.links > 1 && !self.links.claim_target(there.inode, &source))
        {
            state.pairing = Pairing::Foreign;
        }
        let done = self.execute_plan(at, &mut state, None, scratch)?;
        let inode = match done {
            Executed::Present(inode) => inode,
            Executed::Absent | Executed::LinkRefused => None,
            Executed::Changed => {
                resume_waiting(walk, self.links.first_vanished(&source));
                return Ok(false);
            }
        };
        let first = FirstName { directory: Arc::clone(directory), name: at.name.to_owned(), inode };
        resume_waiting(walk, self.links.first_copied(&source, first));
        Ok(self.count(at, &state, &done, true, scratch))
    }

    fn enter(&self, at: &EntryPlace<'_, '_>, source: &Metadata) -> Result<TargetSide> {
        copy_directory::enter_directory(&self.context, at, source)
    }

    fn leave(&self, walk: &Walk, directory: &Arc<WalkDirectory>) -> Result<()> {
        copy_directory::finish_directory(&self.context, walk, directory)
    }

    fn mount(&self, at: &EntryPlace<'_, '_>) -> Result<()> {
        increment(&self.context.counters.skipped);
        let source = Metadata::at(at.pair.source.as_fd(), at.name)
            .map_err(|cause| at.error("read", SideError::Source(cause)))?;
        source.map_or(Ok(()), |source| self.enter(at, &source).map(drop))
    }
}

impl Copier<'_> {
    /// Plans, reads what the plan asks for, and executes it.
    fn execute_plan(
        &self,
        at: &EntryPlace<'_, '_>,
        state: &mut EntryState,
        first: Option<&FirstName>,
        scratch: &mut WorkerScratch,
    ) -> Result<Executed> {
        let options = self.context.plan_options();
        loop {
            match plan(state, &options) {
                EntryPlan::Inspect(inspection) => {
                    state.inspect(inspection, at, &self.context.making, scratch)?;
                }
                EntryPlan::Do(action) => return execute(action, state, first, at, &self.context, scratch),
            }
        }
    }

    /// Counts an entry unless it must be read again; `first`: no other name of its file was counted.
    fn count(
        &self,
        at: &EntryPlace<'_, '_>,
        state: &EntryState,
        done: &Executed,
        first: bool,
        scratch: &mut WorkerScratch,
    ) -> bool {
        match done {
            Executed::Changed => return false,
            Executed::Present(_) => {
                at.directory.shared.fetch_add(1, Ordering::Relaxed);
            }
            Executed::Absent | Executed::LinkRefused => {}
        }
        let source = &state.source;
        scratch.sum.add_entry(&at.directory.path_hash, at.name, source, state.link_text.as_bytes());
        let bytes = if source.is_file() && first { source.size } else { 0 };
        if source.is_file() {
            increment(&self.context.counters.files);
        }
        at.walk.counters.add(1, bytes, 0);
        true
    }
}

/// Schedules the names that waited.
fn resume_waiting(walk: &Walk, waiting: Vec<PendingName>) {
    for one in waiting {
        walk.resume(one.directory, one.name);
    }
}
