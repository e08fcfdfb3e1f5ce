//! Damage, and intended changes.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use trees::Shape;

use crate::fixture::Site;

fn verdict(site: &Site, arguments: &[&str]) -> (i32, serde_json::Value) {
    let output = site.run(&[&["verify", "--json"], arguments].concat());
    (output.code, serde_json::from_str(&output.stdout).unwrap())
}

/// Writes other bytes without leaving a trace in the time.
fn damage(file: &Path, time: SystemTime) {
    let length = fs::metadata(file).unwrap().len();
    fs::write(file, vec![b'#'; usize::try_from(length).unwrap()]).unwrap();
    fs::File::options().write(true).open(file).unwrap().set_modified(time).unwrap();
}

#[test]
fn verify_tells_what_was_lost_from_what_was_changed() {
    let site = Site::small();
    fs::write(site.image("micromamba").join("plain"), "12345").unwrap();
    site.sync();
    assert_eq!(site.run(&["verify", "--hash"]).code, 0);
    fs::write(site.copy().join("added"), "").unwrap();
    assert_eq!(site.run(&["verify", "--hash"]).code, 0, "what was added is no damage");
    let compiled = site.image("micromamba").join("__pycache__");
    fs::create_dir(&compiled).unwrap();
    fs::write(compiled.join("later.pyc"), "").unwrap();
    assert_eq!(
        site.run(&["verify", "--hash"]).code,
        0,
        "byte code that Python wrote later is not the image's"
    );

    let file = site.copy().join("plain");
    let time = fs::metadata(site.image("micromamba").join("plain")).unwrap().modified().unwrap();
    let stamp = || fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    fs::write(&file, "12e45").unwrap();
    stamp();
    // Changes in the tick of the file system's clock in which it is looked at are always compared.
    let changed = fs::metadata(&file).unwrap();
    kit::wait::until(Duration::from_secs(10), "the clock of the file system", || {
        let probe = site.copy().join("probe");
        fs::write(&probe, "").unwrap();
        let now = fs::metadata(&probe).unwrap();
        let passed =
            (now.ctime() - changed.ctime()) * 1000 + (now.ctime_nsec() - changed.ctime_nsec()) / 1_000_000;
        (passed > 100).then_some(())
    })
    .unwrap();
    assert_eq!(site.run(&["verify"]).code, 0, "sizes and times alone do not show it");
    let output = site.run(&["verify", "--hash"]);
    assert_eq!(output.code, 1);
    assert!(output.stdout.contains(" 0 are missing, 1 damaged, and "), "{}", output.stdout);
    assert!(output.stdout.contains("  damaged: \"plain\"\n"), "{}", output.stdout);
    fs::remove_file(&file).unwrap();
    let output = site.run(&["verify", "--json"]);
    let verdict: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((output.code, &verdict["missing"], &verdict["damaged"]), (1, &1.into(), &0.into()));
}

#[test]
fn what_fix_perms_changed_is_no_damage_and_hides_none() {
    let shape = Shape { files: 40, hard_linked: 10, links: 8, directories: 9, bytes: 200_000 };
    let site = Site::in_memory(&shape, 7);
    let image = site.image("micromamba");
    fs::write(image.join("one"), "a library").unwrap();
    fs::hard_link(image.join("one"), image.join("another")).unwrap();
    site.sync();
    let tree = fix_perms::Tree::Workspace { path: site.volume(), uid: 1000 };
    fix_perms::fix_tree(&tree, false, &|_| Ok(())).unwrap();
    let listed =
        std::process::Command::new("getfacl").arg("-n").arg(site.copy().join("one")).output().unwrap();
    assert!(String::from_utf8(listed.stdout).unwrap().contains("user:1000:rw-"), "it has changed something");
    for arguments in [&[][..], &["--hash"]] {
        let (code, verdict) = verdict(&site, arguments);
        assert_eq!((code, &verdict["missing"], &verdict["damaged"]), (0, &0.into(), &0.into()), "{verdict}");
        assert!(verdict["changed"].as_u64().unwrap() > 20, "{verdict}");
    }
    damage(&site.copy().join("one"), fs::metadata(image.join("one")).unwrap().modified().unwrap());
    let (code, verdict) = verdict(&site, &["--hash"]);
    assert_eq!((code, &verdict["damaged"]), (1, &1.into()), "{verdict}");
}

#[test]
fn what_users_do_to_files_of_the_image_is_no_damage_as_long_as_they_are_there() {
    let site = Site::small();
    let (image, copy) = (site.image("micromamba"), site.copy());
    for name in ["written", "given", "linked", "torn", "replaced"] {
        fs::write(image.join(name), "of the image").unwrap();
    }
    symlink("written", image.join("link")).unwrap();
    site.sync();
    fs::write(copy.join("written"), "by the user").unwrap();
    std::os::unix::fs::chown(copy.join("given"), Some(1000), Some(1000)).unwrap();
    fs::hard_link(copy.join("linked"), copy.join("linked again")).unwrap();
    fs::remove_file(copy.join("link")).unwrap();
    symlink("given", copy.join("link")).unwrap();
    let (code, found) = verdict(&site, &["--hash"]);
    assert_eq!((code, &found["changed"]), (0, &4.into()), "{found}");

    damage(&copy.join("linked"), fs::metadata(image.join("linked")).unwrap().modified().unwrap());
    let torn = fs::File::options().write(true).open(copy.join("torn")).unwrap();
    torn.set_len(5).unwrap();
    torn.set_modified(fs::metadata(image.join("torn")).unwrap().modified().unwrap()).unwrap();
    fs::remove_file(copy.join("replaced")).unwrap();
    fs::create_dir(copy.join("replaced")).unwrap();
    let (code, found) = verdict(&site, &["--hash"]);
    let mut names: Vec<String> = serde_json::from_value(found["damaged_names"].clone()).unwrap();
    names.sort();
    assert_eq!((code, names), (1, ["linked", "replaced", "torn"].map(String::from).to_vec()));
}
