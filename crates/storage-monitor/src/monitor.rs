//! Both stages together: files of the image into the storage, and the storage into applications.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use dirfd::Identity;
use kit::quote::quoted;

use crate::changes::Changes;
use crate::engine::Engine;
use crate::findings::Tally;
use crate::in_force::InForce;
use crate::known_storage::KnownStorage;
use crate::ledger::Ledger;
use crate::mapping::Mapping;
use crate::pace::Events;
use crate::pass::{Scope, Show};
use crate::places::Places;
use crate::targets::{Source, Targets, resolve};
use crate::temporary::Temporary;
use crate::to_watch::Watched;
use crate::way;

/// New directories can make room for waiting ones, these for others: no real mapping is nested deeper.
const ROUNDS: usize = 8;

/// Everything that is known between two passes.
#[derive(Debug)]
pub struct Monitor {
    places: Places,
    in_force: InForce,
    known_storage: KnownStorage,
    /// The stage that links files of the image into the storage.
    pub shipped: Engine,
    /// The stage that links the storage into applications.
    pub mapped: Engine,
    /// What the mapping comes to.
    pub targets: Targets,
    /// The storage in which the ledger of the image's files was read: its path, and what it is.
    storage: Option<(PathBuf, Identity)>,
    /// What is watched.
    pub watched: Watched,
    stop: Arc<AtomicBool>,
    /// What is wrong with a stage as a whole, by what it reads.
    problems: BTreeMap<&'static str, String>,
    /// How long the last look at everything took, but for the changes that it made.
    pub cost: Duration,
}

impl Monitor {
    /// With what earlier runs have made; links nothing yet.
    pub fn load(places: Places) -> Result<Self> {
        // It lies in the storage, which is looked for by each pass.
        let shipped = Ledger::empty(&places.shipped_ledger());
        let mapped = Ledger::load(&places.ledger())?;
        let temporary = Temporary::recall(&places.state)?;
        let stop = Arc::new(AtomicBool::new(false));
        Ok(Self {
            in_force: InForce::recall(&places)?,
            known_storage: KnownStorage::recall(places.last_storage()),
            shipped: Engine::new(&places.image, shipped, temporary.clone(), Arc::clone(&stop)),
            mapped: Engine::new(&places.storage, mapped, temporary, Arc::clone(&stop)),
            storage: None,
            watched: Watched::default(),
            stop,
            targets: Targets::default(),
            problems: BTreeMap::new(),
            cost: Duration::ZERO,
            places,
        })
    }

    /// Reads the mappings file if it has changed, or if what it computes may have; says whether another mapping is in
    /// force now.
    pub fn read_mapping(&mut self, anew: bool) -> bool {
        self.in_force.read(&self.places, anew)
    }

    /// What ends a pass before it is through when it is set.
    pub fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    #[cfg(test)]
    pub fn of(top: &Path) -> Self {
        Self::load(Places {
            workspace: top.to_owned(),
            storage: top.join("storage"),
            image: top.join("image"),
            mappings: top.join("etc/mappings.sh"),
            state: top.join("state"),
            status: top.join("status"),
            slug: "test".into(),
        })
        .unwrap()
    }

    #[cfg(test)]
    pub fn set_mapping(&mut self, map: BTreeMap<PathBuf, BTreeSet<PathBuf>>) {
        self.in_force.mapping = Some(Mapping(map));
    }

    /// Where the storage really is.
    pub fn storage(&self) -> PathBuf {
        way::real(&self.places.storage).unwrap_or_else(|_| self.places.storage.clone())
    }

    fn find_targets(&self) -> Targets {
        let none = Mapping::default();
        let mapping = self.mapping().unwrap_or(&none);
        resolve(mapping, &self.storage(), |path| self.mapped.ledger.is_ours(path))
    }

    /// Whether a directory of the mapping has come or gone.
    pub fn targets_changed(&self) -> bool {
        self.find_targets() != self.targets
    }

    /// Looks at everything and makes it right, or says what would be done.
    pub fn all(&mut self, mut show: Show<'_>) -> Tally {
        let began = Instant::now();
        if show.is_none() {
            self.keep_identity();
        }
        let mut tally = self.ship(Scope::All, again(&mut show));
        for round in 0..ROUNDS {
            let targets = self.find_targets();
            if round > 0 && targets == self.targets {
                break;
            }
            self.targets = targets;
            let done = self.link(Scope::All, again(&mut show));
            let may_help = done.directories > 0 && !self.targets.waiting.is_empty();
            tally.add(done);
            if !may_help || show.is_some() {
                break;
            }
        }
        // Without the changes: where something always changes, no look would be without.
        self.cost = began.elapsed().saturating_sub(tally.changing);
        if show.is_none() {
            self.in_force.keep(&self.places);
        }
        tally
    }

    /// Looks where changes lead.
    pub fn some(&mut self, changes: &Changes) -> Tally {
        let image = changes.below(&self.places.image);
        let mut tally =
            if image.is_empty() { Tally::default() } else { self.ship(Scope::Changed(&image), None) };
        let storage = changes.below(&self.storage());
        if !storage.is_empty() {
            // Also links to files of the image are names in the storage, and can be removed there.
            tally.add(self.ship(Scope::Spoilt(changes), None));
            tally.add(self.link(Scope::Changed(&storage), None));
        }
        tally
    }

    /// Without it, what a kill leaves would not be known as ours; links can be made all the same.
    fn keep_identity(&mut self) {
        match self.mapped.temporary.keep(&self.places.state) {
            Ok(()) => _ = self.problems.remove("the identity"),
            Err(error) => _ = self.problems.insert("the identity", format!("{error:#}")),
        }
    }

    fn ship(&mut self, scope: Scope<'_>, show: Show<'_>) -> Tally {
        let source = Source { directory: Path::new("").into(), depth: 0 };
        let (storage, directory) = match way::open(&self.places.storage) {
            Ok(opened) => opened,
            // Without a storage there is nothing to put files into; making it is the business of the start.
            Err(error) if way::is_absent(&error) => return Tally::default(),
            Err(error) => return self.note("the image's storage", Err(cannot_read("the storage", &error))),
        };
        let image = match dirfd::open_root(&self.places.image) {
            Err(error) if dirfd::is_absent(error) => Ok(None),
            image => image.map(Some).map_err(io::Error::from),
        };
        let done = image.and_then(|image| {
            self.recall_shipped(&storage, directory)?;
            let targets =
                Targets { roots: BTreeMap::from([(storage.into(), vec![source])]), ..Targets::default() };
            self.shipped.pass(image, &targets, scope, show)
        });
        self.note("the image's storage", done.map_err(|error| cannot_read("the image's storage", &error)))
    }

    /// Reads the ledger that lies in the storage, unless it is the one that is known.
    fn recall_shipped(&mut self, storage: &Path, directory: OwnedFd) -> io::Result<()> {
        let is = Some((storage.to_owned(), dirfd::identity(&directory)?));
        if self.storage != is {
            // The volume's users can write this ledger: it may speak about the storage and files of the image alone.
            let believe = |place: &Path, source: &Path| {
                place.starts_with(storage)
                    && place.components().all(|part| part != Component::ParentDir)
                    && (source.as_os_str().is_empty() || source.starts_with(&self.places.image))
            };
            let ledger = Ledger::load_shared(directory, &self.places.shipped_ledger(), believe);
            let temporary = self.mapped.temporary.clone();
            self.shipped = Engine::new(&self.places.image, ledger, temporary, self.stop());
            self.storage = is;
        }
        Ok(())
    }

    fn link(&mut self, scope: Scope<'_>, show: Show<'_>) -> Tally {
        if self.in_force.mapping.is_none() {
            return Tally::default();
        }
        let top = match way::open(&self.places.storage) {
            Err(error) if way::is_absent(&error) => Ok(None),
            opened => opened.map(|(_, directory)| Some(directory)),
        };
        let doubt = match &top {
            Ok(top) => self.known_storage.doubt(top.as_ref(), &self.places.image, show.is_none()),
            Err(_) => Ok(None),
        };
        match doubt {
            Ok(Some(why)) if self.mapped.ledger.count() > 0 => {
                let storage = quoted(&self.places.storage);
                return self
                    .note("the storage", Err(format!("{storage} has lost its files, links stay: {why}")));
            }
            Ok(_) => {}
            Err(error) => return self.note("the storage", Err(cannot_read("the storage", &error))),
        }
        let targets = std::mem::take(&mut self.targets);
        let done = top.and_then(|top| self.mapped.pass(top, &targets, scope, show));
        self.targets = targets;
        self.note("the storage", done.map_err(|error| cannot_read("the storage", &error)))
    }

    /// Remembers what was wrong with a stage as a whole.
    fn note(&mut self, tree: &'static str, done: Result<Tally, String>) -> Tally {
        let (tally, problem) = match done {
            Ok(tally) => {
                let problem = tally.ledger.clone();
                (tally, problem)
            }
            Err(problem) => (Tally { failed: 1, ..Tally::default() }, Some(problem)),
        };
        match problem {
            Some(problem) => _ = self.problems.insert(tree, problem),
            None => _ = self.problems.remove(tree),
        }
        tally
    }

    /// Whether a change concerns neither tree, and may concern the mapping or its directories.
    pub fn is_elsewhere(&self, changes: &Changes) -> bool {
        let (storage, image) = (self.storage(), &self.places.image);
        changes.contents.keys().any(|path| !path.starts_with(&storage) && !path.starts_with(image))
    }

    /// What events tell about both trees.
    pub fn events(&self) -> Events {
        self.mapped.events.worst(self.shipped.events)
    }

    /// Where everything is.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The mapping in force.
    pub fn mapping(&self) -> Option<&Mapping> {
        self.in_force.mapping.as_ref()
    }

    /// Directories of the mapping that cannot be used now.
    pub fn waiting(&self) -> &BTreeMap<PathBuf, String> {
        &self.targets.waiting
    }

    /// What is wrong with the mapping.
    pub fn mistake(&self) -> Option<&str> {
        self.in_force.wrong().map(String::as_str)
    }

    /// What is wrong with the mapping or a stage as a whole.
    pub fn whole_problems(&self) -> impl Iterator<Item = &String> {
        // Both stages may have the same to say about the storage.
        let stages: BTreeSet<&String> = self.problems.values().collect();
        self.in_force.wrong().into_iter().chain(stages).chain(self.in_force.forgetful())
    }
}

fn cannot_read(tree: &str, error: &io::Error) -> String {
    format!("cannot read {tree}: {error}")
}

/// The same listener once more.
fn again<'a>(show: &'a mut Show<'_>) -> Show<'a> {
    match show {
        Some(show) => Some(&mut **show),
        None => None,
    }
}

/// Milliseconds since the machine's start.
pub fn clock() -> Result<u64> {
    let now =
        nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).context("cannot read the clock")?;
    Ok(u64::try_from(Duration::from(now).as_millis())?)
}
