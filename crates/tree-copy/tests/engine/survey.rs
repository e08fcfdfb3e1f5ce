//! Counts of a survey.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};
use tree_copy::{Capabilities, Needs, NoObserver, Survey, check_compatibility, fits, free_space, survey};

use crate::fixture::Trees;

#[test]
fn everything_that_a_copy_needs_is_counted() {
    let trees = Trees::new();
    let root = &trees.source;
    fs::create_dir_all(root.join("dir/below")).unwrap();
    fs::write(root.join("dir/below/Readme"), [1; 5000]).unwrap();
    fs::write(root.join("dir/below/README"), [1; 10]).unwrap();
    fs::hard_link(root.join("dir/below/Readme"), root.join("hard")).unwrap();
    File::create(root.join("sparse")).unwrap().set_len(1 << 20).unwrap();
    symlink("x", root.join("link")).unwrap();
    mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    fs::write(root.join("program"), "x").unwrap();
    fs::set_permissions(root.join("program"), PermissionsExt::from_mode(0o755)).unwrap();
    chown(root.join("program"), Some(77), None).unwrap();
    setxattr(root.join("program"), "user.x", b"1", XattrFlags::empty()).unwrap();
    assert!(
        Command::new("setfacl").args(["-m", "u:1:r"]).arg(root.join("sparse")).status().unwrap().success()
    );
    fs::write(root.join(OsStr::from_bytes(b"\xff")), "").unwrap();
    fs::write(root.join("kept"), "").unwrap();
    let found = survey(root, 4, &[OsStr::new("kept")], &NoObserver).unwrap();
    let double = found.needs.case_collision.clone().unwrap();
    assert!(["dir/below/README", "dir/below/Readme"].contains(&double.as_str()), "{double}");
    assert_eq!(
        found.needs,
        Needs {
            symbolic_links: 1,
            hard_links: 1,
            attributes: 1,
            access_lists: 1,
            executables: 1,
            special_files: 1,
            foreign_owners: 1,
            case_collisions: 1,
            case_collision: Some(double),
            odd_names: 1,
            longest_name: 7,
        }
    );
    assert_eq!((found.entries, found.files, found.inodes), (10, 6, 9));
    assert_eq!(found.bytes, 5000 + 10 + (1 << 20) + 1);
    assert!(found.bytes_allocated < 100_000, "holes take no space: {found:?}");
    assert!(found.bytes_allocated_unlinked >= found.bytes_allocated + 5000, "{found:?}");
    assert!(fits(&found, &free_space(root).unwrap(), true, 0).is_ok());
    assert!(check_compatibility(&found.needs, &Capabilities { symbolic_links: false, ..trees.can }).is_err());
}

#[test]
fn an_empty_tree_has_nothing() {
    let trees = Trees::new();
    assert_eq!(survey(&trees.source, 2, &[], &NoObserver).unwrap(), Survey::NOTHING);
}

#[test]
fn source_copy_and_pass_have_one_digest_and_any_change_another() {
    let trees = Trees::new();
    fs::create_dir(trees.source.join("d")).unwrap();
    fs::write(trees.source.join("d/file"), "x").unwrap();
    symlink("x", trees.source.join("link")).unwrap();
    let done = trees.pass();
    let digest = |path| survey(path, 3, &[], &NoObserver).unwrap().digest;
    assert_eq!(done.digest, digest(&trees.source));
    assert_eq!(done.digest, digest(&trees.target));
    let mut seen = vec![done.digest];
    for change in 0..4 {
        match change {
            0 => fs::write(trees.target.join("d/file"), "xy").unwrap(),
            1 => fs::set_permissions(trees.target.join("d"), PermissionsExt::from_mode(0o700)).unwrap(),
            2 => fs::rename(trees.target.join("d/file"), trees.target.join("file")).unwrap(),
            _ => {
                fs::remove_file(trees.target.join("link")).unwrap();
                symlink("y", trees.target.join("link")).unwrap();
            }
        }
        let next = digest(&trees.target);
        assert!(!seen.contains(&next), "change {change}");
        seen.push(next);
    }
}
