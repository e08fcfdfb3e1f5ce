//! `kill -9` at any instant, and again.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use trees::{Random, Shape};

use crate::site::{Site, differences};

/// After a kill: programs find the image's tree, or a whole copy; nothing between.
#[track_caller]
fn is_sound(site: &Site, original: &std::path::Path, seed: u64) {
    let entrance = site.leads_to();
    if entrance == site.image("micromamba") {
        assert_eq!(trees::difference(original, &entrance), [""; 0], "seed {seed}");
    } else {
        assert_eq!(entrance, site.copy(), "seed {seed}");
        assert_eq!(differences(original, &entrance), [""; 0], "seed {seed}");
    }
}

#[test]
fn two_hundred_kills_at_random_moments_leave_the_image_or_a_whole_copy() {
    let shape = Shape { files: 1_200, hard_linked: 150, links: 90, directories: 120, bytes: 12_000_000 };
    let site = Site::with(&shape, 5);
    let original = site.root().join("original");
    let image = site.image("micromamba");
    assert!(std::process::Command::new("cp").arg("-a").args([&image, &original]).status().unwrap().success());

    // How long an undisturbed run takes here decides where the kills fall.
    let began = Instant::now();
    site.sync();
    let whole = u64::try_from(began.elapsed().as_micros()).unwrap();
    let (mut switched, mut resumed) = (0, 0);
    for seed in 0..200_u64 {
        if site.leads_to() == site.copy() {
            // The next container, with an empty volume.
            fs::remove_file(site.entrance("micromamba")).unwrap();
            std::os::unix::fs::symlink(&image, site.entrance("micromamba")).unwrap();
            fs::remove_dir_all(site.root().join("memory")).unwrap();
            fs::remove_dir_all(site.volume()).unwrap();
            fs::create_dir(site.volume()).unwrap();
        }
        resumed += u32::from(site.partial().exists());
        let delay = Random::new(seed).below(whole * 11 / 10);
        let mut run = site.command(&["run", "--quiet"]).stdout(std::process::Stdio::null()).spawn().unwrap();
        // The moment of the kill is what is tested; nothing is waited for.
        thread::sleep(Duration::from_micros(delay));
        run.kill().unwrap();
        run.wait().unwrap();
        is_sound(&site, &original, seed);
        switched += u32::from(site.leads_to() == site.copy());
    }
    println!("200 kills, seeds 0 to 199: {switched} came after the switch, {resumed} runs found a partial copy");
    assert!(switched > 0 && resumed > 20, "the kills must fall into every part: {switched} {resumed}");
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
