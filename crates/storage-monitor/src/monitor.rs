//! Both stages together: files of the image into the storage, and the storage into applications.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::changes::Changes;
use crate::engine::{Engine, Scope, Show, in_tree};
use crate::evaluate::evaluate;
use crate::findings::{Conflict, Tally};
use crate::folder::Identity;
use crate::ledger::Ledger;
use crate::mapping::Mapping;
use crate::memory;
use crate::pace::Events;
use crate::places::Places;
use crate::status::{LISTED, Status};
use crate::targets::{Source, Targets, resolve};
use crate::watch;
use kit::quote::quoted;

/// New directories can make room for waiting ones, these for others: no real mapping is nested deeper.
const ROUNDS: usize = 8;
/// A file that was found wrong is evaluated again after that: what was missing, or busy, may be there now.
const AGAIN: Duration = Duration::from_mins(1);
/// More characters of a message help nobody.
const MESSAGE: usize = 2_000;
/// So many bytes of sentences of one kind are in the state: it must stay small enough to be read.
const ROOM: usize = 128 << 10;

/// Everything that is known between two passes.
#[derive(Debug)]
pub struct Monitor {
    places: Places,
    /// The mapping in force; nothing if none was ever good.
    mapping: Option<Mapping>,
    /// What is wrong with the file now.
    wrong: Option<String>,
    /// The state of the file that was evaluated last.
    evaluated: Option<[i64; 5]>,
    /// When that was.
    evaluated_at: Instant,
    shipped: Engine,
    mapped: Engine,
    targets: Targets,
    /// What is wrong with a stage as a whole, by what it reads.
    problems: BTreeMap<&'static str, String>,
    /// Why the mapping cannot be kept.
    forgetful: Option<String>,
    /// How long the last look at everything took that changed nothing.
    pub cost: Duration,
}

impl Monitor {
    /// With what earlier runs have made; links nothing yet.
    pub fn load(places: Places) -> Result<Self> {
        let storage = fs::canonicalize(&places.storage).unwrap_or_else(|_| places.storage.clone());
        // The volume's users can write this ledger: it may speak about the storage and files of the image alone.
        let believe = |directory: &Path, source: &Path| {
            directory.starts_with(&storage)
                && directory.components().all(|part| part != Component::ParentDir)
                && (source.as_os_str().is_empty() || source.starts_with(&places.image))
        };
        let shipped = Ledger::load(&places.shipped_ledger(), believe).unwrap_or_else(|error| {
            log::warn!("{error:#}");
            Ledger::empty(&places.shipped_ledger())
        });
        let mapped = Ledger::load(&places.ledger(), |_, _| true)?;
        Ok(Self {
            mapping: memory::recall(&places.last_mapping())?,
            wrong: None,
            evaluated: None,
            evaluated_at: Instant::now(),
            shipped: Engine::new(&places.image, shipped),
            mapped: Engine::new(&places.storage, mapped),
            targets: Targets::default(),
            problems: BTreeMap::new(),
            forgetful: None,
            cost: Duration::ZERO,
            places,
        })
    }

    /// Reads the mappings file if it has changed, or if what it computes may have; says whether another mapping is in
    /// force now.
    pub fn read_mapping(&mut self, anew: bool) -> bool {
        let state = fs::metadata(&self.places.mappings).ok();
        let state = state.map(|meta| {
            [
                meta.ino().cast_signed(),
                meta.size().cast_signed(),
                meta.mtime(),
                meta.mtime_nsec(),
                meta.ctime_nsec(),
            ]
        });
        let anew = anew || self.wrong.is_some() && self.evaluated_at.elapsed() >= AGAIN;
        if !anew && state.is_some() && state == self.evaluated {
            return false;
        }
        self.evaluated = state;
        self.evaluated_at = Instant::now();
        match evaluate(&self.places.mappings, &self.places.workspace) {
            Ok(mapping) => {
                self.wrong = None;
                let changed = self.mapping.as_ref() != Some(&mapping);
                self.mapping = Some(mapping);
                changed
            }
            Err(error) => {
                let text: String = format!("{error:#}").chars().take(MESSAGE).collect();
                if self.wrong.as_ref() != Some(&text) {
                    log::warn!("{text}; the last good mapping stays in force");
                }
                self.wrong = Some(text);
                false
            }
        }
    }

    #[cfg(test)]
    pub fn set_mapping(&mut self, map: BTreeMap<PathBuf, BTreeSet<PathBuf>>) {
        self.mapping = Some(Mapping(map));
    }

    /// Where the storage really is.
    fn storage(&self) -> PathBuf {
        fs::canonicalize(&self.places.storage).unwrap_or_else(|_| self.places.storage.clone())
    }

    fn find_targets(&self) -> Targets {
        let none = Mapping::default();
        let mapping = self.mapping.as_ref().unwrap_or(&none);
        resolve(mapping, &self.storage(), |path| self.mapped.ledger.is_ours(path))
    }

    /// Whether a directory of the mapping has come or gone.
    pub fn targets_changed(&self) -> bool {
        self.find_targets() != self.targets
    }

    /// Looks at everything and makes it right, or says what would be done.
    pub fn all(&mut self, mut show: Show<'_>) -> Tally {
        let began = Instant::now();
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
        if tally.is_idle() {
            self.cost = began.elapsed();
        }
        if show.is_none()
            && let Some(mapping) = &self.mapping
        {
            let kept = memory::keep(&self.places.last_mapping(), mapping);
            self.forgetful = kept.err().map(|error| format!("{error:#}"));
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

    fn ship(&mut self, scope: Scope<'_>, show: Show<'_>) -> Tally {
        let source = Source { directory: PathBuf::new(), depth: 0 };
        // Without a storage there is nothing to put files into; making it is the business of the start.
        let Ok(storage) = fs::canonicalize(&self.places.storage) else { return Tally::default() };
        let targets = Targets { roots: BTreeMap::from([(storage, vec![source])]), ..Targets::default() };
        self.note(|monitor| monitor.shipped.pass(&targets, scope, show), "the image's storage")
    }

    fn link(&mut self, scope: Scope<'_>, show: Show<'_>) -> Tally {
        if self.mapping.is_none() {
            return Tally::default();
        }
        let targets = std::mem::take(&mut self.targets);
        let tally = self.note(|monitor| monitor.mapped.pass(&targets, scope, show), "the storage");
        self.targets = targets;
        tally
    }

    fn note(&mut self, pass: impl FnOnce(&mut Self) -> std::io::Result<Tally>, tree: &'static str) -> Tally {
        let (tally, problem) = match pass(self) {
            Ok(tally) => {
                let problem = tally.ledger.clone();
                (tally, problem)
            }
            Err(error) => {
                let tally = Tally { failed: 1, ..Tally::default() };
                (tally, Some(format!("cannot read {tree}: {error}")))
            }
        };
        match problem {
            Some(problem) => _ = self.problems.insert(tree, problem),
            None => _ = self.problems.remove(tree),
        }
        tally
    }

    /// What has to be watched to hear of every change, by real path.
    pub fn to_watch(&self) -> BTreeMap<PathBuf, Identity> {
        let storage = self.storage();
        let mut all = BTreeMap::new();
        for (top, engine) in [(&storage, &self.mapped), (&self.places.image, &self.shipped)] {
            all.extend(engine.folders.iter().map(|(folder, is)| (in_tree(top, folder), *is)));
        }
        let keys = self.mapping.iter().flat_map(|mapping| mapping.0.keys());
        // A key whose directory does not exist yet will appear in one of these.
        let above: BTreeSet<PathBuf> = keys
            .flat_map(|key| storage.join(key).ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>())
            .collect();
        let more = above.into_iter().filter(|path| path.starts_with(&storage));
        let more = more.chain(self.targets.signs.iter().cloned());
        let more = more
            .chain(self.places.mappings.parent().map(Path::to_owned))
            .chain([storage.clone(), self.places.image.clone()]);
        for path in more {
            if !all.contains_key(&path)
                && let Some(is) = watch::identity(&path)
            {
                all.insert(path, is);
            }
        }
        all
    }

    /// Whether a change concerns neither tree, and may concern the mapping or its directories.
    pub fn is_elsewhere(&self, changes: &Changes) -> bool {
        let (storage, image) = (self.storage(), &self.places.image);
        changes.contents.iter().any(|path| !path.starts_with(&storage) && !path.starts_with(image))
    }

    /// What events tell about both trees.
    pub fn events(&self) -> Events {
        self.mapped.events.worst(self.shipped.events)
    }

    /// The conflicts between files and whatever else has their names.
    pub fn conflicts(&self) -> impl Iterator<Item = (&PathBuf, &Conflict)> {
        // In the storage itself, a user's file wins over the image's, as it should.
        self.mapped
            .findings
            .iter()
            .flat_map(|(place, found)| found.conflicts.iter().map(move |conflict| (place, conflict)))
    }

    /// The stage that links the storage into applications.
    pub fn mapped(&self) -> &Engine {
        &self.mapped
    }

    /// Where everything is.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The mapping in force.
    pub fn mapping(&self) -> Option<&Mapping> {
        self.mapping.as_ref()
    }

    /// Directories of the mapping that cannot be used now.
    pub fn waiting(&self) -> &BTreeMap<PathBuf, String> {
        &self.targets.waiting
    }

    /// What is wrong, as sentences.
    pub fn problems(&self) -> Vec<String> {
        let whole = self.wrong.iter().chain(self.problems.values()).chain(&self.forgetful);
        let mut all: Vec<String> = whole.cloned().collect();
        for (place, found) in self.mapped.findings.iter().chain(&self.shipped.findings) {
            all.extend(found.errors.iter().map(|error| format!("{}: {error}", quoted(place))));
        }
        all
    }

    /// The state, but for what the watching part knows.
    pub fn status(&self) -> Status {
        let conflicts = self.conflicts().count();
        Status {
            pid: std::process::id(),
            storage: self.places.storage.clone(),
            links: self.mapped.ledger.count(),
            shipped: self.shipped.ledger.count(),
            conflicts,
            conflict_list: listed(
                self.conflicts().map(|(place, conflict)| sentence(place, conflict)),
                String::len,
            ),
            problems: listed(self.problems().into_iter(), String::len),
            waiting: listed(
                self.targets.waiting.iter().map(|(path, why)| (quoted(path), why.clone())),
                |(path, why)| path.len() + why.len(),
            ),
            ..Status::default()
        }
    }
}

/// The first sentences: at least one, and no more than there is room for.
fn listed<S, C: FromIterator<S>>(sentences: impl Iterator<Item = S>, length: impl Fn(&S) -> usize) -> C {
    let mut used = 0;
    let fits = |sentence: &S| {
        let first = used == 0;
        used += length(sentence);
        first || used <= ROOM
    };
    sentences.take(LISTED).take_while(fits).collect()
}

/// The same listener once more.
fn again<'a>(show: &'a mut Show<'_>) -> Show<'a> {
    match show {
        Some(show) => Some(&mut **show),
        None => None,
    }
}

/// A conflict in words.
pub fn sentence(place: &Path, conflict: &Conflict) -> String {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(&conflict.name);
    let (path, file) = (quoted(&place.join(name)), quoted(&conflict.source.join(name)));
    match &conflict.winner {
        Some(winner) => format!("{path} leads to {}, not to {file}", quoted(&winner.join(name))),
        None => format!("{path} is something else; it does not lead to {file}"),
    }
}

/// Milliseconds since the machine's start.
pub fn clock() -> Result<u64> {
    let now =
        nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).context("cannot read the clock")?;
    Ok(u64::try_from(Duration::from(now).as_millis())?)
}
