//! Whatever happened before, and however often and early the monitor scanned: the links are those of a fresh scan.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::cli::Paths;
use crate::monitor::Monitor;
use crate::pending_events::Changes;

/// Names that meet each other often; some wait, some are awkward.
const NAMES: [&str; 6] = ["a", "b", "a b\n$", "-c", "d.part", ".e"];
/// Directories of applications, below the world; the third is inside the first, where a mirrored one may be as well.
const TARGETS: [&str; 4] = ["t/one", "t/two", "t/one/a", "t/missing/x"];
const KEYS: [&str; 4] = [".", "a", "a/b", "b"];

#[derive(Debug, Clone)]
enum Act {
    File(PathBuf),
    Directory(PathBuf),
    Link(PathBuf, PathBuf),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
    /// A file of a user's own where links are made.
    Own(PathBuf),
    RemoveOwn(PathBuf),
    /// A user removes a link of ours.
    Spoil(PathBuf),
    Ship(PathBuf),
    Unship(PathBuf),
    Map(Vec<(usize, usize)>),
    /// An incremental scan of what the watches have reported.
    Incremental,
    Full,
    Restart,
}

fn path() -> impl Strategy<Value = PathBuf> {
    prop::collection::vec(prop::sample::select(&NAMES[..]), 1..4).prop_map(|names| names.iter().collect())
}

fn own() -> impl Strategy<Value = PathBuf> {
    (prop::sample::select(&TARGETS[..3]), path()).prop_map(|(target, path)| Path::new(target).join(path))
}

fn act() -> impl Strategy<Value = Act> {
    let map = prop::collection::vec((0..KEYS.len(), 0..TARGETS.len()), 0..5);
    prop_oneof![
        6 => path().prop_map(Act::File),
        4 => path().prop_map(Act::Directory),
        1 => (path(), path()).prop_map(|(path, to)| Act::Link(path, to)),
        3 => path().prop_map(Act::Remove),
        4 => (path(), path()).prop_map(|(from, to)| Act::Rename(from, to)),
        2 => own().prop_map(Act::Own),
        2 => own().prop_map(Act::RemoveOwn),
        1 => own().prop_map(Act::Spoil),
        2 => path().prop_map(Act::Ship),
        1 => path().prop_map(Act::Unship),
        2 => map.prop_map(Act::Map),
        6 => Just(Act::Incremental),
        1 => Just(Act::Full),
        1 => Just(Act::Restart),
    ]
}

struct World {
    top: tempfile::TempDir,
    root: PathBuf,
    monitor: Monitor,
    changes: Changes,
    own: BTreeSet<PathBuf>,
}

impl World {
    fn new() -> Self {
        // In memory: thousands of worlds come and go.
        let top = tempfile::tempdir_in("/dev/shm").unwrap();
        let root = fs::canonicalize(top.path()).unwrap();
        for directory in ["workspace/storage", "image", "t/one", "t/two"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        let monitor = Self::load(&root);
        Self { top, root, monitor, changes: Changes::default(), own: BTreeSet::new() }
    }

    fn load(root: &Path) -> Monitor {
        fs::create_dir_all(root.join("state")).unwrap();
        Monitor::load(Paths {
            workspace: root.join("workspace"),
            storage: root.join("workspace/storage"),
            image: root.join("image"),
            mappings: root.join("no mappings"),
            state: root.join("state"),
            status: root.join("status"),
            slug: "test".into(),
        })
        .unwrap()
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join("workspace/storage").join(path)
    }

    /// Adds what a watch on each directory would have reported.
    fn changed(&mut self, path: PathBuf) {
        self.changes.add(path, true);
    }

    /// Failure is fine: then nothing has happened, as when people try.
    fn act(&mut self, act: &Act) {
        match act {
            Act::File(path) => {
                let path = self.at(path);
                if path.symlink_metadata().is_err() && fs::write(&path, "").is_ok() {
                    self.changed(path);
                }
            }
            Act::Directory(path) => {
                // Parents too, and at once, as when a tree is moved in: each is reported.
                let mut whole = self.at("");
                for name in path {
                    whole.push(name);
                    if fs::create_dir(&whole).is_ok() {
                        self.changed(whole.clone());
                    }
                }
            }
            Act::Link(path, to) => {
                let (path, to) = (self.at(path), self.at(to));
                if symlink(to, &path).is_ok() {
                    self.changed(path);
                }
            }
            Act::Remove(path) => {
                let path = self.at(path);
                if fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)).is_ok() {
                    self.changed(path);
                }
            }
            Act::Rename(from, to) => {
                let (from, to) = (self.at(from), self.at(to));
                if fs::rename(&from, &to).is_ok() {
                    self.changed(from);
                    self.changed(to);
                }
            }
            Act::Own(path) => {
                let whole = self.root.join(path);
                if !is_behind_a_link(&whole)
                    && whole.symlink_metadata().is_err()
                    && fs::write(whole, "own").is_ok()
                {
                    self.own.insert(path.clone());
                }
            }
            Act::RemoveOwn(path) => {
                if self.own.remove(path) {
                    fs::remove_file(self.root.join(path)).unwrap();
                }
            }
            Act::Spoil(path) => {
                let whole = self.root.join(path);
                if !is_behind_a_link(&whole) && whole.is_symlink() {
                    fs::remove_file(whole).unwrap();
                }
            }
            Act::Ship(path) => {
                let path = self.root.join("image").join(path);
                let _ = fs::create_dir_all(path.parent().unwrap());
                if path.symlink_metadata().is_err() && fs::write(&path, "").is_ok() {
                    // The content of an image does not change under a running container without a scan.
                    self.full_scan();
                }
            }
            Act::Unship(path) => {
                if fs::remove_file(self.root.join("image").join(path)).is_ok() {
                    self.full_scan();
                }
            }
            Act::Map(pairs) => {
                let mut map: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
                for &(key, target) in pairs {
                    let key = if KEYS[key] == "." { "" } else { KEYS[key] };
                    map.entry(key.into()).or_default().insert(self.root.join(TARGETS[target]));
                }
                self.monitor.set_mapping(map);
                self.full_scan();
            }
            Act::Incremental => {
                self.monitor.incremental_scan(&std::mem::take(&mut self.changes));
            }
            Act::Full => self.full_scan(),
            Act::Restart => {
                let mapping = self.monitor.mapping().cloned().unwrap_or_default();
                self.monitor = Self::load(&self.root);
                self.monitor.set_mapping(mapping.0);
                self.full_scan();
            }
        }
    }

    fn full_scan(&mut self) {
        self.monitor.full_scan(None);
        self.changes = Changes::default();
    }

    fn links(&self) -> Vec<String> {
        let mut all = Vec::new();
        for top in ["t", "workspace/storage"] {
            collect(&self.root.join(top), &self.root, &mut all);
        }
        all
    }

    /// As if no monitor had ever been here.
    fn forget_everything(&mut self) {
        let mapping = self.monitor.mapping().cloned().unwrap_or_default();
        let _ = fs::remove_dir_all(self.root.join("state"));
        let _ = fs::remove_file(self.at(".storage-monitor-test"));
        let own: BTreeSet<PathBuf> = self.own.iter().map(|path| self.root.join(path)).collect();
        clear(&self.root.join("t"), &|path| !own.contains(path));
        let image = self.root.join("image");
        let storage = self.at("");
        // One that was moved is the user's own.
        let shipped = |path: &Path| {
            fs::read_link(path).is_ok_and(|to| to == image.join(path.strip_prefix(&storage).unwrap()))
        };
        clear(&storage, &shipped);
        for target in ["t/one", "t/two"] {
            fs::create_dir_all(self.root.join(target)).unwrap();
        }
        self.monitor = Self::load(&self.root);
        self.monitor.set_mapping(mapping.0);
    }
}

fn is_behind_a_link(path: &Path) -> bool {
    path.ancestors().skip(1).any(Path::is_symlink)
}

fn collect(directory: &Path, root: &Path, all: &mut Vec<String>) {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let shown = path.strip_prefix(root).unwrap().display().to_string();
        if path.is_symlink() {
            all.push(format!("{shown} -> {}", fs::read_link(&path).unwrap().display()));
        } else if path.is_dir() {
            all.push(format!("{shown}/"));
            collect(&path, root, all);
        } else if !shown.contains("/.storage-monitor-") {
            all.push(shown);
        }
    }
}

/// Removes the files and links that `wanted` names, and directories that only they were in.
fn clear(directory: &Path, wanted: &dyn Fn(&Path) -> bool) -> bool {
    let mut cleared = false;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            let emptied = clear(&path, wanted);
            let ours = emptied || directory.components().any(|part| part.as_os_str() == "t");
            if ours {
                cleared |= fs::remove_dir(&path).is_ok();
            }
        } else if wanted(&path) {
            fs::remove_file(&path).unwrap();
            cleared = true;
        }
    }
    cleared
}

#[test]
fn the_cost_of_a_scan_is_known_although_it_changed_something() {
    let mut world = World::new();
    world.act(&Act::File("a".into()));
    world.act(&Act::Map(vec![(0, 0)]));
    assert!(world.links().contains(&format!("t/one/a -> {}", world.at("a").display())));
    assert!(world.monitor.scan_cost > std::time::Duration::ZERO);
}

/// The same cases each time; `PROPTEST_CASES` asks for more, and `PROPTEST_RNG_SEED` for others.
fn config() -> ProptestConfig {
    let is_set = |name: &str| std::env::var(name).is_ok();
    let mut config =
        ProptestConfig { max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() };
    if !is_set("PROPTEST_CASES") {
        config.cases = 2_000;
    }
    if !is_set("PROPTEST_RNG_SEED") {
        config.rng_seed = RngSeed::Fixed(5);
    }
    println!("{:?}, {} cases", config.rng_seed, config.cases);
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_history_ends_in_the_links_of_a_fresh_scan(
        first in prop::collection::vec((0..KEYS.len(), 0..TARGETS.len()), 1..5),
        acts in prop::collection::vec(act(), 1..40),
    ) {
        let mut world = World::new();
        world.act(&Act::Map(first));
        for act in &acts {
            world.act(act);
        }
        world.full_scan();
        let history = world.links();
        prop_assert!(world.monitor.full_scan(None).is_idle(), "a second scan changes nothing");
        world.forget_everything();
        world.full_scan();
        prop_assert_eq!(history, world.links());
        drop(world.top);
    }

    #[test]
    fn what_was_reported_is_enough(
        first in prop::collection::vec((0..KEYS.len(), 0..3_usize), 1..5),
        acts in prop::collection::vec(act(), 1..25),
    ) {
        let mut world = World::new();
        world.act(&Act::Map(first));
        for act in &acts {
            // What is done to the links themselves is found by a full scan alone.
            if !matches!(act, Act::Own(_) | Act::RemoveOwn(_) | Act::Spoil(_) | Act::Link(..)) {
                world.act(act);
            }
        }
        world.act(&Act::Incremental);
        let reported = world.links();
        world.full_scan();
        prop_assert_eq!(reported, world.links());
    }
}
