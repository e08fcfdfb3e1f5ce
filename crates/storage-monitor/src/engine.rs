//! One pass: every directory that storage leads into is compared with what it shall hold, and made so.
//!
//! A pass looks at everything, or at the directories into which changed parts of the storage lead. Parents come before their
//! children, so that all that leads into a directory is known when it is looked at. What a look at one directory is stands
//! in `visit.rs`, what is done there in `carry_out.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::apply;
use crate::changes::{Names, below};
use crate::findings::{Findings, Tally};
use crate::held::Held;
use crate::ledger::{Ledger, Note};
use crate::pace::Events;
use crate::pass::{Job, Pass, Scope, Show, Visit, Work};
use crate::routes::Routes;
use crate::shown::Shown;
use crate::targets::{Targets, in_order};
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
    pub routes: Routes,
    /// What could not be done, by directory.
    pub findings: Findings,
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
            routes: Routes::default(),
            findings: Findings::default(),
            events: Events::Complete,
            stop,
        }
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
        let identity = top.as_ref().map(dirfd::identity).transpose()?;
        let mut pass = Pass { targets, top, identity, show, gone: BTreeSet::new(), tally: Tally::default() };
        let (mut work, every) = match scope {
            Scope::All => (self.begin_all(targets), true),
            Scope::Changed(changes) => {
                let hit = changes.hit(self.routes.folders());
                (
                    self.jobs(hit.flat_map(|(_, folder, names)| {
                        folder.places.iter().map(move |place| (place, names.clone()))
                    })),
                    false,
                )
            }
            Scope::Spoilt(changes) => {
                let hit = changes.hit(self.routes.places());
                (self.jobs(hit.map(|(place, _, names)| (place, names))), false)
            }
        };
        let mut emptied = BTreeMap::new();
        loop {
            while let Some((place, job)) = work.pop_first() {
                self.one(&mut pass, &mut work, every, &mut emptied, place, job);
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
                    && let Some((parent, _)) = self.routes.places().get_key_value(parent)
                {
                    self.add(&mut work, parent, Names::one(name.as_bytes()));
                }
            }
            pass.gone.extend(removed);
        }
        if pass.show.is_none() {
            let saved = self.ledger.save().and_then(|()| self.ledger.tidy());
            let failed = saved.err().map(|error| format!("{error:#}"));
            pass.tally.ledger = pass.tally.ledger.take().or(failed);
        }
        self.routes.tidy();
        Ok(pass.tally)
    }

    /// All that is mapped, and all that ever was.
    fn begin_all(&mut self, targets: &Targets) -> Work {
        let job = |sources| Job { sources, names: Names::All };
        let known = self.ledger.places().chain(self.routes.places().keys());
        let mut work: Work = known.map(|place| (Rc::clone(place), job(Vec::new()))).collect();
        work.extend(targets.roots.iter().map(|(root, sources)| (Rc::clone(root), job(sources.clone()))));
        self.findings.clear();
        self.events = Events::Complete;
        work
    }

    /// Looks at parts of directories into which something leads.
    fn jobs<'a>(&self, parts: impl Iterator<Item = (&'a Rc<Path>, Names)>) -> Work {
        let mut work = Work::new();
        parts.for_each(|(place, names)| self.add(&mut work, place, names));
        work
    }

    fn add(&self, work: &mut Work, place: &Rc<Path>, names: Names) {
        match work.get_mut(place) {
            Some(job) => job.names.join(names),
            None => {
                let sources = self.routes.sources(place).to_vec();
                work.insert(Rc::clone(place), Job { sources, names });
            }
        }
    }

    /// Looks at one directory, and finds out what has to be looked at next.
    fn one(
        &mut self,
        pass: &mut Pass<'_, '_>,
        work: &mut Work,
        every: bool,
        emptied: &mut BTreeMap<Rc<Path>, usize>,
        place: Rc<Path>,
        mut job: Job,
    ) {
        // A doubt needs a look at all.
        if self.findings.are_partial(&place) || self.ledger.is_in_doubt(&place) {
            job.names = Names::All;
        }
        let mut children = match self.visit(pass, &place, &job) {
            Visit::Done(children, remaining) => {
                if job.sources.is_empty() && self.ledger.made(&place) {
                    emptied.insert(Rc::clone(&place), remaining);
                }
                children
            }
            Visit::Absent => {
                self.forget(&place);
                BTreeMap::new()
            }
            Visit::Unknown => {
                // What led there still does.
                let below: Vec<_> = below(work, &place).map(|(other, _)| Rc::clone(other)).collect();
                below.iter().for_each(|other| _ = work.remove(other));
                if !job.sources.is_empty() {
                    self.routes.set(&place, job.sources);
                }
                return;
            }
            Visit::Stopped => return,
        };
        for (root, more) in children_of(&pass.targets.roots, &place, &job.names) {
            children.entry(Rc::clone(root)).or_default().extend(more.iter().cloned());
        }
        if !every {
            for (child, _) in children_of(self.routes.places(), &place, &job.names) {
                children.entry(Rc::clone(child)).or_default();
            }
        }
        for (child, sources) in children {
            let sources = in_order(sources);
            if every || self.routes.sources(&child) != sources {
                work.insert(child, Job { sources, names: Names::All });
            }
        }
        let place = self.ledger.known_place(&place).unwrap_or(place);
        self.routes.set(&place, job.sources);
    }

    /// Nothing in this directory is ours any more, because it is not there.
    fn forget(&mut self, place: &Rc<Path>) {
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
        emptied: &mut BTreeMap<Rc<Path>, usize>,
    ) -> Vec<Rc<Path>> {
        let mut removed = Vec::new();
        while let Some((place, remaining)) = emptied.pop_last() {
            if remaining > 0 {
                continue;
            }
            let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else { continue };
            if let Some(show) = &mut pass.show {
                show(Shown::RemoveDirectory(place.to_path_buf()));
            } else {
                let done =
                    dirfd::open_absolute(parent).and_then(|parent| apply::remove_directory(parent, name));
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
pub fn children_of<'a, T>(
    map: &'a BTreeMap<Rc<Path>, T>,
    place: &'a Path,
    names: &'a Names,
) -> Box<dyn Iterator<Item = (&'a Rc<Path>, &'a T)> + 'a> {
    match names {
        Names::All => Box::new(below(map, place).filter(move |(path, _)| path.parent() == Some(place))),
        Names::Only(names) => Box::new(
            names
                .iter()
                .filter_map(move |name| map.get_key_value(place.join(OsStr::from_bytes(name)).as_path())),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::targets::Source;

    #[test]
    fn a_pass_ends_between_two_directories_when_the_program_ends() {
        let top = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(top.path()).unwrap();
        for path in ["storage/x", "storage/y", "one", "two"] {
            fs::create_dir_all(top.join(path)).unwrap();
        }
        let source = Source { directory: Path::new("").into(), depth: 0 };
        let roots = ["one", "two"].map(|name| (top.join(name).into(), vec![source.clone()])).into();
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
            .pass(
                Some(dirfd::open_root(&top.join("storage")).unwrap()),
                &targets,
                Scope::All,
                Some(&mut show),
            )
            .unwrap();
        let expected = ["x", "y"].map(|name| Shown::MakeDirectory(top.join("one").join(name)));
        assert_eq!(shown, expected);
    }
}
