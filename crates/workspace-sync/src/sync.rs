//! What a command works with, and the steps that several of them take.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use journal::Journal;
use tree_copy::Capabilities;

use crate::carry::Carrier;
use crate::claim::Claim;
use crate::clock::Instant;
use crate::copied::AsCopied;
use crate::copy::{self, Manner};
use crate::decide::{self, Refusal, Seen, Why};
use crate::entrance::Entrance;
use crate::generation::{self, Comparison};
use crate::holders::{self, Holder};
use crate::listing::Listing;
use crate::look;
use crate::manifest::Manifest;
use crate::marker::Marker;
use crate::memory::Memory;
use crate::mounted;
use crate::note;
use crate::replace::{self, Replaced};
use crate::report::{InUse, Report, escape_control_line};
use crate::snapshot;
use crate::steps::{self, Step};
use crate::sweep;
use crate::tree::Tree;

/// What is the same for all trees of a run.
#[derive(Debug)]
pub struct Setting<'a> {
    /// The workspace.
    pub workspace: &'a workspace::Workspace,
    /// `WORKSPACE_SYNC`.
    pub wanted: bool,
    /// Where this container remembers things.
    pub memory: &'a Path,
    /// The boot journal.
    pub journal: &'a Journal,
    /// This container's name on partial copies.
    pub claim: Claim,
    /// How to copy.
    pub manner: Manner,
    /// When the container began to change what the image brought.
    pub began: Option<Instant>,
}

impl Setting<'_> {
    /// What is seen of `tree` now.
    pub fn look(&self, tree: &Tree) -> Result<Seen> {
        look::at(tree, &self.workspace.path, self.workspace.mounted, self.wanted)
    }

    /// The steps that a run would take.
    pub fn steps(&self, tree: &Tree) -> Result<Vec<Step>> {
        let action = decide::decide(&self.look(tree)?);
        Ok(steps::of(&action, tree, Memory::load(self.memory, &tree.name).leftover.is_some()))
    }

    /// This container's claim on the partial copy of `tree`.
    pub fn claim_on(&self, tree: &Tree) -> Claim {
        Claim { tree: tree.name.clone(), ..self.claim.clone() }
    }

    /// What the image brought in a tree, listed once in a container's life: later, programs have changed it.
    pub fn listing(&self, tree: &Tree) -> Result<Option<Listing>> {
        snapshot::ensure(self.memory, tree, self.began)
    }

    /// Notes in the report if the image has another generation than the copy.
    pub fn compare_generation(&self, tree: &Tree, marker: &Marker, report: &mut Report) -> Result<()> {
        let Some(listing) = self.listing(tree)? else { return Ok(()) };
        match generation::compare(Some(&listing), &Manifest::read(self.open_copy(tree)?)?) {
            Comparison::Same => {}
            Comparison::Another => {
                report.outdated = true;
                report.cause = Some(format!(
                    "the image brings another generation ({}) than the copy has ({})",
                    generation::name(&listing),
                    marker.generation
                ));
            }
            Comparison::Impossible => log::info!(
                "{}: the copy was made by an earlier version, so its generation cannot be compared with the image's",
                tree.name
            ),
        }
        Ok(())
    }

    /// Puts the link in the place of the directory, if that is possible.
    pub fn replace(&self, tree: &Tree, memory: &mut Memory) -> Result<Replaced> {
        let new = self.open_copy(tree)?;
        let capabilities = self.capabilities(tree)?;
        // What is missing there was removed by us, or by an earlier run that was killed.
        let carrier =
            Carrier::new(tree, &tree.entrance, new, &capabilities, self.memory, self.listing(tree)?)
                .without_removals();
        // Nothing can be written to a directory that is gone; one that became the image's copy is followed like any.
        let replaced = replace::directory(tree, &carrier, &mut memory.leftover)?;
        if replaced == Replaced::Emptied {
            self.has_settled(tree, memory);
        }
        memory.store(self.memory, &tree.name)?;
        Ok(replaced)
    }

    /// Carries over until nothing is written to the old tree any more or `patience` is over; returns who may still write.
    pub fn settle(&self, tree: &Tree, memory: &mut Memory, patience: Duration) -> Result<Vec<Holder>> {
        let new = self.open_copy(tree)?;
        let capabilities = self.capabilities(tree)?;
        if let Some(marker) = Marker::read(&new)? {
            memory.keep_about(&marker);
        }
        let carrier = Carrier::new(tree, &tree.image, new, &capabilities, self.memory, self.listing(tree)?);
        let mut writers = Vec::new();
        let settled = kit::wait::until(patience, "programs that write to the old tree", || {
            match self.carry_round(tree, &carrier, memory) {
                Err(error) => Some(Err(error)),
                Ok(found) => {
                    writers = found;
                    writers.is_empty().then_some(Ok(()))
                }
            }
        });
        match settled {
            Ok(done) => done?,
            // The deadline: whoever still writes is followed further, by another process.
            Err(_) => return Ok(writers),
        }
        self.has_settled(tree, memory);
        memory.store(self.memory, &tree.name)?;
        Ok(writers)
    }

    fn carry_round(&self, tree: &Tree, carrier: &Carrier<'_>, memory: &mut Memory) -> Result<Vec<Holder>> {
        // Who is looked for first cannot write after the last look at the tree.
        let writers = holders::writers(&tree.image);
        let Some(leftover) = memory.leftover.as_mut() else { return Ok(writers) };
        let writers = leftover.concerned(writers);
        let round = carrier.round(leftover)?;
        for kept in &round.kept {
            self.note(
                tree,
                &format!("{} is what was written before the switch, kept beside the other", kept.display()),
            );
        }
        if !round.is_quiet() {
            log::debug!("{}: {} entries carried over, {} removed", tree.name, round.carried, round.removed);
        }
        memory.store(self.memory, &tree.name)?;
        round.complete().map(|()| writers)
    }

    /// Removes what a killed process had half made in the copy; what is not found there hurts nobody.
    pub fn sweep(&self, tree: &Tree, memory: &mut Memory) -> Result<()> {
        if !memory.unswept {
            return Ok(());
        }
        match self.open_copy(tree).and_then(|copy| Ok(sweep::copy(&copy)?)) {
            Ok(young) => memory.unswept = young,
            Err(error) => log::debug!("{}: cannot tidy up the copy: {error:#}", tree.name),
        }
        memory.store(self.memory, &tree.name)
    }

    /// Nothing is left to be carried over.
    fn has_settled(&self, tree: &Tree, memory: &mut Memory) {
        memory.leftover = None;
        AsCopied::forget(self.memory, &tree.name);
    }

    /// Opens the workspace's copy.
    pub fn open_copy(&self, tree: &Tree) -> Result<OwnedFd> {
        look::open(&self.workspace.path, &tree.copy)
            .with_context(|| format!("cannot open {}", tree.copy.display()))
    }

    fn capabilities(&self, tree: &Tree) -> Result<Capabilities> {
        let parent = copy::open_parent(tree, &self.workspace.path)?;
        Ok(tree_copy::probe(&copy::path_of(&parent))?)
    }

    /// Reports that the switch is done and the carrying over is not.
    pub fn tell_unsettled(&self, tree: &Tree, error: &anyhow::Error, report: &mut Report) {
        let cause = format!("not all that was written in the image's copy is carried over yet: {error:#}");
        self.note(tree, &cause);
        report.cause = Some(escape_control_line(&cause));
        report.hint = Some("remove what is in the way; it is tried again every few seconds".to_owned());
    }

    /// Reports which programs are followed.
    pub fn tell_holders(&self, tree: &Tree, holders: &[Holder]) {
        let (hidden, seen): (Vec<&Holder>, Vec<&Holder>) = holders.iter().partition(|holder| holder.hidden);
        let names =
            |holders: &[&Holder]| holders.iter().map(|holder| holder.shown()).collect::<Vec<_>>().join(", ");
        if !seen.is_empty() {
            let who = names(&seen);
            self.note(
                tree,
                &format!(
                    "still written in the image's copy by {who}: it is carried over until they end or are restarted"
                ),
            );
        }
        if !hidden.is_empty() {
            let who = names(&hidden);
            self.note(
                tree,
                &format!(
                    "whether {who} still writes in the image's copy cannot be seen: it is looked after until they end"
                ),
            );
        }
    }

    /// Tells the log and the journal.
    pub fn note(&self, tree: &Tree, message: &str) {
        note::lasting(self.journal, &tree.name, message);
    }

    /// Carries over once, every tree that was switched, and returns whether a program may still write; fails with the first
    /// tree that failed.
    pub fn carry_over(&self, trees: &[Tree]) -> Result<bool> {
        let mut writing = false;
        let mut failed = None;
        for tree in trees.iter().filter(|tree| self.is_followed(tree)) {
            let mut memory = Memory::load(self.memory, &tree.name);
            match self.settle(tree, &mut memory, Duration::ZERO) {
                Ok(writers) => writing |= !writers.is_empty(),
                Err(error) => failed = failed.or(Some(error.context(tree.name.clone()))),
            }
        }
        failed.map_or(Ok(writing), Err)
    }

    /// True if what is written to the tree that was in use before is carried over.
    pub fn is_followed(&self, tree: &Tree) -> bool {
        // A directory that stays in use is not followed.
        Memory::load(self.memory, &tree.name).leftover.is_some()
            && Entrance::of(tree).is_ok_and(|entrance| entrance != Entrance::Directory)
    }
}

/// What programs use.
pub fn in_use(tree: &Tree) -> InUse {
    match Entrance::of(tree) {
        Ok(Entrance::Image) => InUse::Image,
        Ok(Entrance::Workspace) => InUse::Workspace,
        Ok(Entrance::Directory) => InUse::Directory,
        _ => InUse::Other,
    }
}

/// Returns why nothing is done.
pub fn explain(why: Why, wanted: bool, tree: &Tree) -> Option<String> {
    match why {
        Why::Directory => Some(format!(
            "the image's {} is used, and not the copy at {}, because WORKSPACE_SYNC is not true",
            tree.entrance.display(),
            tree.copy.display()
        )),
        Why::Mount => Some(format!("{} is a mount, and stays where it is", tree.entrance.display())),
        Why::NotMounted if wanted => Some("no volume is mounted at the workspace".to_owned()),
        Why::NotMounted | Why::NotWanted => None,
    }
}

/// What is in the way, and what the user can do.
pub fn in_words(refusal: &Refusal, tree: &Tree) -> (String, String) {
    let entrance = tree.entrance.display();
    match refusal {
        Refusal::Mounted(mount) => mounted::in_words(tree, mount),
        Refusal::Missing => (
            format!("{entrance} does not exist"),
            "OPT_SYNC takes names of directories that the image has below /opt".to_owned(),
        ),
        Refusal::LinkElsewhere(to) => (
            format!("{entrance} is a link to {}, made by somebody else", to.display()),
            format!("remove {} from OPT_SYNC, or remove the link", tree.name),
        ),
        Refusal::NotDirectory => {
            (format!("{entrance} is not a directory"), format!("remove {} from OPT_SYNC", tree.name))
        }
        Refusal::Occupied(what) => (
            format!("{} is taken: {what}", tree.copy.display()),
            "move it away and type: workspace-sync run; it is never merged into".to_owned(),
        ),
    }
}
