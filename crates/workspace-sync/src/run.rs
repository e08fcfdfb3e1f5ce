//! `run`: copies every tree at once, and switches it after provisioning has ended or the tree is quiet.
//!
//! A provisioning script changes the tree while it installs packages, so the last passes, the comparison and the switch
//! wait for its end. A tree that stays unchanged is switched even if the script never ends.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use journal::{Event, Stage};

use crate::active_link;
use crate::copied_state::CopiedState;
use crate::copy_job::StartedCopy;
use crate::decision::{self, Action, Refusal};
use crate::failure::Failure;
use crate::image_listing::Listing;
use crate::journal_notes;
use crate::leftovers;
use crate::mount_check;
use crate::partial_claim::{self, Claim};
use crate::provisioning_gate::ProvisioningGate;
use crate::refresh;
use crate::replace_directory::Replaced;
use crate::report::{ActiveCopy, Outcome, Report};
use crate::reserved_names;
use crate::retry::LONGEST;
use crate::steps::{self, Step};
use crate::sync_context::SyncContext;
use crate::sync_state::SyncState;
use crate::tree_paths::TreePaths;
use crate::tree_state;
use kit::quote::escape_control_line;

/// Time that programs get after the switch to stop writing to the old tree; then `follow` continues.
const DELTA_TIMEOUT: Duration = Duration::from_secs(5);

/// A tree that keeps changing is reported after this multiple of the quiet time: five minutes.
const REPORTED_AFTER: u32 = 5;

/// Hint for a directory that stays; the lines for the image's Dockerfile are in docs/extending.md.
const BUILD_A_LINK: &str = "build it as a link, see docs/extending.md";

/// Progress of one tree.
struct TreeWork<'a> {
    tree: &'a TreePaths,
    report: Report,
    state: SyncState,
    steps: std::vec::IntoIter<Step>,
    /// Cause if the image has another generation.
    outdated: Option<String>,
    copying: Option<Copying>,
}

/// A copy that waits for its switch.
struct Copying {
    from: PathBuf,
    listing: Listing,
    claim: Claim,
    started: StartedCopy,
    copied: Instant,
    changed: Instant,
    /// True once it was reported that the tree keeps changing.
    is_reported: bool,
}

/// Brings every tree into the configured state. `report` receives each report, including failures, as soon as the tree
/// is done. Transient failures are retried while another tree waits.
pub fn sync_all(
    setting: &SyncContext<'_>,
    trees: &[TreePaths],
    gate: &mut ProvisioningGate,
    report: &mut dyn FnMut(&Report) -> Result<()>,
) -> Result<()> {
    let (mut waiting, mut failed) = (Vec::new(), Vec::new());
    for tree in trees {
        match setting.start(tree) {
            Ok(work) => waiting.push(work),
            Err(ended) if ended.retrying => failed.push(Failed::new(tree, *ended, gate)),
            Err(ended) => report(&ended)?,
        }
    }
    if !waiting.is_empty() && !gate.is_open() {
        setting.announce(&waiting);
        failed.iter().for_each(|failed| setting.report_failure(failed));
    }
    while !waiting.is_empty() {
        let is_open = gate.is_open();
        for mut work in std::mem::take(&mut waiting) {
            let is_due = if is_open { Ok(true) } else { setting.catch_up(&mut work, gate) };
            let done = match is_due {
                Ok(false) => {
                    waiting.push(work);
                    continue;
                }
                Ok(true) => setting.complete(&mut work),
                Err(failure) => Err(failure),
            };
            let tree = work.tree;
            let ended = work.end(done);
            if ended.retrying {
                let again = Failed::new(tree, ended, gate);
                setting.report_failure(&again);
                failed.push(again);
            } else {
                report(&ended)?;
            }
        }
        if waiting.is_empty() {
            break;
        }
        for again in std::mem::take(&mut failed) {
            if again.next > Instant::now() {
                failed.push(again);
                continue;
            }
            match setting.start(again.tree) {
                Ok(work) => {
                    setting.announce(std::slice::from_ref(&work));
                    waiting.push(work);
                }
                Err(ended) if ended.retrying => {
                    let again = again.failed_again(*ended, gate);
                    setting.report_failure(&again);
                    failed.push(again);
                }
                Err(ended) => report(&ended)?,
            }
        }
        // The follower cannot take the lock while this process waits.
        if let Err(error) = setting.sync_deltas(trees) {
            log::debug!("{error:#}");
        }
        gate.pause();
    }
    failed.iter().try_for_each(|failed| report(&failed.report))
}

/// A tree that failed and is retried.
struct Failed<'a> {
    tree: &'a TreePaths,
    report: Report,
    pause: Duration,
    next: Instant,
}

impl<'a> Failed<'a> {
    fn new(tree: &'a TreePaths, report: Report, gate: &ProvisioningGate) -> Self {
        Self { tree, report, pause: gate.retry_after, next: Instant::now() + gate.retry_after }
    }

    fn failed_again(self, report: Report, gate: &ProvisioningGate) -> Self {
        let pause = (self.pause * 2).min(gate.retry_after * LONGEST);
        Self { report, pause, next: Instant::now() + pause, ..self }
    }
}

fn loss_warning(tree: &TreePaths) -> String {
    format!("files written to {} are lost when the container is removed", tree.active_link.display())
}

impl TreeWork<'_> {
    fn end(mut self, done: Result<(), Failure>) -> Report {
        if let Err(failure) = done {
            let (cause, hint) = failure.message_and_hint();
            self.report.outcome = Outcome::Failed;
            self.report.retrying = failure.is_transient();
            self.report.cause = Some(escape_control_line(&cause));
            self.report.hint = hint;
        }
        self.report.in_use = active_link::active_copy(self.tree);
        if self.report.outcome == Outcome::Failed && self.report.in_use != ActiveCopy::Workspace {
            let cause = self.report.cause.take().unwrap_or_default();
            let loss = loss_warning(self.tree);
            self.report.cause = Some(escape_control_line(&format!("{cause}; meanwhile, {loss}")));
        }
        self.report
    }
}

impl SyncContext<'_> {
    /// Starts a tree; returns its work if its switch waits, otherwise its report.
    fn start<'a>(&self, tree: &'a TreePaths) -> Result<TreeWork<'a>, Box<Report>> {
        let state = SyncState::load(self.state_dir, &tree.name);
        let steps = vec![].into_iter();
        let mut work =
            TreeWork { tree, report: Report::new(tree), state, steps, outdated: None, copying: None };
        match self.begin(&mut work) {
            Ok(()) if work.copying.is_some() => Ok(work),
            done => Err(Box::new(work.end(done))),
        }
    }

    /// Decides, and performs all steps, or those up to a copy that waits for its switch.
    fn begin(&self, work: &mut TreeWork<'_>) -> Result<(), Failure> {
        let (tree, state) = (work.tree, &mut work.state);
        if !self.wanted && tree_state::is_inaccessible(tree, &self.workspace.path) {
            return Ok(());
        }
        active_link::remove_leftovers(tree);
        leftovers::remove_around(&self.workspace.path, tree);
        refresh::recover(self, tree)?;
        let seen = self.tree_state(tree)?;
        let action = decision::decide(&seen);
        *state = SyncState::load(self.state_dir, &tree.name);
        // An earlier process did not finish copying changes.
        state.needs_sweep |= state.leftover.is_some();
        match &action {
            Action::Leave(why) => {
                work.report.cause = decision::explain(*why, self.wanted, tree);
                return Ok(());
            }
            Action::Refuse(refusal) => {
                let (cause, hint) = decision::describe(refusal, tree);
                // A mount hides an earlier copy, which the user did not request.
                if !self.wanted && !matches!(refusal, Refusal::Mounted(_)) {
                    work.report.cause = Some(cause);
                    return Ok(());
                }
                return Err(Failure::Permanent(kit::exit::with_hint(anyhow!(cause), hint)));
            }
            Action::Keep(marker) | Action::Switch(marker) | Action::ReplaceDirectory(marker) => {
                work.report.outcome = Outcome::Used;
                // The process that made it may have been killed before it removed its claim.
                if let Ok(copy) = tree_state::open_in_workspace(&self.workspace.path, &tree.copy) {
                    let _ = partial_claim::release(&copy);
                }
                // The copy is used all the same.
                if let Err(error) = self.compare_generation(tree, marker, &mut work.report) {
                    log::warn!("{}: cannot compare the copy with the image: {error:#}", tree.name);
                }
            }
            Action::Copy | Action::CopyDirectory | Action::UseImage { .. } => {}
        }
        match &action {
            Action::Keep(marker) => state.retain_for(marker),
            Action::Switch(marker) | Action::ReplaceDirectory(marker) => {
                state.expect_delta(marker, self.first_start);
                state.store(self.state_dir, &tree.name)?;
            }
            _ => {}
        }
        if matches!(action, Action::CopyDirectory | Action::ReplaceDirectory(_)) {
            self.log_and_show(format!(
                "{}: {} is a directory, not a link: the copy takes its place only while no program uses it; {BUILD_A_LINK}",
                tree.name,
                tree.active_link.display()
            ));
        }
        work.outdated.clone_from(&work.report.cause);
        work.steps = steps::of(&action, tree, work.state.leftover.is_some()).into_iter();
        self.advance(work)
    }

    /// Performs the remaining steps, or those up to a copy that waits for its switch.
    fn advance(&self, work: &mut TreeWork<'_>) -> Result<(), Failure> {
        let tree = work.tree;
        while let Some(step) = work.steps.next() {
            log::debug!("{}: {}", tree.name, step.describe(tree));
            match &step {
                Step::Copy(from) => {
                    work.copying = Some(self.copy(tree, from)?);
                    return Ok(());
                }
                Step::Point(to) => {
                    if *to == tree.copy {
                        mount_check::refuse(tree, &[&tree.image])?;
                    }
                    active_link::switch_to(tree, to)?;
                }
                Step::ReplaceDirectory => {
                    let active_link = &tree.active_link;
                    mount_check::refuse(tree, &[active_link])?;
                    match self.replace(tree, &mut work.state)? {
                        Replaced::Exchanged | Replaced::Emptied => {}
                        Replaced::InUse(why) => {
                            self.keep_directory(work, &why);
                            return Ok(());
                        }
                        Replaced::Unfinished(why) => {
                            return Err(Failure::Transient(anyhow!("{} {why}", active_link.display())));
                        }
                    }
                }
                // The tree is switched even if this fails: the follower continues.
                Step::SyncDelta => match self.finish_delta(tree, &mut work.state, DELTA_TIMEOUT) {
                    Ok(writers) => work.report.holders = writers,
                    Err(error) => self.report_unfinished(tree, &error, &mut work.report),
                },
            }
        }
        if active_link::active_copy(tree) == ActiveCopy::Workspace {
            journal_notes::clear_pending(self.journal, &tree.name);
        }
        self.remove_leftovers(tree, &mut work.state)?;
        work.report.settling = work.state.leftover.is_some();
        // Only now it is known if a directory at the active link became the image's copy.
        if let Some(cause) = work.outdated.take() {
            let hint = tree.refresh_hint();
            self.note(tree, &format!("{cause}; the copy is used: {hint}"));
            work.report.hint.get_or_insert(hint);
        }
        self.report_writers(tree, &work.report.holders);
        Ok(())
    }

    fn keep_directory(&self, work: &mut TreeWork<'_>, why: &str) {
        let (tree, report) = (work.tree, &mut work.report);
        let active_link = tree.active_link.display();
        let cause = format!(
            "{active_link} is a directory, not a link, and {why}, so it cannot be replaced by the copy: {}",
            loss_warning(tree)
        );
        journal_notes::set_pending(self.journal, &tree.name, &cause);
        report.outcome = Outcome::Kept;
        report.cause = Some(escape_control_line(&cause));
        report.hint =
            Some(format!("{BUILD_A_LINK}; or stop the programs that use it, then run: workspace-sync run"));
    }

    fn copy(&self, tree: &TreePaths, from: &Path) -> Result<Copying, Failure> {
        let listing = self.listing(tree)?.unwrap_or_default();
        let claim = self.claim_on(tree);
        let started = self.job(tree, from, &listing, &claim).start()?;
        let copied = Instant::now();
        Ok(Copying {
            from: from.to_owned(),
            listing,
            claim,
            started,
            copied,
            changed: copied,
            is_reported: false,
        })
    }

    /// Copies changes; returns true if the tree has been unchanged long enough to switch without waiting for
    /// provisioning.
    fn catch_up(&self, work: &mut TreeWork<'_>, gate: &ProvisioningGate) -> Result<bool, Failure> {
        let Some(copying) = &mut work.copying else { return Ok(true) };
        let job = self.job(work.tree, &copying.from, &copying.listing, &copying.claim);
        let Some(changed) = job.catch_up(&mut copying.started)? else {
            return Ok(copying.changed.elapsed() >= gate.quiet_after);
        };
        copying.changed = Instant::now();
        if !copying.is_reported && copying.copied.elapsed() >= gate.quiet_after * REPORTED_AFTER {
            copying.is_reported = true;
            self.report_busy_tree(work.tree, &changed);
        }
        Ok(false)
    }

    /// Completes the copy, and performs the remaining steps.
    fn complete(&self, work: &mut TreeWork<'_>) -> Result<(), Failure> {
        let Some(copying) = work.copying.take() else { return Ok(()) };
        let tree = work.tree;
        let marker =
            self.job(tree, &copying.from, &copying.listing, &copying.claim).commit(copying.started)?;
        work.state = SyncState::load(self.state_dir, &tree.name);
        work.state.expect_delta(&marker, self.first_start);
        work.state.store(self.state_dir, &tree.name)?;
        // Before the switch, after which programs write to the copy.
        CopiedState::of(self.open_copy(tree)?, &reserved_names::all())?.store(
            self.state_dir,
            &tree.name,
            &marker.identity(),
        )?;
        work.report.outcome = Outcome::Copied;
        self.advance(work)
    }

    /// Reports that a tree keeps changing while the provisioning script runs.
    fn report_busy_tree(&self, tree: &TreePaths, changed: &Path) {
        let message = escape_control_line(&format!(
            "{} is still the image's, because provisioning runs and {} keeps changing; {}; end the script, or let supervisord \
             start its server",
            tree.active_link.display(),
            changed.display(),
            loss_warning(tree)
        ));
        journal_notes::set_pending(self.journal, &tree.name, &message);
        self.show(format!("{}: {message}", tree.name));
    }

    /// Reports a failure that is retried before the stage ends.
    fn report_failure(&self, failed: &Failed<'_>) {
        journal_notes::set_pending(
            self.journal,
            &failed.tree.name,
            failed.report.cause.as_deref().unwrap_or_default(),
        );
    }

    /// Reports that copies wait for provisioning.
    fn announce(&self, waiting: &[TreeWork<'_>]) {
        for work in waiting {
            let Some(Copying { from, listing, claim, started, .. }) = &work.copying else { continue };
            // The next pass reports a lost claim.
            if let Err(error) = self.job(work.tree, from, listing, claim).wait(started) {
                log::debug!("{error:#}");
            }
        }
        let names: Vec<&str> = waiting.iter().map(|work| work.tree.name.as_str()).collect();
        self.log_and_show(format!("{}: copied, waiting for provisioning to end", names.join(", ")));
    }

    /// Writes a message to the log, and to the journal as the stage's current activity.
    fn log_and_show(&self, message: String) {
        log::info!("{message}");
        self.show(message);
    }

    /// Writes a message to the journal as the stage's current activity.
    fn show(&self, message: String) {
        if let Err(error) = self.journal.append(Event::StageNote { stage: Stage::Sync, message }) {
            log::debug!("{error:#}");
        }
    }
}
