//! `run`: every tree is copied at once, and switched once provisioning has ended or the tree is quiet.
//!
//! A script that installs packages goes on changing the tree, so what follows the first pass waits for its end: the last
//! passes, the comparison, the switch. One that never ends does not keep a tree from its switch that nothing changes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use journal::{Event, Stage};

use crate::claim::{self, Claim};
use crate::copied::AsCopied;
use crate::copy::{self, Begun, Job};
use crate::decide::{self, Action};
use crate::entrance;
use crate::failure::Failure;
use crate::gate::Gate;
use crate::listing::Listing;
use crate::look;
use crate::memory::Memory;
use crate::refresh;
use crate::report::{InUse, Outcome, Report, printable};
use crate::steps::{self, Step};
use crate::sweep;
use crate::sync::{self, Setting};
use crate::tree::Tree;

/// After the switch, programs get this long to stop writing to the old tree before the rest is left to `follow`.
const SETTLE: Duration = Duration::from_secs(5);

/// What to do with a directory that stays; the lines for the image's Dockerfile are in docs/sync.md.
const BUILD_A_LINK: &str = "build it as a link, see \"Directories\" in docs/sync.md";

/// A tree on its way.
struct Work<'a> {
    tree: &'a Tree,
    report: Report,
    memory: Memory,
    steps: std::vec::IntoIter<Step>,
    /// What is said about another generation of the image.
    outdated: Option<String>,
    copying: Option<Copying>,
}

/// A copy that waits for its switch.
struct Copying {
    from: PathBuf,
    listing: Listing,
    claim: Claim,
    begun: Begun,
    changed: Instant,
}

/// Brings every tree into the state that the settings ask for. `report` gets the report as soon as a tree is done with: a
/// failure is part of it, because the other trees go on.
pub fn all(
    setting: &Setting<'_>,
    trees: &[Tree],
    gate: &mut Gate,
    report: &mut dyn FnMut(&Report) -> Result<()>,
) -> Result<()> {
    let mut waiting = Vec::new();
    for tree in trees {
        let memory = Memory::load(setting.memory, &tree.name);
        let steps = vec![].into_iter();
        let mut work = Work { tree, report: Report::new(tree), memory, steps, outdated: None, copying: None };
        match setting.begin(&mut work) {
            Ok(()) if work.copying.is_some() => waiting.push(work),
            done => report(&work.end(done))?,
        }
    }
    if !waiting.is_empty() && !gate.is_open() {
        setting.announce(&waiting);
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
            report(&work.end(done))?;
        }
        if !waiting.is_empty() {
            gate.pause();
        }
    }
    Ok(())
}

fn lost(tree: &Tree) -> String {
    format!("what is written to {} stays in this container and is lost with it", tree.entrance.display())
}

impl Work<'_> {
    fn end(mut self, done: Result<(), Failure>) -> Report {
        if let Err(failure) = done {
            let (cause, hint) = failure.in_words();
            self.report.outcome = Outcome::Failed;
            self.report.retrying = failure.may_pass();
            self.report.cause = Some(printable(&cause));
            self.report.hint = hint;
        }
        self.report.in_use = sync::in_use(self.tree);
        if self.report.outcome == Outcome::Failed && self.report.in_use != InUse::Workspace {
            let cause = self.report.cause.take().unwrap_or_default();
            let loss = lost(self.tree);
            self.report.cause = Some(printable(&format!("{cause}; meanwhile, {loss}")));
        }
        self.report
    }
}

impl Setting<'_> {
    /// Decides, and takes all steps, or those up to a copy that waits for its switch.
    fn begin(&self, work: &mut Work<'_>) -> Result<(), Failure> {
        let (tree, memory) = (work.tree, &mut work.memory);
        entrance::sweep(tree);
        sweep::clocks(self, tree);
        refresh::recover(self, tree)?;
        let seen = self.look(tree)?;
        let action = decide::decide(&seen);
        *memory = Memory::load(self.memory, &tree.name);
        // An earlier process did not come to the end of carrying over.
        memory.unswept |= memory.leftover.is_some();
        match &action {
            Action::Leave(why) => {
                work.report.cause = sync::explain(*why, self.wanted, tree);
                return Ok(());
            }
            Action::Refuse(refusal) => {
                let (cause, hint) = sync::in_words(refusal, tree);
                if !self.wanted {
                    work.report.cause = Some(cause);
                    return Ok(());
                }
                return Err(Failure::Lasting(kit::exit::with_hint(anyhow!(cause), hint)));
            }
            Action::Keep(marker) | Action::Switch(marker) | Action::ReplaceDirectory(marker) => {
                work.report.outcome = Outcome::Used;
                // Its maker may have been killed before it removed its claim.
                if let Ok(copy) = look::open(&self.workspace.path, &tree.copy) {
                    let _ = claim::release(&copy);
                }
                self.compare_generation(tree, marker, &mut work.report)?;
            }
            Action::Copy | Action::CopyDirectory | Action::Return { .. } => {}
        }
        match &action {
            Action::Keep(marker) => memory.keep_about(marker),
            Action::Switch(marker) | Action::ReplaceDirectory(marker) => {
                memory.expect_leftover(marker, self.began);
                memory.store(self.memory, &tree.name)?;
            }
            _ => {}
        }
        if matches!(action, Action::CopyDirectory | Action::ReplaceDirectory(_)) {
            self.say(format!(
                "{}: {} is a directory, not a link: the copy takes its place only while no program uses it; {BUILD_A_LINK}",
                tree.name,
                tree.entrance.display()
            ));
        }
        work.outdated.clone_from(&work.report.cause);
        work.steps = steps::of(&action, tree, work.memory.leftover.is_some()).into_iter();
        self.advance(work)
    }

    /// Takes the steps that are left, or those up to a copy that waits for its switch.
    fn advance(&self, work: &mut Work<'_>) -> Result<(), Failure> {
        let tree = work.tree;
        while let Some(step) = work.steps.next() {
            log::debug!("{}: {step}", tree.name);
            match &step {
                Step::Copy { from, .. } => {
                    work.copying = Some(self.copy(tree, from)?);
                    return Ok(());
                }
                Step::Point { to, .. } => entrance::point(tree, to)?,
                Step::ReplaceDirectory { .. } => {
                    if let Some(why) = self.replace(tree, &mut work.memory)? {
                        self.keep_directory(work, &why);
                        return Ok(());
                    }
                }
                // The switch is done, whatever becomes of this: the follower goes on with it.
                Step::CarryOver { .. } => match self.settle(tree, &mut work.memory, SETTLE) {
                    Ok(writers) => work.report.holders = writers,
                    Err(error) => self.tell_unsettled(tree, &error, &mut work.report),
                },
            }
        }
        self.sweep(tree, &mut work.memory)?;
        work.report.settling = work.memory.leftover.is_some();
        // Only now it shows whether a directory at the entrance has become the image's copy.
        if let Some(cause) = work.outdated.take() {
            let renewal = tree.renewal();
            self.note(tree, &format!("{cause}; the copy is used: {renewal}"));
            work.report.hint.get_or_insert(renewal);
        }
        self.tell_holders(tree, &work.report.holders);
        Ok(())
    }

    fn keep_directory(&self, work: &mut Work<'_>, why: &str) {
        let (tree, report) = (work.tree, &mut work.report);
        let entrance = tree.entrance.display();
        let cause = format!(
            "{entrance} is a directory, not a link, and {why}, so that the copy cannot take its place: {}",
            lost(tree)
        );
        self.note(tree, &cause);
        report.outcome = Outcome::Kept;
        report.cause = Some(printable(&cause));
        report.hint = Some(format!("{BUILD_A_LINK}; or stop what uses it and type: workspace-sync run"));
    }

    fn copy(&self, tree: &Tree, from: &Path) -> Result<Copying, Failure> {
        let listing = self.listing(tree)?.unwrap_or_default();
        let claim = self.claim_on(tree);
        let begun = self.job(tree, from, &listing, &claim).begin()?;
        Ok(Copying { from: from.to_owned(), listing, claim, begun, changed: Instant::now() })
    }

    fn job<'a>(
        &'a self,
        tree: &'a Tree,
        source: &'a Path,
        listing: &'a Listing,
        claim: &'a Claim,
    ) -> Job<'a> {
        Job {
            tree,
            source,
            listing,
            workspace: &self.workspace.path,
            claim,
            memory: self.memory,
            journal: self.journal,
            manner: self.manner,
        }
    }

    /// Brings over what changed, and returns whether nothing has for so long that the switch does not wait any more.
    fn catch_up(&self, work: &mut Work<'_>, gate: &Gate) -> Result<bool, Failure> {
        let Some(copying) = &mut work.copying else { return Ok(true) };
        let job = self.job(work.tree, &copying.from, &copying.listing, &copying.claim);
        if !job.catch_up(&mut copying.begun)? {
            copying.changed = Instant::now();
            return Ok(false);
        }
        Ok(copying.changed.elapsed() >= gate.quiet_after)
    }

    /// Completes the copy, and takes the steps that are left.
    fn complete(&self, work: &mut Work<'_>) -> Result<(), Failure> {
        let Some(copying) = work.copying.take() else { return Ok(()) };
        let tree = work.tree;
        let marker = self.job(tree, &copying.from, &copying.listing, &copying.claim).place(copying.begun)?;
        work.memory = Memory::load(self.memory, &tree.name);
        work.memory.expect_leftover(&marker, self.began);
        work.memory.store(self.memory, &tree.name)?;
        // Before the switch: from then on, programs write to it.
        AsCopied::of(self.open_copy(tree)?, &copy::kept())?.store(
            self.memory,
            &tree.name,
            &marker.identity(),
        )?;
        work.report.outcome = Outcome::Copied;
        self.advance(work)
    }

    /// Reports what the copies wait for.
    fn announce(&self, waiting: &[Work<'_>]) {
        for work in waiting {
            let Some(Copying { from, listing, claim, begun, .. }) = &work.copying else { continue };
            // A claim that is lost shows with the next pass.
            if let Err(error) = self.job(work.tree, from, listing, claim).wait(begun) {
                log::debug!("{error:#}");
            }
        }
        let names: Vec<&str> = waiting.iter().map(|work| work.tree.name.as_str()).collect();
        self.say(format!("{}: copied, waiting for provisioning to end", names.join(", ")));
    }

    /// Writes to the log, and to the journal as what the stage does now.
    fn say(&self, message: String) {
        log::info!("{message}");
        if let Err(error) = self.journal.append(Event::StageNote { stage: Stage::Sync, message }) {
            log::debug!("{error:#}");
        }
    }
}
