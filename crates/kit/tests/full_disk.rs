//! A full disk costs no file: the old one stays whole, and nothing is left beside it.

// The lint's exception for tests does not reach functions.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use kit::atomic::{self, WriteOptions};

/// Runs with a file system without a free byte; needs root.
fn with_full_disk(run: impl FnOnce(&Path)) {
    let disk = tempfile::tempdir().unwrap();
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(disk.path()).status();
    assert!(mount.unwrap().success());
    fs::write(disk.path().join("old"), "old").unwrap();
    fs::write(disk.path().join("fill"), vec![0; 128 << 10]).unwrap_err();
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(disk.path())));
    assert!(Command::new("umount").arg("--lazy").arg(disk.path()).status().unwrap().success());
    ran.unwrap();
}

#[test]
fn a_full_disk_leaves_the_old_file_and_no_temporary_one() {
    with_full_disk(|disk| {
        let names =
            || fs::read_dir(disk).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        let before = names();
        for placement in [WriteOptions::durable(0o600), WriteOptions::volatile(0o600)] {
            for name in ["old", "new"] {
                let error = atomic::write(&disk.join(name), &vec![b'x'; 70_000], placement).unwrap_err();
                let output = format!("cannot write {}: No space left on device", disk.join(name).display());
                assert!(format!("{error:#}").starts_with(&output), "{error:#}");
            }
            let changed = atomic::write_if_changed(&disk.join("old"), b"new", placement);
            assert!(
                changed.is_err()
                    && !atomic::write_if_changed(&disk.join("old"), b"old", WriteOptions::volatile(0o644))
                        .unwrap()
            );
        }
        assert_eq!((fs::read_to_string(disk.join("old")).unwrap().as_str(), names()), ("old", before));
        fs::remove_file(disk.join("fill")).unwrap();
        atomic::write(&disk.join("old"), b"new", WriteOptions::durable(0o600)).unwrap();
        assert_eq!(fs::read_to_string(disk.join("old")).unwrap(), "new");
    });
}
