//! Both stages: links files of the image into the storage, and files of the storage into applications.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use dirfd::Identity;
use kit::quote::quoted;

use crate::active_mapping::ActiveMapping;
use crate::cli::Paths;
use crate::directory_scan::Names;
use crate::findings::{Conflict, ScanCounts, abbreviate};
use crate::known_storage::KnownStorage;
use crate::ledger::Ledger;
use crate::mapping::{Mapping, Source, Targets};
use crate::pending_events::Changes;
use crate::rescan_interval::EventCoverage;
use crate::routes::in_tree;
use crate::safe_resolve;
use crate::tree_linker::{DryRun, Scope, TreeLinker};
use crate::watcher::identity;

/// A new directory can make a pending one possible, and that another: no real mapping is nested deeper.
const MAX_ROUNDS: usize = 8;

/// State between two scans.
#[derive(Debug)]
pub struct Monitor {
    paths: Paths,
    active_mapping: ActiveMapping,
    known_storage: KnownStorage,
    /// The stage that links files of the image into the storage.
    pub shipped: TreeLinker,
    /// The stage that links the storage into applications.
    pub mapped: TreeLinker,
    /// The mapping's directories.
    targets: Targets,
    /// Path and identity of the storage in which the ledger of the image's files was read.
    storage: Option<(PathBuf, Identity)>,
    /// Problems of a whole stage, by the tree that it reads.
    problems: BTreeMap<&'static str, String>,
    /// Duration of the last scan of everything, without the changes that it made.
    pub scan_cost: Duration,
    /// True after a scan of everything.
    watches_changed: bool,
}

impl Monitor {
    /// Loads the state of earlier runs; links nothing yet.
    pub fn load(paths: Paths) -> Result<Self> {
        // The shared ledger is in the storage, which each scan opens.
        let shipped = Ledger::empty(&paths.shipped_ledger());
        let mapped = Ledger::load(&paths.ledger())?;
        Ok(Self {
            active_mapping: ActiveMapping::load(&paths)?,
            known_storage: KnownStorage::load(paths.last_storage()),
            shipped: TreeLinker::new(&paths.image, shipped),
            mapped: TreeLinker::new(&paths.storage, mapped),
            targets: Targets::default(),
            storage: None,
            problems: BTreeMap::new(),
            scan_cost: Duration::ZERO,
            watches_changed: false,
            paths,
        })
    }

    #[cfg(test)]
    pub fn of(top: &Path) -> Self {
        fs::create_dir_all(top.join("state")).unwrap();
        Self::load(Paths {
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
        self.active_mapping.set(Mapping(map));
    }

    /// Reads the mappings file if it has changed, or in any case; returns true if another mapping is active now.
    pub fn read_mapping(&mut self, force: bool) -> bool {
        self.active_mapping.reload(force)
    }

    /// Scans everything and corrects it, or reports the steps that this would take.
    pub fn full_scan(&mut self, mut dry_run: DryRun<'_>) -> ScanCounts {
        let began = Instant::now();
        let mut counts = self.ship(Scope::All, again(&mut dry_run));
        for round in 0..MAX_ROUNDS {
            let targets = self.find_targets();
            if round > 0 && targets == self.targets {
                break;
            }
            self.targets = targets;
            let done = self.link(Scope::All, again(&mut dry_run));
            let may_help = done.directories > 0 && !self.targets.waiting.is_empty();
            counts.add(done);
            if !may_help || dry_run.is_some() {
                break;
            }
        }
        // Without the time of changes: on a busy volume every scan makes some.
        self.scan_cost = began.elapsed().saturating_sub(counts.change_time);
        self.watches_changed = true;
        if dry_run.is_none() {
            self.active_mapping.save_last_good();
        }
        counts
    }

    /// Scans the directories that changes lead to; everything, if they concern the storage or the mapping as a whole.
    pub fn incremental_scan(&mut self, changes: &Changes) -> ScanCounts {
        let storage = self.storage();
        let image = &self.paths.image;
        let elsewhere =
            changes.contents.keys().any(|path| !path.starts_with(&storage) && !path.starts_with(image));
        let moved = self.storage.as_ref().is_none_or(|(known, _)| *known != storage);
        if elsewhere && (moved || self.targets_changed()) || changes.names.contains(&storage) {
            return self.full_scan(None);
        }
        let image = changes.below(image);
        let mut counts =
            if image.is_empty() { ScanCounts::default() } else { self.ship(Scope::Changed(&image), None) };
        let storage = changes.below(&storage);
        if !storage.is_empty() {
            // Links to files of the image are names in the storage too, and can be removed there.
            counts.add(self.ship(Scope::ChangedLinks(changes), None));
            counts.add(self.link(Scope::Changed(&storage), None));
        }
        counts
    }

    /// Scans newly watched directories: changes between their last scan and the watch were not reported.
    /// A change in a directory that leads nowhere may concern everything.
    pub fn rescan(&mut self, directories: &[PathBuf], may_be_full: bool) -> ScanCounts {
        let storage = self.storage();
        let trees = [(&storage, &self.mapped), (&self.paths.image, &self.shipped)];
        let leads = |path: &PathBuf| {
            trees.iter().any(|(root, linker)| {
                let below = path.strip_prefix(root).ok();
                let known = below.and_then(|below| linker.routes.directories().get(below));
                known.is_some_and(|known| !known.targets.is_empty())
            })
        };
        if may_be_full && !directories.iter().all(leads) {
            self.read_mapping(false);
            return self.full_scan(None);
        }
        let contents = directories.iter().map(|path| (path.clone(), Names::All)).collect();
        self.incremental_scan(&Changes { contents, ..Changes::default() })
    }

    /// Returns all directories in which changes concern the links, by real path.
    pub fn directories_to_watch(&self) -> BTreeMap<PathBuf, Identity> {
        let storage = self.storage();
        let mut wanted = Vec::new();
        for (root, linker) in [(&storage, &self.mapped), (&self.paths.image, &self.shipped)] {
            let leading = linker.routes.directories().iter().filter(|(_, known)| !known.targets.is_empty());
            wanted.extend(leading.filter_map(|(path, known)| Some((in_tree(root, path), known.identity?))));
        }
        // The directory of a key that does not exist yet will appear in one of these.
        let above =
            self.keys().flat_map(|key| key.ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>());
        let above = above.map(|above| in_tree(&storage, &above));
        // A storage that was moved away reappears in its parent directory.
        let holds = self.paths.storage.parent().and_then(|parent| fs::canonicalize(parent).ok());
        let beside = above
            .chain(holds)
            .chain(self.targets.signs.iter().cloned())
            .chain(self.paths.mappings.parent().map(Path::to_owned))
            .chain([storage.clone(), self.paths.image.clone()]);
        wanted.extend(beside.filter_map(|path| identity(&path).map(|is| (path, is))));
        wanted.into_iter().collect()
    }

    /// True if [`Monitor::directories_to_watch`] may differ from the last time, given the names that may have moved.
    pub fn needs_new_watches(&mut self, moved: &BTreeSet<PathBuf>) -> bool {
        let changed = [
            std::mem::take(&mut self.watches_changed),
            self.mapped.routes.take_changed(),
            self.shipped.routes.take_changed(),
        ];
        let storage = self.storage();
        changed.contains(&true)
            || self.keys().any(|key| storage.join(key).ancestors().any(|above| moved.contains(above)))
    }

    fn keys(&self) -> impl Iterator<Item = &PathBuf> {
        self.mapping().into_iter().flat_map(|mapping| mapping.0.keys())
    }

    /// Real path of the storage.
    fn storage(&self) -> PathBuf {
        safe_resolve::resolve(&self.paths.storage).unwrap_or_else(|_| self.paths.storage.clone())
    }

    fn find_targets(&self) -> Targets {
        let is_ours = |path: &Path| self.mapped.ledger.is_ours(path);
        self.mapping().map(|mapping| mapping.resolve(&self.storage(), is_ours)).unwrap_or_default()
    }

    /// True if a directory of the mapping has come or gone.
    fn targets_changed(&self) -> bool {
        self.find_targets() != self.targets
    }

    fn ship(&mut self, scope: Scope<'_>, dry_run: DryRun<'_>) -> ScanCounts {
        let source = Source { directory: Path::new("").into(), depth: 0 };
        let (storage, directory) = match safe_resolve::open(&self.paths.storage) {
            Ok(opened) => opened,
            // Without a storage there is nothing to put files into; the start makes it.
            Err(error) if safe_resolve::is_absent(&error) => return ScanCounts::default(),
            Err(error) => {
                return self.record_problem("the image's storage", Err(cannot_read("the storage", &error)));
            }
        };
        let image = match dirfd::open_root(&self.paths.image) {
            Err(error) if dirfd::is_absent(error) => Ok(None),
            image => image.map(Some).map_err(io::Error::from),
        };
        let done = image.and_then(|image| {
            self.load_shipped_ledger(&storage, directory)?;
            let targets =
                Targets { roots: BTreeMap::from([(storage.into(), vec![source])]), ..Targets::default() };
            self.shipped.scan(image, &targets, scope, dry_run)
        });
        self.record_problem(
            "the image's storage",
            done.map_err(|error| cannot_read("the image's storage", &error)),
        )
    }

    /// Reads the ledger in the storage, unless it is loaded already.
    fn load_shipped_ledger(&mut self, storage: &Path, directory: OwnedFd) -> io::Result<()> {
        let is = Some((storage.to_owned(), dirfd::identity(&directory)?));
        if self.storage != is {
            // The volume's users can write this ledger, so only its entries for links to image files are trusted.
            let is_trusted = |target: &Path, source: &Path| {
                target.starts_with(storage)
                    && target.components().all(|part| part != Component::ParentDir)
                    && (source.as_os_str().is_empty() || source.starts_with(&self.paths.image))
            };
            let ledger = Ledger::load_shared(directory, &self.paths.shipped_ledger(), is_trusted);
            self.shipped = TreeLinker::new(&self.paths.image, ledger);
            self.storage = is;
        }
        Ok(())
    }

    fn link(&mut self, scope: Scope<'_>, dry_run: DryRun<'_>) -> ScanCounts {
        if self.mapping().is_none() {
            return ScanCounts::default();
        }
        let top = match safe_resolve::open(&self.paths.storage) {
            Err(error) if safe_resolve::is_absent(&error) => Ok(None),
            opened => opened.map(|(_, directory)| Some(directory)),
        };
        let mismatch = match &top {
            Ok(top) => self.known_storage.mismatch(top.as_ref(), &self.paths.image, dry_run.is_none()),
            Err(_) => Ok(None),
        };
        match mismatch {
            Ok(Some(why)) if self.mapped.ledger.count() > 0 => {
                let storage = quoted(&self.paths.storage);
                return self.record_problem(
                    "the storage",
                    Err(format!("{storage} is missing its files, keeping the links: {why}")),
                );
            }
            Ok(_) => {}
            Err(error) => return self.record_problem("the storage", Err(cannot_read("the storage", &error))),
        }
        let targets = std::mem::take(&mut self.targets);
        let done = top.and_then(|top| self.mapped.scan(top, &targets, scope, dry_run));
        self.targets = targets;
        self.record_problem("the storage", done.map_err(|error| cannot_read("the storage", &error)))
    }

    /// Records the problem of a stage as a whole, or that it has none.
    fn record_problem(&mut self, tree: &'static str, done: Result<ScanCounts, String>) -> ScanCounts {
        let (counts, problem) = match done {
            Ok(counts) => {
                let problem = counts.ledger_error.clone();
                (counts, problem)
            }
            Err(problem) => (ScanCounts { failed: 1, ..ScanCounts::default() }, Some(problem)),
        };
        match problem {
            Some(problem) => _ = self.problems.insert(tree, problem),
            None => _ = self.problems.remove(tree),
        }
        counts
    }

    /// Coverage of both trees by events.
    pub fn coverage(&self) -> EventCoverage {
        self.mapped.coverage.max(self.shipped.coverage)
    }

    /// Paths that the monitor works with.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The active mapping, if there ever was a valid one.
    pub fn mapping(&self) -> Option<&Mapping> {
        self.active_mapping.mapping()
    }

    /// Directories of the mapping that cannot be used now.
    pub fn waiting(&self) -> &BTreeMap<PathBuf, String> {
        &self.targets.waiting
    }

    /// The mistake in the mappings file.
    pub fn mapping_error(&self) -> Option<&str> {
        self.active_mapping.error()
    }

    /// The first conflicts between files of the storage and other entries of the same names.
    pub fn conflicts(&self) -> impl Iterator<Item = (&PathBuf, &Conflict)> {
        // In the storage itself, a user's file wins over the image's, as it should.
        let findings = self.mapped.findings.iter();
        findings.flat_map(|(target, found)| found.conflicts.iter().map(move |conflict| (target, conflict)))
    }

    /// Returns problems as sentences: those of the mapping and of a stage first, then those of directories.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        // Both stages may have the same problem with the storage.
        let stages: BTreeSet<&str> = self.problems.values().map(String::as_str).collect();
        let mapping = self.mapping_error().into_iter();
        let whole = mapping.chain(stages).chain(self.active_mapping.save_error()).map(abbreviate);
        let found = self.mapped.findings.iter().chain(self.shipped.findings.iter());
        let errors = found.filter_map(|(target, found)| Some((target, found.error.as_ref()?)));
        whole.chain(errors.map(|(target, error)| abbreviate(&format!("{}: {error}", quoted(target)))))
    }
}

fn cannot_read(tree: &str, error: &io::Error) -> String {
    format!("cannot read {tree}: {error}")
}

/// Borrows the same receiver once more.
fn again<'a>(dry_run: &'a mut DryRun<'_>) -> DryRun<'a> {
    dry_run.as_mut().map(|dry_run| &mut **dry_run as _)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn top(directories: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let top = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(top.path()).unwrap();
        directories.iter().for_each(|directory| fs::create_dir_all(path.join(directory)).unwrap());
        (top, path)
    }

    #[test]
    fn what_came_before_the_watch_is_found() {
        let (_top, top) = top(&["storage/a", "app", "etc"]);
        let path = |below: &str| top.join(below);
        fs::write(path("storage/a/x"), "").unwrap();
        let mut monitor = Monitor::of(&top);
        let map = [("a", "later/models"), ("new/deep", "app")];
        monitor.set_mapping(map.map(|(key, directory)| (key.into(), [path(directory)].into())).into());
        monitor.full_scan(None);
        // A key's directory in one that is not watched yet.
        fs::create_dir_all(path("storage/new/deep")).unwrap();
        fs::write(path("storage/new/deep/y"), "").unwrap();
        monitor.rescan(&[path("storage/new")], true);
        assert!(path("app/y").is_symlink());
        // A directory of an application, likewise.
        fs::create_dir(path("later")).unwrap();
        monitor.rescan(std::slice::from_ref(&top), true);
        assert!(path("later/models/x").is_symlink());
        // A file in a directory that leads somewhere.
        fs::write(path("storage/a/z"), "").unwrap();
        monitor.rescan(&[path("storage/a")], false);
        assert!(path("later/models/z").is_symlink());
        // An edit of the mapping, which is recognised by its error.
        fs::write(path("etc/mappings.sh"), "").unwrap();
        fs::set_permissions(path("etc/mappings.sh"), fs::Permissions::from_mode(0o666)).unwrap();
        monitor.rescan(&[path("etc")], true);
        let mistake = monitor.mapping_error().unwrap();
        assert!(mistake.ends_with("users other than root can write to it"), "{mistake}");
    }

    /// Directories that came to those that are watched, and that went.
    fn news(
        monitor: &mut Monitor,
        top: &Path,
        before: &mut BTreeMap<PathBuf, Identity>,
    ) -> (Vec<String>, Vec<String>) {
        let now = monitor.directories_to_watch();
        let lacks = |all: &BTreeMap<PathBuf, Identity>, other: &BTreeMap<PathBuf, Identity>| {
            let new = all.iter().filter(|(path, is)| other.get(*path) != Some(*is));
            new.map(|(path, _)| path.strip_prefix(top).unwrap().to_str().unwrap().to_owned()).collect()
        };
        let news = (lacks(&now, before), lacks(before, &now));
        *before = now;
        news
    }

    #[test]
    fn directories_are_watched_while_they_lead_somewhere() {
        let (_top, top) = top(&["storage/a/one", "storage/a/two", "image", "app", "etc", "volume/a/one"]);
        let mut monitor = Monitor::of(&top);
        monitor.set_mapping([("a".into(), [top.join("app")].into())].into());
        monitor.full_scan(None);
        let mut watched = BTreeMap::new();
        let mut news = |monitor: &mut Monitor| news(monitor, &top, &mut watched);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let all = ["", "etc", "image", "storage", "storage/a", "storage/a/one", "storage/a/two"];
        assert_eq!(news(&mut monitor), (names(&all), names(&[])));
        assert!(monitor.needs_new_watches(&BTreeSet::new()) && !monitor.needs_new_watches(&BTreeSet::new()));
        let change = |monitor: &mut Monitor, path: &str| {
            let mut changes = Changes::default();
            changes.add(top.join(path), true);
            monitor.incremental_scan(&changes);
            monitor.needs_new_watches(&BTreeSet::new())
        };
        fs::write(top.join("storage/a/file"), "").unwrap();
        assert!(!change(&mut monitor, "storage/a/file"), "a file is no reason to look");
        fs::create_dir(top.join("storage/a/three")).unwrap();
        assert!(change(&mut monitor, "storage/a/three"));
        assert_eq!(news(&mut monitor), (names(&["storage/a/three"]), names(&[])));
        fs::remove_dir(top.join("storage/a/one")).unwrap();
        assert!(change(&mut monitor, "storage/a/one"));
        assert_eq!(news(&mut monitor), (names(&[]), names(&["storage/a/one"])));
        monitor.full_scan(None);
        assert_eq!(news(&mut monitor), (names(&[]), names(&[])));
        // The storage is elsewhere now, and has a file.
        fs::write(top.join("volume/a/one/file"), "").unwrap();
        fs::rename(top.join("storage"), top.join("former")).unwrap();
        symlink(top.join("volume"), top.join("storage")).unwrap();
        assert!(change(&mut monitor, "storage"));
        let former = ["storage", "storage/a", "storage/a/three", "storage/a/two"];
        assert_eq!(news(&mut monitor), (names(&["volume", "volume/a", "volume/a/one"]), names(&former)));
    }

    #[test]
    fn a_storage_that_is_moved_away_and_back_is_noticed_by_events() {
        let (_top, top) = top(&["storage/a", "app"]);
        fs::write(top.join("storage/a/x"), "").unwrap();
        let mut monitor = Monitor::of(&top);
        monitor.set_mapping([("a".into(), [top.join("app")].into())].into());
        monitor.full_scan(None);
        assert_eq!(monitor.directories_to_watch().get(&top).copied(), identity(&top));
        let moved = |monitor: &mut Monitor, from: &str, to: &str| {
            fs::rename(top.join(from), top.join(to)).unwrap();
            let mut changes = Changes::default();
            changes.add(top.join(from), true);
            changes.add(top.join(to), true);
            monitor.incremental_scan(&changes);
            monitor.problems().any(|problem| problem.ends_with("it is missing"))
        };
        assert!(moved(&mut monitor, "storage", "away"));
        fs::write(top.join("away/a/y"), "").unwrap();
        assert!(!moved(&mut monitor, "away", "storage"));
        assert!(top.join("app/y").is_symlink());
        let storage = top.join("storage");
        assert_eq!(monitor.directories_to_watch().get(&storage).copied(), identity(&storage));
    }

    #[test]
    fn what_leads_somewhere_stays_watched_when_the_keys_below_it_go() {
        let (_top, top) = top(&["storage/a", "storage/c", "app", "etc", "image"]);
        let mut monitor = Monitor::of(&top);
        let keys = |keys: &[&str]| keys.iter().map(|key| (key.into(), [top.join("app")].into())).collect();
        monitor.set_mapping(keys(&["a", "a/b", "c/d"]));
        monitor.full_scan(None);
        let mut watched = BTreeMap::new();
        news(&mut monitor, &top, &mut watched);
        monitor.set_mapping(keys(&["a"]));
        monitor.full_scan(None);
        assert_eq!(news(&mut monitor, &top, &mut watched), (vec![], vec!["storage/c".to_owned()]));
        assert!(monitor.needs_new_watches(&BTreeSet::new()));
        assert!(!monitor.needs_new_watches(&[top.join("storage/a/new")].into()));
        assert!(monitor.needs_new_watches(&[top.join("storage/a")].into()), "a key's directory");
    }
}
