//! A full disk below the record.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used, dead_code)]

mod fixture;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use fixture::{Machine, append};

/// A small file system; needs root.
struct Small(PathBuf);

impl Small {
    fn mount(path: PathBuf, size: &str) -> Self {
        let options = format!("size={size}");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).status();
        assert!(status.unwrap().success(), "this test needs root");
        Self(path)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(&self.0).status();
        assert!(thread::panicking() || status.unwrap().success(), "{} stays mounted", self.0.display());
    }
}

#[test]
fn on_a_full_disk_lines_are_still_shown_and_the_merged_log_notes_its_gap() {
    let machine = Machine::new();
    let small = Small::mount(machine.path("var/log"), "64k");
    fs::create_dir(machine.path("var/log/supervisor")).unwrap();
    let logs = Small::mount(machine.path("var/log/supervisor"), "10m");
    let follower = machine.follow();
    append(&machine.log("x"), "1\n");
    assert_eq!(follower.line(), "x | 1");
    let filler = machine.path("var/log/filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    // The first of them fits into the record's last page.
    let long = ["a", "b", "c"].map(|text| text.repeat(3_000));
    append(&machine.log("x"), format!("{}\n", long.join("\n")));
    let record = machine.path("var/log/logtail.log");
    let said = format!(
        "logtail | cannot write {}: No space left on device (os error 28); its lines are dropped",
        record.display()
    );
    let long = long.map(|text| format!("x | {text}"));
    let lines: Vec<_> = (0..4).map(|_| follower.line()).collect();
    assert_eq!(lines, [&long[..], &[said]].concat());
    drop(file);
    fs::remove_file(&filler).unwrap();
    append(&machine.log("x"), "3\n");
    assert_eq!(follower.line(), "x | 3");
    assert_eq!(follower.stop(), (Some(0), vec![]));
    assert_eq!(machine.record(), format!("x | 1\n{}\nlogtail | 2 lines dropped\nx | 3\n", long[0]));
    drop((logs, small));
}
