//! A restarted container: its file system is mounted again, with another device number.

// clippy's exception for tests does not cover functions that tests share.
#![allow(clippy::unwrap_used, dead_code)]

mod fixture;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use fixture::{Machine, append};

/// A file system that is unmounted at the end of its test; needs root.
struct Mounted(PathBuf);

impl Mounted {
    fn new(kind: &str, options: &str, path: PathBuf) -> Self {
        fs::create_dir_all(&path).unwrap();
        let status = Command::new("mount").args(["-t", kind, "-o", options, kind]).arg(&path).status();
        assert!(status.unwrap().success(), "this test needs root");
        Self(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(&self.0).status();
        assert!(thread::panicking() || status.unwrap().success(), "{} stays mounted", self.0.display());
    }
}

#[test]
fn no_line_is_repeated_after_the_file_system_was_mounted_again() {
    let machine = Machine::new();
    // A tmpfs can be the upper layer of an overlay.
    let store = Mounted::new("tmpfs", "size=10m", machine.path("store"));
    for layer in ["lower", "upper", "work"] {
        fs::create_dir(store.0.join(layer)).unwrap();
    }
    let layer = |name: &str| store.0.join(name).display().to_string();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", layer("lower"), layer("upper"), layer("work"));
    let mount = || Mounted::new("overlay", &options, machine.path("var/log/supervisor"));
    let path = machine.log("x");

    let logs = mount();
    append(&path, "1\n");
    let device = path.metadata().unwrap().dev();
    let follower = machine.follow();
    assert_eq!(follower.line(), "x | 1");
    assert_eq!(follower.stop(), (Some(0), vec![]));
    drop(logs);
    // It gets the device number that was freed.
    let other = Mounted::new("tmpfs", "size=10m", machine.path("other"));
    let logs = mount();
    assert_ne!(path.metadata().unwrap().dev(), device);
    append(&path, "2\n");
    let follower = machine.follow();
    assert_eq!(follower.line(), "x | 2");
    assert_eq!(follower.stop(), (Some(0), vec![]));
    drop((logs, other, store));
}
