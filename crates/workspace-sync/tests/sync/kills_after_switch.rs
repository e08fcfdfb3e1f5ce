//! `kill -9` at random moments of what is done to a copy that is in use, and again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use faultfs::Fault;
use trees::{Random, Shape};

use crate::fixture::{Failing, Site, differences};

const KILLS: u64 = 30;
const SHAPE: Shape = Shape { files: 120, hard_linked: 20, links: 10, directories: 15, bytes: 900_000 };

/// Runs the tool and kills it at a moment that `seed` picks, mostly within the time that an undisturbed run took.
fn killed(site: &Site, arguments: &[&str], seed: u64, usual: Duration) {
    let micros = u64::try_from(usual.as_micros()).unwrap();
    let delay = Duration::from_micros(Random::new(seed).below(micros * 11 / 10));
    let mut run = site.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // The moment of the kill is what is tested; nothing is waited for.
    thread::sleep(delay);
    run.kill().unwrap();
    run.wait().unwrap();
}

/// Returns the time that the tool takes without a kill.
#[track_caller]
fn undisturbed(site: &Site, arguments: &[&str]) -> Duration {
    let started = Instant::now();
    let output = site.run(arguments);
    assert_eq!(output.code, 0, "{output:?}");
    started.elapsed()
}

fn saved(tree: &Path, name: &Path) -> PathBuf {
    let _ = fs::remove_dir_all(name);
    assert!(Command::new("cp").arg("-a").args([tree, name]).status().unwrap().success());
    name.to_owned()
}

fn previous(site: &Site) -> PathBuf {
    site.volume().join("environments/micromamba-base-image.previous")
}

/// A new container, with another generation in its image.
fn upgraded(site: &Site, number: u64) {
    site.forget();
    let release = (0..=number).map(|number| number.to_string()).collect::<String>();
    fs::write(site.image("micromamba").join("release"), release).unwrap();
}

#[test]
fn a_refresh_that_is_killed_leaves_the_old_generation_or_the_new_one_whole_with_what_was_added() {
    println!("seeds 0 to {}", KILLS - 1);
    let site = Site::in_memory(&SHAPE, 5);
    let image = site.image("micromamba");
    site.sync();
    fs::write(site.copy().join("mine"), "years of work").unwrap();
    upgraded(&site, KILLS);
    let usual = undisturbed(&site, &["refresh", "micromamba"]);
    for seed in 0..KILLS {
        let before = saved(&site.copy(), &site.root().join("before"));
        upgraded(&site, seed);
        let is_whole = |when: &str| {
            assert!(site.copy().join(".move_complete").exists(), "{when}, seed {seed}");
            assert_eq!(site.leads_to(), site.copy(), "{when}, seed {seed}");
            assert_eq!(fs::read_to_string(site.copy().join("mine")).unwrap(), "years of work");
            let old = trees::difference(&before, &site.copy());
            let mut new = differences(&image, &site.copy());
            new.retain(|line| !line.starts_with("mine:"));
            assert!(old.is_empty() || new.is_empty(), "{when}, seed {seed}: {old:?}, {new:?}");
        };
        killed(&site, &["refresh", "micromamba"], seed, usual);
        is_whole("after the kill");
        site.sync();
        is_whole("after the next start");
        undisturbed(&site, &["refresh", "micromamba"]);
        is_whole("after another refresh");
        let released = |tree: PathBuf| fs::read_to_string(tree.join("release")).unwrap();
        assert_eq!(released(site.copy()), released(image.clone()), "seed {seed}");
        assert_eq!(trees::difference(&before, &previous(&site)), [""; 0], "seed {seed}");
        assert!(!site.partial().exists(), "seed {seed}");
    }
}

#[test]
fn a_rollback_that_is_killed_leaves_one_generation_in_use_and_the_other_beside_it() {
    println!("seeds 0 to {}", KILLS - 1);
    // In one step, and where the volume needs three.
    for in_steps in [false, true] {
        let failing = Failing::with(Site::in_memory(&SHAPE, 5));
        let site = &failing.site;
        let behind =
            |path: &Path| site.root().join("backing").join(path.strip_prefix(site.volume()).unwrap());
        if in_steps {
            failing.volume.inject(Fault::NoExchange);
            failing.volume.inject(Fault::Slow(Duration::from_micros(300)));
        }
        site.sync();
        upgraded(site, 1);
        undisturbed(site, &["refresh", "micromamba"]);
        let new = saved(&site.copy(), &site.root().join("new"));
        let old = saved(&previous(site), &site.root().join("old"));
        let usual = undisturbed(site, &["rollback", "micromamba"]);
        for seed in 0..KILLS {
            killed(site, &["rollback", "micromamba"], seed, usual);
            let active_link = site.leads_to();
            assert!(active_link.join("release").exists() || active_link == site.copy(), "seed {seed}");
            assert!(active_link.is_dir(), "programs always find a tree, seed {seed}");
            site.sync();
            assert_eq!(site.leads_to(), site.copy(), "seed {seed}");
            let same = |one: &Path, other: &Path| trees::difference(one, other).is_empty();
            // Behind the file system in between, which is slow.
            let (copy, beside) = (behind(&site.copy()), behind(&previous(site)));
            let either = same(&new, &copy) && same(&old, &beside) || same(&old, &copy) && same(&new, &beside);
            assert!(either, "seed {seed}, in steps: {in_steps}");
        }
    }
}

#[test]
fn a_directory_whose_replacement_is_killed_is_there_or_its_whole_copy_is() {
    replacements(false, KILLS);
}

#[test]
fn the_same_holds_where_it_cannot_be_renamed_and_has_to_be_emptied() {
    // Fewer: each waits for seconds until the clock of the file system has surely gone on.
    replacements(true, KILLS / 4);
}

fn replacements(fixed: bool, kills: u64) {
    println!("seeds 0 to {}", kills - 1);
    let mut site = Site::in_memory(&SHAPE, 5);
    site.set("OPT_SYNC", "app");
    let (app, copy, kept) = (site.active_link("app"), site.volume().join("app"), site.image("app"));
    let original = site.root().join("original");
    trees::build(&original, &SHAPE, 3).unwrap();
    let reset = || {
        let _ = fs::remove_file(&app);
        for directory in [&app, &kept, &copy, &site.root().join("memory")] {
            let _ = fs::remove_dir_all(directory);
        }
        if fixed {
            fs::create_dir(&kept).unwrap();
        }
        saved(&original, &app);
    };
    reset();
    site.sync();
    reset();
    let usual = undisturbed(&site, &["run"]);
    for seed in 0..kills {
        reset();
        killed(&site, &["run"], seed, usual);
        let whole = copy.join(".move_complete").exists() && differences(&original, &copy).is_empty();
        let there = app.is_dir() && !app.is_symlink() && trees::difference(&original, &app).is_empty();
        assert!(whole || there, "seed {seed}");
        site.sync();
        assert_eq!(fs::read_link(&app).unwrap(), copy, "seed {seed}");
        assert_eq!(differences(&original, &copy), [""; 0], "seed {seed}");
    }
}
