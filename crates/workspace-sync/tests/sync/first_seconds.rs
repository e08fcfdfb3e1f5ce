//! Writes of programs in the first seconds of a container, before its image was listed and before its copy was complete.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::fixture::{Mount, Site, init, start};

/// As an image brings it: written long ago.
fn ship(file: &Path, content: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, content).unwrap();
    File::open(file).unwrap().set_modified(SystemTime::now() - Duration::from_hours(24)).unwrap();
}

/// The same image, built again with other content.
fn upgrade(site: &Site) {
    let lower = site.root().join("layers/lower/.image/app");
    ship(&lower.join("newer.py"), "3\n");
    ship(&lower.join("vendor/release"), "two\n");
}

/// A package of the image, an application, and a copy that is reached through a link.
fn image() -> Site {
    let mut site = Site::small();
    site.set("OPT_SYNC", "app");
    let app = site.image("app");
    for (name, content) in [
        ("config.yaml", "model: small\n"),
        ("lib/torch/version.py", "1.0\n"),
        ("lib/torch/old.py", "import torch\n"),
        ("lib/torch-1.0/METADATA", "torch 1.0\n"),
        ("plugins/one.py", "1\n"),
        ("vendor/release", "1\n"),
    ] {
        ship(&app.join(name), content);
    }
    symlink("config.yaml", app.join("current")).unwrap();
    symlink(&app, site.active_link("app")).unwrap();
    site
}

/// Everything that users and programs do, by name.
fn work(app: &Path) {
    fs::create_dir(app.join("mine")).unwrap();
    for number in 1..=50 {
        fs::write(app.join(format!("mine/{number}")), number.to_string()).unwrap();
    }
    fs::create_dir(app.join("newdir")).unwrap();
    fs::create_dir(app.join("models")).unwrap();
    fs::write(app.join("plain"), "plain").unwrap();
    symlink("/elsewhere", app.join("link")).unwrap();
    fs::write(app.join("config.yaml"), "model: large\n").unwrap();
    fs::remove_file(app.join("current")).unwrap();
    symlink("plain", app.join("current")).unwrap();
    // As pip upgrades a package that the image ships.
    fs::remove_dir_all(app.join("lib/torch-1.0")).unwrap();
    fs::remove_file(app.join("lib/torch/old.py")).unwrap();
    fs::write(app.join("lib/torch/version.py"), "2.0\n").unwrap();
    fs::create_dir(app.join("lib/torch-2.0")).unwrap();
    fs::write(app.join("lib/torch-2.0/METADATA"), "torch 2.0\n").unwrap();
    fs::remove_dir_all(app.join("plugins")).unwrap();
    // From an archive, with the times of the archive.
    ship(&app.join("lib/extracted.py"), "old\n");
}

/// A container without a copy yet, in which `work` is done at one of the moments that there are.
fn first_container(before_listing: bool) -> (Site, Mount) {
    let site = image();
    let layers = site.layered();
    init(&site);
    if before_listing {
        work(&site.active_link("app"));
    }
    assert_eq!(site.run(&["snapshot"]).code, 0);
    // As fix-perms does to everything.
    for name in ["lib/torch/version.py", "config.yaml", "lib"] {
        let path = site.image("app").join(name);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        fs::set_permissions(path, PermissionsExt::from_mode(mode | 0o2020 & 0o7020)).unwrap();
    }
    if !before_listing {
        work(&site.active_link("app"));
    }
    site.sync();
    assert_eq!(fs::read_link(site.active_link("app")).unwrap(), site.volume().join("app"));
    (site, layers)
}

fn copy(site: &Site) -> PathBuf {
    site.volume().join("app")
}

/// Checks that the user's additions and changes are in the copy: where the image has nothing of that name under their
/// own, and otherwise beside the image's.
#[track_caller]
fn has_everything(site: &Site) {
    let read =
        |name: &str| fs::read_to_string(copy(site).join(name)).unwrap_or_else(|_| format!("no {name}"));
    for number in 1..=50 {
        assert_eq!(read(&format!("mine/{number}")), number.to_string());
    }
    for name in ["newdir", "models"] {
        assert!(copy(site).join(name).is_dir(), "{name}");
    }
    assert_eq!(read("plain"), "plain");
    assert_eq!(fs::read_link(copy(site).join("link")).unwrap(), Path::new("/elsewhere"));
    assert_eq!(read("config.yaml.before-refresh"), "model: large\n");
    assert_eq!(fs::read_link(copy(site).join("current.before-refresh")).unwrap(), Path::new("plain"));
    assert_eq!(read("lib/torch/version.py.before-refresh"), "2.0\n");
    assert_eq!(read("lib/torch-2.0/METADATA"), "torch 2.0\n");
    assert_eq!(read("lib/extracted.py"), "old\n");
}

#[track_caller]
fn is_the_same_generation(site: &Site) {
    let output = site.sync();
    assert!(!output.stderr.contains("the image has generation"), "{output:?}");
    let output = site.run(&["status", "--json"]);
    for line in output.stdout.lines() {
        let status: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(status["image_generation"], status["copy_generation"], "{line}");
        assert_eq!(status["problem"], serde_json::Value::Null, "{line}");
    }
    let output = site.run(&["refresh", "app"]);
    assert!(output.stdout.contains(" already"), "{output:?}");
}

#[test]
fn what_was_made_before_the_first_copy_was_whole_is_the_users_and_not_the_images() {
    for before_listing in [true, false] {
        let (site, layers) = first_container(before_listing);
        let layers = site.layered_anew(layers);
        start(&site);
        is_the_same_generation(&site);

        upgrade(&site);
        ship(&site.root().join("layers/lower/.image/app/config.yaml"), "model: medium\n");
        let _layers = site.layered_anew(layers);
        start(&site);
        let output = site.sync();
        assert!(output.stderr.contains("the image has generation"), "{output:?}");
        let output = site.run(&["refresh", "app"]);
        assert_eq!(output.code, 0, "{output:?}");
        has_everything(&site);
        let beside =
            format!("kept your version as {}", copy(&site).join("config.yaml.before-refresh").display());
        assert!(output.stderr.contains(&beside), "{output:?}");
        let read = |name: &str| fs::read_to_string(copy(&site).join(name)).unwrap();
        assert_eq!([read("config.yaml"), read("newer.py")], ["model: medium\n", "3\n"]);
        assert_eq!(read("lib/torch/version.py"), "1.0\n", "the image's has its place");
    }
}

#[test]
fn what_is_done_in_the_first_second_of_a_later_container_is_no_generation() {
    let (site, layers) = first_container(false);
    let _layers = site.layered_anew(layers);
    init(&site);
    // The active link leads to the copy; a program works in the image's tree all the same.
    work(&site.image("app"));
    assert_eq!(site.run(&["snapshot"]).code, 0);
    is_the_same_generation(&site);
}

#[test]
fn weeks_of_use_before_the_first_copy_are_the_users() {
    let mut site = image();
    site.set("WORKSPACE_MOUNTED", "false");
    let layers = site.layered();
    start(&site);
    work(&site.active_link("app"));
    site.sync();
    // Another start of the same container, now with a volume.
    start(&site);
    site.set("WORKSPACE_MOUNTED", "true");
    site.sync();
    upgrade(&site);
    let _layers = site.layered_anew(layers);
    start(&site);
    let output = site.run(&["refresh", "app"]);
    assert_eq!(output.code, 0, "{output:?}");
    has_everything(&site);
}

#[test]
fn without_a_listing_in_time_what_programs_touched_is_the_users() {
    let site = image();
    let layers = site.layered();
    init(&site);
    work(&site.active_link("app"));
    // Late boot never got that far; the run is typed by hand.
    site.sync();
    upgrade(&site);
    let _layers = site.layered_anew(layers);
    start(&site);
    assert_eq!(site.run(&["refresh", "app"]).code, 0);
    has_everything(&site);
}

#[test]
fn what_the_user_adds_finds_a_place_whatever_the_newer_image_has_there() {
    let (site, layers) = first_container(false);
    let old = copy(&site);
    fs::write(old.join("lib/torch/mine.py"), "mine").unwrap();
    fs::write(old.join("clash"), "mine").unwrap();
    fs::write(old.join("equal"), "same").unwrap();
    fs::create_dir(old.join("folder")).unwrap();
    fs::write(old.join("folder/mine"), "mine").unwrap();
    let lower = site.root().join("layers/lower/.image/app");
    fs::remove_dir_all(lower.join("lib/torch")).unwrap();
    ship(&lower.join("lib/torch"), "a file now");
    upgrade(&site);
    ship(&lower.join("clash"), "the image's");
    ship(&lower.join("equal"), "same");
    ship(&lower.join("folder/images"), "the image's");
    let _layers = site.layered_anew(layers);
    start(&site);
    assert_eq!(site.run(&["refresh", "app"]).code, 0);
    let read =
        |name: &str| fs::read_to_string(copy(&site).join(name)).unwrap_or_else(|_| format!("no {name}"));
    for (name, content) in [
        ("lib/torch", "a file now"),
        ("lib/torch.before-refresh/mine.py", "mine"),
        ("clash", "the image's"),
        ("clash.before-refresh", "mine"),
        ("equal", "same"),
        ("equal.before-refresh", "no equal.before-refresh"),
        ("folder/mine", "mine"),
        ("folder/images", "the image's"),
        ("plugins/one.py", "1\n"),
    ] {
        assert_eq!(read(name), content, "{name}");
    }
}

#[test]
fn with_a_damaged_list_what_was_written_after_the_copy_comes_along() {
    let (site, layers) = first_container(false);
    fs::write(copy(&site).join(".sync_manifest"), "damaged").unwrap();
    let later = copy(&site).join("later");
    fs::write(&later, "later").unwrap();
    let in_a_minute = std::time::SystemTime::now() + std::time::Duration::from_mins(1);
    fs::File::options().write(true).open(&later).unwrap().set_modified(in_a_minute).unwrap();
    upgrade(&site);
    let _layers = site.layered_anew(layers);
    start(&site);
    let output = site.sync();
    assert!(output.stderr.contains("its generation cannot be compared with the image's"), "{output:?}");
    assert!(!output.stderr.contains("the image has generation"), "{output:?}");
    let output = site.run(&["refresh", "app"]);
    assert_eq!(output.code, 0, "{output:?}");
    let previous = site.volume().join("app.previous");
    assert!(output.stderr.contains(&format!("in {} alone", previous.display())), "{output:?}");
    assert_eq!(fs::read_to_string(copy(&site).join("later")).unwrap(), "later");
    assert!(copy(&site).join("newer.py").exists() && previous.join("mine/50").exists());
}
