//! One pass: every directory that storage leads into is compared with what it shall hold, and made so.
//!
//! A pass looks at everything, or at the directories into which changed parts of the storage lead. Parents come before their
//! children, so that all that leads into a directory is known when it is looked at. What a look at one directory is stands
//! in `visit.rs`, what is done there in `carry_out.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::ops::Bound::{Excluded, Unbounded};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::apply;
use crate::changes::Names;
use crate::findings::{Findings, Tally};
use crate::folder::{self, Identity};
use crate::held::Held;
use crate::ledger::{Ledger, Note};
use crate::pace::Events;
use crate::pass::{Job, Pass, Routes, Scope, Show, Visit, Work};
use crate::shown::Shown;
use crate::targets::{Source, Targets, in_order};
use crate::temporary::Temporary;

/// Links from one tree into others.
#[derive(Debug)]
pub struct Engine {
    /// The tree that is linked, as the links name it.
    pub tree: PathBuf,
    /// What is ours.
    pub ledger: Ledger,
    /// The names of links that are not yet, or no longer, where they belong.
    pub temporary: Temporary,
    /// What leads where, as of the last pass.
    routes: BTreeMap<PathBuf, Vec<Source>>,
    /// What could not be done, by directory.
    pub findings: Findings,
    /// The directories of the tree that lead somewhere, and what they are.
    pub folders: BTreeMap<PathBuf, Identity>,
    /// What events tell about the tree.
    pub events: Events,
    /// Whether a pass shall end before it is through, because the program ends.
    stop: Arc<AtomicBool>,
}

impl Engine {
    /// For this tree, with what earlier runs have made.
    pub fn new(tree: &Path, ledger: Ledger, temporary: Temporary, stop: Arc<AtomicBool>) -> Self {
        Self {
            tree: tree.to_owned(),
            ledger,
            temporary,
            routes: BTreeMap::new(),
            findings: Findings::default(),
            folders: BTreeMap::new(),
            events: Events::Complete,
            stop,
        }
    }

    /// What leads into which directory, as of the last pass.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Whether the program ends.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Makes what can be changed right. `top` is the tree, if it is there; if it cannot be looked at, nothing is changed.
    pub fn pass(
        &mut self,
        top: Option<OwnedFd>,
        targets: &Targets,
        scope: Scope<'_>,
        show: Show<'_>,
    ) -> io::Result<Tally> {
        let identity = top.as_ref().map(folder::identity).transpose()?;
        let mut pass = Pass { targets, top, identity, show, gone: BTreeSet::new(), tally: Tally::default() };
        let (mut work, former) = match scope {
            Scope::All => self.begin_all(targets),
            Scope::Changed(changes) => {
                let touched = |_: &Path, sources: &[Source]| {
                    let names = sources.iter().filter_map(|source| changes.within(&source.directory));
                    names.reduce(|mut all, names| {
                        all.join(names);
                        all
                    })
                };
                (self.routed(touched), Routes::new())
            }
            Scope::Spoilt(changes) => (self.routed(|place, _| changes.within(place)), Routes::new()),
        };
        let mut emptied = BTreeMap::new();
        loop {
            while let Some((place, job)) = work.pop_first() {
                self.one(&mut pass, &mut work, &former, &mut emptied, place, job);
                if self.is_stopped() {
                    work.clear();
                    emptied.clear();
                }
            }
            let removed = self.remove_emptied(&mut pass, &mut emptied);
            if removed.is_empty() {
                break;
            }
            // Where a directory was, something else may be wanted.
            for place in &removed {
                if let (Some(parent), Some(name)) = (place.parent(), place.file_name())
                    && let Some(sources) = self.routes.get(parent)
                {
                    let names = Names::one(name.as_bytes());
                    match work.get_mut(parent) {
                        Some(job) => job.names.join(names),
                        None => {
                            work.insert(parent.to_owned(), Job { sources: sources.clone(), names });
                        }
                    }
                }
            }
            pass.gone.extend(removed);
        }
        if pass.show.is_none() {
            let saved = self.ledger.save().and_then(|()| self.ledger.tidy());
            let failed = saved.err().map(|error| format!("{error:#}"));
            pass.tally.ledger = pass.tally.ledger.take().or(failed);
        }
        let routed: BTreeSet<&PathBuf> =
            self.routes.values().flatten().map(|source| &source.directory).collect();
        self.folders.retain(|folder, _| routed.contains(folder));
        Ok(pass.tally)
    }

    /// All that is mapped, and all that ever was; and what led where until now.
    fn begin_all(&mut self, targets: &Targets) -> (Work, Routes) {
        let job = |sources| Job { sources, names: Names::All };
        let mut work: Work = self.ledger.places().map(|place| (place.clone(), job(Vec::new()))).collect();
        work.extend(targets.roots.iter().map(|(root, sources)| (root.clone(), job(sources.clone()))));
        self.findings.clear();
        self.folders.clear();
        self.events = Events::Complete;
        (work, std::mem::take(&mut self.routes))
    }

    /// Those of the directories into which something leads that are asked for.
    fn routed(&self, wanted: impl Fn(&Path, &[Source]) -> Option<Names>) -> Work {
        let routes = self.routes.iter();
        routes
            .filter_map(|(place, sources)| {
                let names = wanted(place, sources)?;
                Some((place.clone(), Job { sources: sources.clone(), names }))
            })
            .collect()
    }

    /// Looks at one directory, and finds out what has to be looked at next.
    fn one(
        &mut self,
        pass: &mut Pass<'_, '_>,
        work: &mut Work,
        former: &Routes,
        emptied: &mut BTreeMap<PathBuf, usize>,
        place: PathBuf,
        mut job: Job,
    ) {
        // A doubt needs a look at all.
        if self.findings.are_partial(&place) || self.ledger.is_in_doubt(&place) {
            job.names = Names::All;
        }
        let mut children = match self.visit(pass, &place, &job) {
            Visit::Done(children, remaining) => {
                if job.sources.is_empty() && self.ledger.made(&place) {
                    emptied.insert(place.clone(), remaining);
                }
                children
            }
            Visit::Absent => {
                self.forget(&place);
                BTreeMap::new()
            }
            Visit::Unknown => {
                work.retain(|other, _| !other.starts_with(&place));
                let kept = former.range(place.clone()..).take_while(|(other, _)| other.starts_with(&place));
                self.routes.extend(kept.map(|(other, sources)| (other.clone(), sources.clone())));
                if !job.sources.is_empty() {
                    self.routes.insert(place, job.sources);
                }
                return;
            }
            Visit::Stopped => return,
        };
        for (root, more) in below(&pass.targets.roots, &place, &job.names) {
            children.entry(root.clone()).or_default().extend(more.iter().cloned());
        }
        for (child, _) in below(&self.routes, &place, &job.names) {
            children.entry(child.clone()).or_default();
        }
        for (child, sources) in children {
            let sources = in_order(sources);
            if self.routes.get(&child).map_or(&[][..], Vec::as_slice) != sources {
                work.insert(child, Job { sources, names: Names::All });
            }
        }
        if job.sources.is_empty() {
            self.routes.remove(&place);
        } else {
            self.routes.insert(place, job.sources);
        }
    }

    /// Nothing in this directory is ours any more, because it is not there.
    fn forget(&mut self, place: &Path) {
        if let Some(held) = self.ledger.held(place).cloned() {
            for (name, source) in held.iter() {
                self.ledger.note(Note::Unlink(place, name, source));
            }
            self.ledger.hold(place, Held::default());
        }
        if self.ledger.made(place) {
            self.ledger.note(Note::Forget(place));
        }
    }

    /// Removes directories that we made, that mirror nothing any more and are empty; the deepest first.
    fn remove_emptied(
        &mut self,
        pass: &mut Pass<'_, '_>,
        emptied: &mut BTreeMap<PathBuf, usize>,
    ) -> Vec<PathBuf> {
        let mut removed = Vec::new();
        while let Some((place, remaining)) = emptied.pop_last() {
            if remaining > 0 {
                continue;
            }
            let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else { continue };
            if let Some(show) = &mut pass.show {
                show(Shown::RemoveDirectory(place.clone()));
            } else {
                let done =
                    folder::open_plain(parent).and_then(|parent| apply::remove_directory(parent, name));
                if !done.unwrap_or(false) {
                    continue;
                }
                pass.tally.removed_directories += 1;
                self.ledger.note(Note::Forget(&place));
            }
            if let Some(remaining) = emptied.get_mut(parent) {
                *remaining = remaining.saturating_sub(1);
            }
            removed.push(place);
        }
        removed
    }
}

/// A directory of a tree; joining nothing would add a slash.
pub fn in_tree(tree: &Path, directory: &Path) -> PathBuf {
    if directory.as_os_str().is_empty() { tree.to_owned() } else { tree.join(directory) }
}

/// The entries directly below a directory that have one of the names.
pub fn below<'a, T>(
    map: &'a BTreeMap<PathBuf, T>,
    place: &'a Path,
    names: &'a Names,
) -> Box<dyn Iterator<Item = (&'a PathBuf, &'a T)> + 'a> {
    match names {
        Names::All => Box::new(
            map.range::<Path, _>((Excluded(place), Unbounded))
                .take_while(move |(path, _)| path.starts_with(place))
                .filter(move |(path, _)| path.parent() == Some(place)),
        ),
        Names::Only(names) => Box::new(
            names.iter().filter_map(move |name| map.get_key_value(&place.join(OsStr::from_bytes(name)))),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_pass_ends_between_two_directories_when_the_program_ends() {
        let top = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(top.path()).unwrap();
        for path in ["storage/x", "storage/y", "one", "two"] {
            fs::create_dir_all(top.join(path)).unwrap();
        }
        let source = Source { directory: PathBuf::new(), depth: 0 };
        let roots = ["one", "two"].map(|name| (top.join(name), vec![source.clone()])).into();
        let targets = Targets { roots, ..Targets::default() };
        let stop = Arc::new(AtomicBool::new(false));
        let mut engine = Engine::new(
            &top.join("storage"),
            Ledger::empty(&top.join("ledger")),
            Temporary::of("1"),
            Arc::clone(&stop),
        );
        let mut shown = Vec::new();
        let mut show = |step| {
            shown.push(step);
            stop.store(true, Ordering::Relaxed);
        };
        engine
            .pass(Some(folder::open(&top.join("storage")).unwrap()), &targets, Scope::All, Some(&mut show))
            .unwrap();
        let expected = ["x", "y"].map(|name| Shown::MakeDirectory(top.join("one").join(name)));
        assert_eq!(shown, expected);
    }
}
