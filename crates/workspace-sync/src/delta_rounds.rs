//! Copies changes of the old tree after the switch, in rounds, until no program writes to it.

use std::time::Duration;

use anyhow::Result;

use crate::active_link::ActiveLink;
use crate::copied_state::CopiedState;
use crate::copy_marker::Marker;
use crate::delta_sync::DeltaSync;
use crate::failure;
use crate::generation::{self, Comparison};
use crate::holders::{self, Holder};
use crate::leftovers;
use crate::listing_file;
use crate::replace_directory::{self, Replaced};
use crate::report::Report;
use crate::sync_context::SyncContext;
use crate::sync_state::SyncState;
use crate::tree_paths::TreePaths;
use kit::quote::escape_control_line;

impl SyncContext<'_> {
    /// Records in the report if the image has another generation than the copy.
    pub fn compare_generation(&self, tree: &TreePaths, marker: &Marker, report: &mut Report) -> Result<()> {
        let Some(listing) = self.listing(tree)? else { return Ok(()) };
        match generation::compare(Some(&listing), listing_file::of_copy(self.open_copy(tree)?)?.as_ref()) {
            Comparison::Same => {}
            Comparison::Another => {
                report.outdated = true;
                report.cause = Some(format!(
                    "the image has generation {}, the copy has {}",
                    generation::id(&listing),
                    marker.generation
                ));
            }
            Comparison::Impossible => log::info!(
                "{}: the copy's list of what its image brought is missing or damaged, so its generation cannot be compared with the image's",
                tree.name
            ),
        }
        Ok(())
    }

    /// Replaces the directory by the link, if possible.
    pub fn replace(&self, tree: &TreePaths, state: &mut SyncState) -> Result<Replaced> {
        let new = self.open_copy(tree)?;
        let capabilities = self.capabilities(tree)?;
        // Missing entries were removed by us, or by an earlier run that was killed.
        let delta_sync =
            DeltaSync::new(tree, &tree.active_link, new, &capabilities, self.state_dir, self.listing(tree)?)
                .without_removals();
        // A removed directory receives no more writes; one that became the image's copy is followed like any other.
        let replaced = replace_directory::directory(tree, &delta_sync, &mut state.leftover)?;
        if replaced == Replaced::Emptied {
            self.clear_delta(tree, state);
        }
        state.store(self.state_dir, &tree.name)?;
        Ok(replaced)
    }

    /// Copies changes until no program writes to the old tree or `patience` is over; returns the remaining writers.
    pub fn finish_delta(
        &self,
        tree: &TreePaths,
        state: &mut SyncState,
        patience: Duration,
    ) -> Result<Vec<Holder>> {
        let new = self.open_copy(tree)?;
        let capabilities = self.capabilities(tree)?;
        if let Some(marker) = Marker::read(&new)? {
            state.retain_for(&marker);
        }
        let delta_sync =
            DeltaSync::new(tree, &tree.image, new, &capabilities, self.state_dir, self.listing(tree)?);
        let mut writers = Vec::new();
        let finished = kit::wait::until(patience, "programs that write to the old tree", || {
            match self.run_round(tree, &delta_sync, state) {
                Err(error) => Some(Err(error)),
                Ok(found) => {
                    writers = found;
                    writers.is_empty().then_some(Ok(()))
                }
            }
        });
        match finished {
            Ok(done) => done?,
            // Timed out: `follow` continues with the remaining writers.
            Err(_) => return Ok(writers),
        }
        self.clear_delta(tree, state);
        state.store(self.state_dir, &tree.name)?;
        Ok(writers)
    }

    fn run_round(
        &self,
        tree: &TreePaths,
        delta_sync: &DeltaSync<'_>,
        state: &mut SyncState,
    ) -> Result<Vec<Holder>> {
        // Writers are listed before the scan, so a process that is not listed cannot write after it.
        let writers = holders::find_writers(&tree.image);
        let Some(leftover) = state.leftover.as_mut() else { return Ok(writers) };
        let writers = leftover.relevant_writers(writers);
        let round = delta_sync.round(leftover)?;
        for kept in &round.kept {
            self.note(tree, &format!("kept the file written before the switch as {}", kept.display()));
        }
        if !round.is_quiet() {
            log::debug!("{}: {} changed entries copied, {} removed", tree.name, round.copied, round.removed);
        }
        state.store(self.state_dir, &tree.name)?;
        round.complete().map(|()| writers)
    }

    /// Removes temporary entries of killed processes from the copy; a failure is harmless.
    pub fn remove_leftovers(&self, tree: &TreePaths, state: &mut SyncState) -> Result<()> {
        if !state.needs_sweep {
            return Ok(());
        }
        match self.open_copy(tree).and_then(|copy| Ok(leftovers::remove_below(&copy)?)) {
            Ok(young) => state.needs_sweep = young,
            Err(error) => log::debug!("{}: cannot tidy up the copy: {error:#}", tree.name),
        }
        state.store(self.state_dir, &tree.name)
    }

    /// Records that all changes are copied.
    fn clear_delta(&self, tree: &TreePaths, state: &mut SyncState) {
        state.leftover = None;
        CopiedState::forget(self.state_dir, &tree.name);
    }

    /// Reports that the tree was switched, but not all changes are copied.
    pub fn report_unfinished(&self, tree: &TreePaths, error: &anyhow::Error, report: &mut Report) {
        let cause = format!("not all changes of the image's copy have been copied yet: {error:#}");
        self.note(tree, &cause);
        report.cause = Some(escape_control_line(&cause));
        report.hint = failure::hint(error).or_else(|| Some("it is retried every few seconds".to_owned()));
    }

    /// Reports the programs that still write to the old tree.
    pub fn report_writers(&self, tree: &TreePaths, holders: &[Holder]) {
        let (hidden, seen): (Vec<&Holder>, Vec<&Holder>) = holders.iter().partition(|holder| holder.hidden);
        let names = |holders: &[&Holder]| {
            holders.iter().map(|holder| holder.description()).collect::<Vec<_>>().join(", ")
        };
        if !seen.is_empty() {
            let who = names(&seen);
            self.note(
                tree,
                &format!("{who} still write to the old tree; changes are copied until they exit or restart"),
            );
        }
        if !hidden.is_empty() {
            let who = names(&hidden);
            self.note(
                tree,
                &format!("cannot inspect {who}; changes of the old tree are copied until they exit"),
            );
        }
    }

    /// Copies the changes of every switched tree once; returns true if a program may still write. Fails with the first
    /// error.
    pub fn sync_deltas(&self, trees: &[TreePaths]) -> Result<bool> {
        let mut writing = false;
        let mut failed = None;
        for tree in trees.iter().filter(|tree| self.is_followed(tree)) {
            let mut state = SyncState::load(self.state_dir, &tree.name);
            match self.finish_delta(tree, &mut state, Duration::ZERO) {
                Ok(writers) => writing |= !writers.is_empty(),
                Err(error) => failed = failed.or(Some(error.context(tree.name.clone()))),
            }
        }
        failed.map_or(Ok(writing), Err)
    }

    /// True if changes of the tree in use before are copied.
    pub fn is_followed(&self, tree: &TreePaths) -> bool {
        // A directory that stays in use is not followed.
        SyncState::load(self.state_dir, &tree.name).leftover.is_some()
            && ActiveLink::of(tree).is_ok_and(|active_link| active_link != ActiveLink::Directory)
    }
}
