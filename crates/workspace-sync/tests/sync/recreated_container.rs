//! A directory of an extended image whose copy is from another container: the user's work there comes first.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::fixture::{Mount, Site, Worker, start};

const FILES: [(&str, &str); 4] = [
    ("config.yaml", "model: small\nlog: on\n"),
    ("unwanted.py", "import this\n"),
    ("plugins/one.py", "1\n"),
    ("models/readme", "put them here\n"),
];

/// As an image brings it: written long ago.
fn write_long_ago(file: &Path, content: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, content).unwrap();
    File::open(file).unwrap().set_modified(SystemTime::now() - Duration::from_hours(24)).unwrap();
}

/// Changes permissions as `fix-perms` does.
fn fix_permissions(tree: &Path) {
    for entry in fs::read_dir(tree).unwrap().map(Result::unwrap) {
        let mode = entry.metadata().unwrap().permissions().mode();
        if entry.path().is_dir() {
            fix_permissions(&entry.path());
        }
        fs::set_permissions(entry.path(), PermissionsExt::from_mode(mode | 0o020)).unwrap();
    }
}

/// The first container has made the copy, and its user has worked in that.
fn worked_in() -> (Site, Mount) {
    let mut site = Site::small();
    site.set("OPT_SYNC", "app");
    let app = site.active_link("app");
    for (name, content) in FILES {
        write_long_ago(&app.join(name), content);
    }
    let layers = site.layered();
    start(&site);
    fix_permissions(&app);
    site.sync();
    fs::write(app.join("config.yaml"), "model: large\n").unwrap();
    fs::remove_file(app.join("unwanted.py")).unwrap();
    fs::remove_dir_all(app.join("plugins")).unwrap();
    fs::remove_dir_all(app.join("models")).unwrap();
    std::os::unix::fs::symlink("/elsewhere", app.join("models")).unwrap();
    let layers = site.layered_anew(layers);
    start(&site);
    fix_permissions(&app);
    (site, layers)
}

#[track_caller]
fn is_as_the_user_left_it(app: &Path) {
    assert_eq!(fs::read_to_string(app.join("config.yaml")).unwrap(), "model: large\n");
    assert_eq!(fs::read_link(app.join("models")).unwrap(), Path::new("/elsewhere"));
    for name in ["unwanted.py", "plugins", "config.yaml.before-switch", "models.before-switch"] {
        assert!(app.join(name).symlink_metadata().is_err(), "{name}");
    }
}

#[test]
fn a_new_container_changes_nothing_that_the_user_did_to_the_copy() {
    let (site, _layers) = worked_in();
    let output = site.sync();
    let app = site.active_link("app");
    assert_eq!(fs::read_link(&app).unwrap(), site.volume().join("app"));
    is_as_the_user_left_it(&app);
    assert!(!output.stderr.contains("the image has generation"), "it is the same image: {output:?}");
}

#[test]
fn what_the_new_container_wrote_before_its_switch_comes_beside_the_users() {
    let (site, _layers) = worked_in();
    let app = site.active_link("app");
    let worker = Worker::at(&app);
    assert!(site.sync().stdout.contains("the image's directory stays in use"));
    drop(worker);
    fs::write(app.join("server.log"), "started\n").unwrap();
    // Entries of an archive have the times of the archive.
    write_long_ago(&app.join("extension/code.py"), "2\n");
    write_long_ago(&app.join("models-list"), "3\n");
    site.sync();
    is_as_the_user_left_it(&app);
    let read = |name: &str| fs::read_to_string(app.join(name)).unwrap();
    assert_eq!(
        [read("server.log"), read("extension/code.py"), read("models-list")],
        ["started\n", "2\n", "3\n"]
    );
}

#[test]
fn what_both_wrote_is_kept_in_two_files() {
    let (site, _layers) = worked_in();
    let app = site.active_link("app");
    fs::write(app.join("config.yaml"), "model: small\nlog: off\n").unwrap();
    site.sync();
    assert_eq!(fs::read_to_string(app.join("config.yaml")).unwrap(), "model: large\n");
    let beside = fs::read_to_string(app.join("config.yaml.before-switch")).unwrap();
    assert_eq!(beside, "model: small\nlog: off\n");
}

#[test]
fn a_newer_image_does_not_come_into_an_older_copy_file_by_file() {
    let (site, layers) = worked_in();
    write_long_ago(&site.root().join("layers/lower/app/newer.py"), "2\n");
    let _layers = site.layered_anew(layers);
    start(&site);
    let app = site.active_link("app");
    fix_permissions(&app);
    let output = site.sync();
    is_as_the_user_left_it(&app);
    assert!(!app.join("newer.py").exists());
    assert!(output.stderr.contains("the image has generation"), "{output:?}");
    let status = site.run(&["status"]);
    let hint = format!("hint        rename {} and start", site.volume().join("app").display());
    assert!(status.stdout.contains(&hint), "{status:?}");
}
