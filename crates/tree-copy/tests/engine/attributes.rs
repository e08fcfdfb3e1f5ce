//! Owners, modes, times and hidden attributes.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags, lgetxattr, setxattr, utimensat};
use tree_copy::{Capabilities, Check, Options};

use crate::fixture::Trees;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn set_acl(options: &[&str], path: &Path) {
    assert!(Command::new("setfacl").args(options).arg(path).status().unwrap().success());
}

#[test]
fn modes_and_owners_of_every_kind_are_kept() {
    let trees = Trees::new();
    for (number, mode) in (0_u32..).zip([0o000, 0o400, 0o644, 0o777, 0o4755, 0o2755, 0o6711, 0o1666]) {
        let (file, directory) =
            (trees.source.join(format!("f{number}")), trees.source.join(format!("d{number}")));
        fs::write(&file, "x").unwrap();
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("inside"), "x").unwrap();
        for path in [&file, &directory] {
            chown(path, Some(1000 + number), Some(2000)).unwrap();
            set_mode(path, mode);
        }
    }
    symlink("x", trees.source.join("link")).unwrap();
    lchown(trees.source.join("link"), Some(7), Some(8)).unwrap();
    chown(&trees.source, Some(5), Some(6)).unwrap();
    set_mode(&trees.source, 0o2750);
    trees.pass_and_compare();
}

#[test]
fn what_the_target_would_pass_on_is_not_inherited() {
    let trees = Trees::new();
    chown(&trees.target, None, Some(4321)).unwrap();
    set_mode(&trees.target, 0o2777);
    set_acl(&["-m", "d:u:1234:rwx,u:1234:rwx"], &trees.target);
    fs::create_dir_all(trees.source.join("a/b")).unwrap();
    for name in ["f", "a/f", "a/b/f"] {
        fs::write(trees.source.join(name), "x").unwrap();
    }
    symlink("x", trees.source.join("a/link")).unwrap();
    trees.pass_and_compare();
}

#[test]
fn times_are_kept_to_the_nanosecond_also_those_of_directories_and_links() {
    let trees = Trees::new();
    fs::create_dir_all(trees.source.join("d/e")).unwrap();
    fs::write(trees.source.join("d/file"), "x").unwrap();
    symlink("x", trees.source.join("d/link")).unwrap();
    for (second, name) in (2..).zip(["d/link", "d/file", "d/e", "d"]) {
        let stamp = Timespec { tv_sec: second, tv_nsec: 123_456_789 };
        let times = Timestamps { last_access: stamp, last_modification: stamp };
        utimensat(CWD, trees.source.join(name), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
    trees.pass_and_compare();
    let meta = fs::metadata(trees.target.join("d")).unwrap();
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (5, 123_456_789));
}

#[test]
fn times_before_1970_and_far_away_are_kept() {
    let trees = Trees::new();
    for (name, seconds) in [("old", -5_000_000), ("new", 5_000_000_000)] {
        fs::write(trees.source.join(name), "x").unwrap();
        let stamp = Timespec { tv_sec: seconds, tv_nsec: 1 };
        let times = Timestamps { last_access: stamp, last_modification: stamp };
        utimensat(CWD, trees.source.join(name), &times, AtFlags::empty()).unwrap();
    }
    trees.pass_and_compare();
}

#[test]
fn attributes_lists_and_capabilities_are_kept() {
    let trees = Trees::new();
    fs::create_dir(trees.source.join("d")).unwrap();
    for name in ["d/file", "program"] {
        fs::write(trees.source.join(name), "x").unwrap();
    }
    let set = |name: &str, attribute: &str, value: &[u8]| {
        setxattr(trees.source.join(name), attribute, value, XattrFlags::empty()).unwrap();
    };
    set("d", "user.on.directory", b"1");
    set("d/file", "user.binary", &[0, 255, 10]);
    set("d/file", "user.empty", b"");
    set("d/file", "user.large", &[9; 2000]);
    set("d/file", "trusted.root", b"secret");
    // cap_net_bind_service, as setcap writes it: revision 2, effective.
    set("program", "security.capability", &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    chown(trees.source.join("d/file"), Some(99), Some(98)).unwrap();
    set_acl(&["-m", "u:1234:rwx,d:u:1234:rx,d:g:77:---"], &trees.source.join("d"));
    set_acl(&["-m", "u:1234:r,g:77:-"], &trees.source.join("d/file"));
    trees.pass_and_compare();
    let mut value = [0; 32];
    let length = lgetxattr(trees.target.join("program"), "security.capability", &mut value[..]).unwrap();
    assert_eq!(length, 20);
}

#[test]
fn a_change_of_attributes_alone_is_carried_over_without_copying() {
    let trees = Trees::new();
    fs::create_dir(trees.source.join("d")).unwrap();
    for name in ["mode", "owner", "list", "attribute", "gone", "d/file"] {
        fs::write(trees.source.join(name), "x").unwrap();
    }
    setxattr(trees.source.join("gone"), "user.x", b"1", XattrFlags::empty()).unwrap();
    trees.pass_and_compare();
    set_mode(&trees.source.join("mode"), 0o4711);
    chown(trees.source.join("owner"), Some(12), Some(13)).unwrap();
    set_acl(&["-m", "u:1234:r"], &trees.source.join("list"));
    setxattr(trees.source.join("attribute"), "user.x", b"1", XattrFlags::empty()).unwrap();
    rustix::fs::removexattr(trees.source.join("gone"), "user.x").unwrap();
    set_mode(&trees.source.join("d"), 0o2770);
    let compared = trees.pass_with(&Options { write: false, ..trees.options() }).unwrap().0;
    assert_eq!(compared.differing, 6);
    let done = trees.pass_and_compare();
    assert_eq!((done.updated, done.copied_files), (6, 0));
}

#[test]
fn a_target_whose_attributes_were_changed_is_corrected_by_a_close_look() {
    let trees = Trees::new();
    fs::write(trees.source.join("file"), "x").unwrap();
    trees.pass();
    setxattr(trees.target.join("file"), "user.mine", b"1", XattrFlags::empty()).unwrap();
    let close = Options { check: Check::Content, ..trees.options() };
    assert_eq!(trees.pass_with(&close).unwrap().0.updated, 1);
    trees.expect_equal();
}

#[test]
fn without_owners_a_program_loses_its_set_id_bits() {
    let trees = Trees::new();
    fs::write(trees.source.join("program"), "x").unwrap();
    chown(trees.source.join("program"), Some(1000), Some(1000)).unwrap();
    set_mode(&trees.source.join("program"), 0o4755);
    let can = Capabilities { owner: false, ..trees.can };
    let options = Options { capabilities: &can, ..trees.options() };
    trees.pass_with(&options).unwrap();
    let meta = fs::metadata(trees.target.join("program")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o755, 0));
    assert_eq!(trees.pass_with(&options).unwrap().0.updated, 0);
}

#[test]
fn with_coarse_times_a_second_pass_has_nothing_to_do_and_still_sees_changes() {
    let trees = Trees::new();
    let path = trees.source.join("file");
    fs::write(&path, "x").unwrap();
    let at = |milliseconds| UNIX_EPOCH + Duration::from_millis(milliseconds);
    File::options().write(true).open(&path).unwrap().set_modified(at(100_900)).unwrap();
    let can = Capabilities { time_granularity: 1_000_000_000, ..trees.can };
    let options = Options { capabilities: &can, ..trees.options() };
    trees.pass_with(&options).unwrap();
    File::options().write(true).open(trees.target.join("file")).unwrap().set_modified(at(100_000)).unwrap();
    assert_eq!(trees.pass_with(&options).unwrap().0.updated, 0);
    File::options().write(true).open(&path).unwrap().set_modified(at(101_000)).unwrap();
    assert_eq!(trees.pass_with(&options).unwrap().0.copied_files, 1);
}
