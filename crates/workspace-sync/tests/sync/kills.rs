//! `kill -9` at any instant, and again.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use trees::{Random, Shape};

use crate::fixture::{Site, differences};

/// Checks that programs find the image's tree or a complete copy after a kill.
#[track_caller]
fn is_sound(site: &Site, original: &std::path::Path, seed: u64) {
    let active_link = site.leads_to();
    if active_link == site.image("micromamba") {
        assert_eq!(trees::difference(original, &active_link), [""; 0], "seed {seed}");
    } else {
        assert_eq!(active_link, site.copy(), "seed {seed}");
        assert_eq!(differences(original, &active_link), [""; 0], "seed {seed}");
    }
}

/// Another container, made from the same image, with an empty volume.
fn next_container(site: &Site) {
    fs::remove_file(site.active_link("micromamba")).unwrap();
    std::os::unix::fs::symlink(site.image("micromamba"), site.active_link("micromamba")).unwrap();
    let _ = fs::remove_dir_all(site.root().join("memory"));
    fs::remove_dir_all(site.volume()).unwrap();
    fs::create_dir(site.volume()).unwrap();
}

/// Microseconds from the start of a run to its switch.
fn time_to_switch(site: &Site) -> u64 {
    next_container(site);
    let started = Instant::now();
    let mut run = site.command(&["run", "--quiet"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    while site.leads_to() != site.copy() {
        assert!(started.elapsed() < Duration::from_mins(1), "the run must come to its switch");
        thread::yield_now();
    }
    let elapsed = started.elapsed();
    run.wait().unwrap();
    u64::try_from(elapsed.as_micros()).unwrap()
}

#[test]
fn two_hundred_kills_at_random_moments_leave_the_image_or_a_whole_copy() {
    let shape = Shape { files: 600, hard_linked: 80, links: 50, directories: 70, bytes: 6_000_000 };
    let site = Site::in_memory(&shape, 5);
    let original = site.root().join("original");
    let image = site.image("micromamba");
    assert!(std::process::Command::new("cp").arg("-a").args([&image, &original]).status().unwrap().success());

    let (mut to_switch, mut switched, mut resumed, mut seed) = (0, 0, 0, 0_u64);
    // More where the machine's load changed so much meanwhile that they fell into one part.
    while seed < 200 || switched == 0 || resumed < 20 {
        assert!(seed < 2_000, "the kills must fall into every part: {switched} {resumed}");
        // The time of an undisturbed run up to the switch decides when the kills come.
        if seed.is_multiple_of(25) {
            to_switch = (0..2).map(|_| time_to_switch(&site)).min().unwrap();
        }
        if site.leads_to() == site.copy() {
            next_container(&site);
        }
        resumed += u32::from(site.partial().exists());
        let delay = Random::new(seed).below(to_switch * 12 / 10);
        let mut run = site.command(&["run", "--quiet"]).stdout(std::process::Stdio::null()).spawn().unwrap();
        // The moment of the kill is what is tested; nothing is waited for.
        thread::sleep(Duration::from_micros(delay));
        run.kill().unwrap();
        run.wait().unwrap();
        is_sound(&site, &original, seed);
        switched += u32::from(site.leads_to() == site.copy());
        seed += 1;
    }
    println!(
        "{seed} kills, seeds from 0: {switched} came after the switch, {resumed} runs found a partial copy"
    );
    site.sync();
    assert_eq!(site.copy_differs_from(&original), [""; 0]);
    assert!(!site.partial().exists());
}

#[test]
fn what_the_user_wrote_after_the_switch_survives_kills_of_later_runs() {
    let site = Site::small();
    site.sync();
    fs::write(site.copy().join("notebook"), "mine").unwrap();
    let mut run = site.command(&["run", "--quiet"]);
    for seed in 0..30_u64 {
        let mut child = run.stdout(std::process::Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_micros(Random::new(seed).below(20_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(site.leads_to(), site.copy(), "seed {seed}");
        assert_eq!(fs::read_to_string(site.copy().join("notebook")).unwrap(), "mine", "seed {seed}");
    }
}
