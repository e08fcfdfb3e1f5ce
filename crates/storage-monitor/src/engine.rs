//! One pass: every directory that storage leads into is compared with what it shall hold, and made so.
//!
//! A pass looks at everything, or at the directories into which changed parts of the storage lead. Parents come before their
//! children, so that all that leads into a directory is known when it is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::ops::Bound::{Excluded, Unbounded};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::apply;
use crate::changes::Changes;
use crate::findings::{Conflict, Finding, Tally};
use crate::folder::{self, Identity};
use crate::held::{Draft, Held};
use crate::ledger::{Ledger, Record};
use crate::listing::{Kind, Listing};
use crate::merge::merge;
use crate::pace::{self, Events};
use crate::plan::{Loss, Plan, Step, plan};
use crate::shown::Shown;
use crate::targets::{Source, Targets, in_order};
use kit::quote::quoted;

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

/// Links from one tree into others.
#[derive(Debug)]
pub struct Engine {
    /// The tree that is linked, as the links name it.
    tree: PathBuf,
    /// What is ours.
    pub ledger: Ledger,
    /// What leads where, as of the last pass.
    routes: BTreeMap<PathBuf, Vec<Source>>,
    /// What could not be done, by directory.
    pub findings: BTreeMap<PathBuf, Finding>,
    /// The directories of the tree that lead somewhere, and what they are.
    pub folders: BTreeMap<PathBuf, Identity>,
    /// What events tell about the tree.
    pub events: Events,
}

/// Directories with what leads into them.
type Work = BTreeMap<PathBuf, Vec<Source>>;

/// What a look at one directory came to.
enum Visit {
    /// It is as it shall be, but for what was found; with what leads into directories in it, and how many entries it has.
    Done(Work, usize),
    /// It is not there.
    Absent,
    /// It or a source cannot be looked at: nothing in it or below may be changed.
    Unknown,
}

/// A pass under way.
struct Pass<'a, 'b> {
    targets: &'a Targets,
    top: Option<OwnedFd>,
    identity: Option<Identity>,
    show: Show<'b>,
    /// Directories that were removed, or would have been.
    gone: BTreeSet<PathBuf>,
    tally: Tally,
}

impl Engine {
    /// For this tree, with what earlier runs have made.
    pub fn new(tree: &Path, ledger: Ledger) -> Self {
        Self {
            tree: tree.to_owned(),
            ledger,
            routes: BTreeMap::new(),
            findings: BTreeMap::new(),
            folders: BTreeMap::new(),
            events: Events::Complete,
        }
    }

    /// What leads into which directory, as of the last pass.
    pub fn routes(&self) -> &BTreeMap<PathBuf, Vec<Source>> {
        &self.routes
    }

    /// Makes what can be changed right; fails only if the tree itself cannot be looked at, and then changes nothing.
    pub fn pass(&mut self, targets: &Targets, scope: Scope<'_>, show: Show<'_>) -> io::Result<Tally> {
        let top = match folder::open(&self.tree) {
            Ok(top) => Some(top),
            Err(error) if folder::is_absence(&error) => None,
            Err(error) => return Err(error),
        };
        let identity = top.as_ref().map(folder::identity).transpose()?;
        let mut pass = Pass { targets, top, identity, show, gone: BTreeSet::new(), tally: Tally::default() };
        let (mut work, former) = match scope {
            Scope::All => self.begin_all(targets),
            Scope::Changed(changes) => {
                let touched = |_: &Path, sources: &[Source]| {
                    sources.iter().any(|source| changes.touch(&source.directory))
                };
                (self.routed(touched), Work::new())
            }
            Scope::Spoilt(changes) => (self.routed(|place, _| changes.touch(place)), Work::new()),
        };
        let mut emptied = BTreeMap::new();
        loop {
            while let Some((place, sources)) = work.pop_first() {
                self.one(&mut pass, &mut work, &former, &mut emptied, place, sources);
            }
            let removed = self.remove_emptied(&mut pass, &mut emptied);
            if removed.is_empty() {
                break;
            }
            // Where a directory was, something else may be wanted.
            for place in &removed {
                if let Some(parent) = place.parent()
                    && let Some(sources) = self.routes.get(parent)
                {
                    work.insert(parent.to_owned(), sources.clone());
                }
            }
            pass.gone.extend(removed);
        }
        if pass.show.is_none() {
            let saved = self.ledger.save().and_then(|()| self.ledger.tidy());
            pass.tally.ledger = saved.err().map(|error| format!("{error:#}"));
        }
        let routed: BTreeSet<&PathBuf> =
            self.routes.values().flatten().map(|source| &source.directory).collect();
        self.folders.retain(|folder, _| routed.contains(folder));
        Ok(pass.tally)
    }

    /// All that is mapped, and all that ever was; and what led where until now.
    fn begin_all(&mut self, targets: &Targets) -> (Work, Work) {
        let mut work: Work = self.ledger.places().map(|place| (place.clone(), Vec::new())).collect();
        work.extend(targets.roots.clone());
        self.findings.clear();
        self.folders.clear();
        self.events = Events::Complete;
        (work, std::mem::take(&mut self.routes))
    }

    /// Those of the directories into which something leads that are asked for.
    fn routed(&self, wanted: impl Fn(&Path, &[Source]) -> bool) -> Work {
        let routes = self.routes.iter().filter(|(place, sources)| wanted(place, sources));
        routes.map(|(place, sources)| (place.clone(), sources.clone())).collect()
    }

    /// Looks at one directory, and finds out what has to be looked at next.
    fn one(
        &mut self,
        pass: &mut Pass<'_, '_>,
        work: &mut Work,
        former: &Work,
        emptied: &mut BTreeMap<PathBuf, usize>,
        place: PathBuf,
        sources: Vec<Source>,
    ) {
        self.findings.remove(&place);
        let mut children = match self.visit(pass, &place, &sources) {
            Visit::Done(children, remaining) => {
                if sources.is_empty() && self.ledger.made(&place) {
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
                if !sources.is_empty() {
                    self.routes.insert(place, sources);
                }
                return;
            }
        };
        for (root, more) in below(&pass.targets.roots, &place) {
            children.entry(root.clone()).or_default().extend(more.iter().cloned());
        }
        for (child, _) in below(&self.routes, &place) {
            children.entry(child.clone()).or_default();
        }
        for (child, sources) in children {
            let sources = in_order(sources);
            if self.routes.get(&child).map_or(&[][..], Vec::as_slice) != sources {
                work.insert(child, sources);
            }
        }
        if sources.is_empty() {
            self.routes.remove(&place);
        } else {
            self.routes.insert(place, sources);
        }
    }

    /// Makes one directory right.
    fn visit(&mut self, pass: &mut Pass<'_, '_>, place: &Path, sources: &[Source]) -> Visit {
        let listings = match self.offered(pass, sources) {
            Ok(listings) => listings,
            Err(problem) => return self.unknown(pass, place, problem),
        };
        let directory = match self.enter(pass, place, sources.is_empty()) {
            Ok(directory) => directory,
            Err(error) if sources.is_empty() && folder::is_absence(&error) => return Visit::Absent,
            Err(error) => return self.unknown(pass, place, error.to_string()),
        };
        let mut there = match directory.as_ref().map(Listing::read).transpose() {
            Ok(there) => without(there.unwrap_or_default(), place, &pass.gone),
            Err(error) => return self.unknown(pass, place, error.to_string()),
        };
        if pass.show.is_none()
            && let Some(directory) = &directory
            && there.iter().any(|entry| entry == (apply::TEMPORARY, Kind::Link))
            // Where it cannot be removed, links cannot be made either, and that is told.
            && apply::remove_leftover(directory, &self.tree).unwrap_or(false)
        {
            there.retain(|name| name != apply::TEMPORARY);
        }
        let numbers: Vec<_> = sources
            .iter()
            .map(|source| self.ledger.number(&in_tree(&self.tree, &source.directory)))
            .collect();
        let reserved: Vec<&[u8]> = below(&pass.targets.roots, place)
            .filter_map(|(root, _)| root.file_name().map(OsStr::as_bytes))
            .collect();
        let leads = |name: &[u8]| {
            let text = folder::link_text(directory.as_ref()?, name).ok()??;
            let source = text.strip_suffix(name)?.strip_suffix(b"/")?;
            let number = self.ledger.known(Path::new(OsStr::from_bytes(source)))?;
            // Paths are equal that are not spelt alike, and whoever spelt this one otherwise was not we.
            (self.ledger.source(number).as_os_str().as_bytes() == source).then_some(number)
        };
        let held = self.ledger.settled(place, leads);
        let wanted = merge(&listings);
        let plan = plan(wanted, &numbers, held.as_ref(), &there, |name| reserved.contains(&name), leads);
        let children = plan
            .directories
            .iter()
            .map(|(name, indices)| {
                let name = OsStr::from_bytes(name);
                let down = |&index: &usize| Source {
                    directory: sources[index].directory.join(name),
                    depth: sources[index].depth,
                };
                (place.join(name), indices.iter().map(down).collect())
            })
            .collect();
        let conflicts = plan.conflicts.iter().map(|lost| Conflict {
            name: lost.name.to_vec(),
            source: sources[lost.source].directory.clone(),
            winner: match lost.why {
                Loss::Taken => None,
                Loss::To(index) => Some(sources[index].directory.clone()),
            },
        });
        let conflicts: Vec<_> = conflicts.collect();
        let remaining = plan.remaining;
        let errors = match (&mut pass.show, &directory) {
            (Some(show), _) => {
                self.show(place, &plan, &pass.gone, *show);
                Vec::new()
            }
            (None, Some(directory)) => self.carry_out(&mut pass.tally, place, directory, plan, held.as_ref()),
            (None, None) => Vec::new(),
        };
        if !conflicts.is_empty() || !errors.is_empty() {
            self.findings.insert(place.to_owned(), Finding { conflicts, errors });
        }
        Visit::Done(children, remaining)
    }

    fn unknown(&mut self, pass: &mut Pass<'_, '_>, place: &Path, problem: String) -> Visit {
        pass.tally.failed += 1;
        let finding = Finding { conflicts: Vec::new(), errors: vec![problem] };
        self.findings.insert(place.to_owned(), finding);
        Visit::Unknown
    }

    /// What each source has; one that is not there has nothing.
    fn offered(&mut self, pass: &Pass<'_, '_>, sources: &[Source]) -> Result<Vec<Listing>, String> {
        let mut listings = Vec::with_capacity(sources.len());
        for Source { directory, .. } in sources {
            let opened = match &pass.top {
                Some(top) => folder::open_below(top, directory),
                None => Err(io::ErrorKind::NotFound.into()),
            };
            let listing = opened.and_then(|opened| {
                self.folders.insert(directory.clone(), folder::identity(&opened)?);
                self.events = self.events.worst(pace::events_of(&opened));
                Listing::offered(&opened)
            });
            listings.push(match listing {
                Ok(listing) => listing,
                Err(error) if error.kind() == io::ErrorKind::NotFound || folder::is_absence(&error) => {
                    self.folders.remove(directory);
                    Listing::default()
                }
                Err(error) => {
                    return Err(format!("cannot read {}: {error}", quoted(&in_tree(&self.tree, directory))));
                }
            });
        }
        Ok(listings)
    }

    /// Opens a directory, and makes it first if it is wanted; nothing if it would have been made.
    fn enter(
        &mut self,
        pass: &mut Pass<'_, '_>,
        place: &Path,
        unwanted: bool,
    ) -> io::Result<Option<OwnedFd>> {
        let opened = match folder::open_plain(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !unwanted => {
                let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else {
                    return Err(error);
                };
                if let Some(show) = &mut pass.show {
                    // A directory in one that is wanted was shown as a step there.
                    if pass.targets.roots.contains_key(place) && !self.routes.contains_key(parent) {
                        show(Shown::MakeDirectory(place.to_owned()));
                    }
                    return Ok(None);
                }
                let parent = folder::open_plain(parent)?;
                self.ledger.note(Record::Directory(place));
                pass.tally.ledger = self.ledger.save().err().map(|error| format!("{error:#}"));
                apply::make_directory(&parent, name.as_bytes())?;
                pass.tally.directories += 1;
                folder::open_plain(place)?
            }
            opened => opened?,
        };
        if pass.identity == Some(folder::identity(&opened)?) {
            return Err(io::Error::other("it is the storage itself"));
        }
        Ok(Some(opened))
    }

    fn show(&self, place: &Path, plan: &Plan<'_>, gone: &BTreeSet<PathBuf>, show: &mut dyn FnMut(Shown)) {
        let again = gone.iter().any(|gone| gone.parent() == Some(place));
        for step in &plan.steps {
            let (Step::Link(name, _)
            | Step::Relink(name, ..)
            | Step::Unlink(name, _)
            | Step::MakeDirectory(name)) = step;
            let path = place.join(OsStr::from_bytes(name));
            // All else was shown before.
            if again && !gone.contains(&path) {
                continue;
            }
            let to = |source| self.ledger.source(source).join(OsStr::from_bytes(name));
            show(match *step {
                Step::Link(_, source) => Shown::Link(path, to(source)),
                Step::Relink(_, _, source) => Shown::Relink(path, to(source)),
                Step::Unlink(..) => Shown::Unlink(path),
                Step::MakeDirectory(_) => Shown::MakeDirectory(path),
            });
        }
    }

    /// Does the steps in a directory; returns what went wrong.
    fn carry_out(
        &mut self,
        tally: &mut Tally,
        place: &Path,
        directory: &OwnedFd,
        plan: Plan<'_>,
        former: Option<&Held>,
    ) -> Vec<String> {
        for step in &plan.steps {
            match *step {
                Step::Link(name, source) | Step::Relink(name, _, source) => {
                    self.ledger.note(Record::Link(place, name, source));
                }
                Step::MakeDirectory(name) => {
                    self.ledger.note(Record::Directory(&place.join(OsStr::from_bytes(name))));
                }
                Step::Unlink(..) => {}
            }
        }
        for (name, source) in &plan.adopted {
            self.ledger.note(Record::Link(place, name, *source));
        }
        // Before anything is made: a kill must leave no link that nobody knows.
        if let Err(error) = self.ledger.save() {
            tally.ledger = Some(format!("{error:#}"));
        }
        for (name, source) in &plan.lost {
            self.ledger.note(Record::Unlink(place, name, *source));
        }
        let mut errors = Vec::new();
        let mut failed = BTreeSet::new();
        for step in &plan.steps {
            let (name, done) = match *step {
                Step::Link(name, source) => {
                    let made = apply::link(directory, name, self.ledger.source(source));
                    tally.linked += usize::from(matches!(made, Ok(true)));
                    (name, made)
                }
                Step::Relink(name, from, to) => {
                    let done =
                        apply::relink(directory, name, self.ledger.source(from), self.ledger.source(to));
                    if matches!(done, Ok(true)) {
                        self.ledger.note(Record::Unlink(place, name, from));
                        tally.linked += 1;
                    }
                    (name, done)
                }
                Step::Unlink(name, source) => {
                    let done = apply::unlink(directory, name, self.ledger.source(source));
                    if done.is_ok() {
                        tally.removed += 1;
                        self.ledger.note(Record::Unlink(place, name, source));
                    }
                    (name, done.map(|()| true))
                }
                Step::MakeDirectory(name) => {
                    tally.directories += 1;
                    (name, apply::make_directory(directory, name).map(|()| true))
                }
            };
            match done {
                Ok(true) => {}
                // Somebody else has taken the name meanwhile: the next pass sees it.
                Ok(false) => _ = failed.insert(name),
                Err(error) => {
                    failed.insert(name);
                    tally.failed += 1;
                    if errors.is_empty() {
                        errors.push(format!("{}: {error}", quoted(Path::new(OsStr::from_bytes(name)))));
                    }
                }
            }
        }
        let held = if failed.is_empty() { plan.held } else { settle(&plan.held, former, &failed) };
        if self.ledger.held(place) != Some(&held) {
            self.ledger.hold(place, held);
        }
        errors
    }

    /// Nothing in this directory is ours any more, because it is not there.
    fn forget(&mut self, place: &Path) {
        if let Some(held) = self.ledger.held(place).cloned() {
            for (name, source) in held.iter() {
                self.ledger.note(Record::Unlink(place, name, source));
            }
            self.ledger.hold(place, Held::default());
        }
        if self.ledger.made(place) {
            self.ledger.note(Record::Forget(place));
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
                self.ledger.note(Record::Forget(&place));
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

/// The entries directly below a directory.
fn below<'a, T>(
    map: &'a BTreeMap<PathBuf, T>,
    place: &'a Path,
) -> impl Iterator<Item = (&'a PathBuf, &'a T)> {
    map.range::<Path, _>((Excluded(place), Unbounded))
        .take_while(move |(path, _)| path.starts_with(place))
        .filter(move |(path, _)| path.parent() == Some(place))
}

/// A listing without what was, or would have been, removed meanwhile.
fn without(mut listing: Listing, place: &Path, gone: &BTreeSet<PathBuf>) -> Listing {
    let names: Vec<&[u8]> = gone
        .iter()
        .filter(|path| path.parent() == Some(place))
        .filter_map(|path| path.file_name().map(OsStr::as_bytes))
        .collect();
    if !names.is_empty() {
        listing.retain(|name| !names.contains(&name));
    }
    listing
}

/// What is ours after some steps have failed: there, what was before.
fn settle(planned: &Held, former: Option<&Held>, failed: &BTreeSet<&[u8]>) -> Held {
    let mut draft = Draft::default();
    planned
        .iter()
        .filter(|(name, _)| !failed.contains(name))
        .for_each(|(name, source)| draft.link(name, source));
    let former = former.into_iter().flat_map(Held::iter);
    former.filter(|(name, _)| failed.contains(name)).for_each(|(name, source)| draft.link(name, source));
    draft.finish()
}
