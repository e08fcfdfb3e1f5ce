//! A scan: compares each target directory of a tree with its wanted links, and corrects it.
//!
//! A scan looks at everything, or at the directories into which changed parts of the tree lead. Parents come before their
//! children, so that all that leads into a directory is known when it is visited (`directory_visit.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dirfd::Identity;

use crate::directory_scan::Names;
use crate::execute;
use crate::findings::{Findings, ScanCounts};
use crate::ledger::Ledger;
use crate::mapping::{Source, Targets, in_order};
use crate::pending_events::Changes;
use crate::plan::DryRunStep;
use crate::rescan_interval::EventCoverage;
use crate::routes::{Routes, below, children_of};

/// Links from one tree into others.
#[derive(Debug)]
pub struct TreeLinker {
    /// The tree, as the links name it.
    pub root: PathBuf,
    pub ledger: Ledger,
    /// Routes as of the last scan.
    pub routes: Routes,
    /// Conflicts and errors by directory.
    pub findings: Findings,
    /// Coverage of the tree by events.
    pub coverage: EventCoverage,
}

/// Directories to scan.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// All.
    All,
    /// Those into which these changes of the tree lead.
    Changed(&'a Changes),
    /// Those with links that were changed themselves, by absolute path.
    ChangedLinks(&'a Changes),
}

/// Receives the steps of a dry run, which are not made.
pub type DryRun<'a> = Option<&'a mut dyn FnMut(DryRunStep)>;

/// A directory to scan.
#[derive(Debug, Clone)]
pub struct Job {
    /// Directories that lead into it.
    pub sources: Vec<Source>,
    pub names: Names,
}

type Jobs = BTreeMap<Arc<Path>, Job>;
/// Directories in one directory, with what leads into them.
pub type Children = BTreeMap<Arc<Path>, Vec<Source>>;

/// Result of a visit to one directory.
pub enum Visit {
    /// It is correct, except for the findings.
    Done {
        children: Children,
        /// Number of entries that stay, if nothing leads there any more.
        remaining: usize,
    },
    /// It does not exist.
    Absent,
    /// It or a source cannot be read: nothing in it or below may be changed.
    Unknown,
}

/// A running scan.
pub struct Pass<'a, 'b> {
    pub targets: &'a Targets,
    pub top: Option<OwnedFd>,
    pub identity: Option<Identity>,
    pub dry_run: DryRun<'b>,
    /// Directories that were removed, or would have been.
    pub gone: BTreeSet<Arc<Path>>,
    pub counts: ScanCounts,
    jobs: Jobs,
    /// True if all directories are scanned.
    full: bool,
    /// Directories of ours that nothing leads into any more, with the number of their entries.
    emptied: BTreeMap<Arc<Path>, usize>,
}

impl TreeLinker {
    /// Links from this tree, with the links of earlier runs.
    pub fn new(root: &Path, ledger: Ledger) -> Self {
        Self {
            root: root.to_owned(),
            ledger,
            routes: Routes::default(),
            findings: Findings::default(),
            coverage: EventCoverage::Complete,
        }
    }

    /// Corrects the links. `top` is the tree, if it exists; if it cannot be read, nothing is changed.
    pub fn scan(
        &mut self,
        top: Option<OwnedFd>,
        targets: &Targets,
        scope: Scope<'_>,
        dry_run: DryRun<'_>,
    ) -> io::Result<ScanCounts> {
        let full = matches!(scope, Scope::All);
        let mut pass = Pass {
            targets,
            identity: top.as_ref().map(dirfd::identity).transpose()?,
            top,
            dry_run,
            gone: BTreeSet::new(),
            counts: ScanCounts::default(),
            jobs: self.jobs(targets, scope),
            full,
            emptied: BTreeMap::new(),
        };
        if full {
            self.findings.clear();
            self.coverage = EventCoverage::Complete;
        }
        loop {
            while let Some((target, job)) = pass.jobs.pop_first() {
                self.process(&mut pass, &target, job);
            }
            let removed = self.remove_emptied(&mut pass);
            if removed.is_empty() {
                break;
            }
            // Another entry may be wanted at the name of a removed directory.
            for target in &removed {
                if let (Some(parent), Some(name)) = (target.parent(), target.file_name())
                    && let Some((parent, _)) = self.routes.targets().get_key_value(parent)
                {
                    self.add(&mut pass.jobs, parent, Names::one(name.as_bytes()));
                }
            }
            pass.gone.extend(removed);
        }
        if pass.dry_run.is_none() {
            let saved = self.ledger.save().and_then(|()| self.ledger.compact_if_large());
            let failed = saved.err().map(|error| format!("{error:#}"));
            pass.counts.ledger_error = pass.counts.ledger_error.take().or(failed);
        }
        if full {
            self.routes.remove_unrouted();
        }
        Ok(pass.counts)
    }

    fn jobs(&self, targets: &Targets, scope: Scope<'_>) -> Jobs {
        let mut jobs = Jobs::new();
        match scope {
            Scope::All => {
                // All that is mapped, and all that ever was.
                let job = |sources| Job { sources, names: Names::All };
                let known = self.ledger.targets().chain(self.routes.targets().keys());
                jobs.extend(known.map(|target| (Arc::clone(target), job(Vec::new()))));
                let roots = targets.roots.iter();
                jobs.extend(roots.map(|(root, sources)| (Arc::clone(root), job(sources.clone()))));
            }
            Scope::Changed(changes) => {
                for (_, directory, names) in changes.affected(self.routes.directories()) {
                    directory.targets.iter().for_each(|target| self.add(&mut jobs, target, names.clone()));
                }
            }
            Scope::ChangedLinks(changes) => {
                let affected = changes.affected(self.routes.targets());
                affected.for_each(|(target, _, names)| self.add(&mut jobs, target, names));
            }
        }
        jobs
    }

    fn add(&self, jobs: &mut Jobs, target: &Arc<Path>, names: Names) {
        match jobs.get_mut(target) {
            Some(job) => job.names.join(names),
            None => {
                let sources = self.routes.sources(target).to_vec();
                jobs.insert(Arc::clone(target), Job { sources, names });
            }
        }
    }

    /// Visits one directory, and adds jobs for those in it.
    fn process(&mut self, pass: &mut Pass<'_, '_>, target: &Arc<Path>, mut job: Job) {
        // A look at some names does not show which of the others are still in conflict.
        if self.findings.has(target) {
            job.names = Names::All;
        }
        let mut children = match self.visit(pass, target, &job) {
            Visit::Done { children, remaining } => {
                if job.sources.is_empty() && self.ledger.created_directory(target) {
                    pass.emptied.insert(Arc::clone(target), remaining);
                }
                children
            }
            Visit::Absent => {
                self.ledger.forget_target(target);
                Children::new()
            }
            Visit::Unknown => {
                // Keep its sources.
                let below: Vec<_> = below(&pass.jobs, target).map(|(other, _)| Arc::clone(other)).collect();
                below.iter().for_each(|other| _ = pass.jobs.remove(other));
                if !job.sources.is_empty() {
                    self.routes.set(target, job.sources);
                }
                return;
            }
        };
        for (root, more) in children_of(&pass.targets.roots, target, &job.names) {
            children.entry(Arc::clone(root)).or_default().extend(more.iter().cloned());
        }
        if !pass.full {
            for (child, _) in children_of(self.routes.targets(), target, &job.names) {
                children.entry(Arc::clone(child)).or_default();
            }
        }
        for (child, sources) in children {
            let sources = in_order(sources);
            if pass.full || self.routes.sources(&child) != sources {
                pass.jobs.insert(child, Job { sources, names: Names::All });
            }
        }
        self.routes.set(target, job.sources);
    }

    /// Removes directories that we made, that mirror nothing any more and are empty; the deepest first.
    fn remove_emptied(&mut self, pass: &mut Pass<'_, '_>) -> Vec<Arc<Path>> {
        let mut removed = Vec::new();
        while let Some((target, remaining)) = pass.emptied.pop_last() {
            let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else { continue };
            if remaining > 0 {
                continue;
            }
            if let Some(dry_run) = &mut pass.dry_run {
                dry_run(DryRunStep { action: "rmdir", path: target.to_path_buf(), to: None });
            } else {
                let done =
                    dirfd::open_absolute(parent).and_then(|parent| execute::remove_directory(parent, name));
                if !done.unwrap_or(false) {
                    continue;
                }
                pass.counts.removed_directories += 1;
                self.ledger.forget_directory(&target);
            }
            if let Some(remaining) = pass.emptied.get_mut(parent) {
                *remaining = remaining.saturating_sub(1);
            }
            removed.push(target);
        }
        removed
    }
}
