//! Single entries, into a tree that is in use.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use tree_copy::{NoObserver, Replicated, Result, replicate};

use crate::fixture::{Trees, describe};

fn copy_entry(trees: &Trees, name: &str, to: &str) -> Result<Replicated> {
    let (source, target) = (File::open(&trees.source).unwrap(), File::open(&trees.target).unwrap());
    replicate(source.as_fd(), OsStr::new(name), target.as_fd(), OsStr::new(to), &trees.can, &NoObserver)
}

#[test]
fn each_kind_of_entry_takes_the_place_of_each_other() {
    let trees = Trees::new();
    fs::write(trees.source.join("file"), "text").unwrap();
    chown(trees.source.join("file"), Some(5), Some(6)).unwrap();
    fs::set_permissions(trees.source.join("file"), PermissionsExt::from_mode(0o4750)).unwrap();
    symlink("/no/where", trees.source.join("link")).unwrap();
    fs::create_dir_all(trees.source.join("tree/below")).unwrap();
    fs::write(trees.source.join("tree/below/file"), "x").unwrap();
    let described = describe(&trees.source);
    for before in ["none", "file", "link", "tree"] {
        for name in ["file", "link", "tree"] {
            fs::remove_dir_all(&trees.target).unwrap();
            fs::create_dir(&trees.target).unwrap();
            if before != "none" {
                assert_eq!(copy_entry(&trees, before, name).unwrap(), Replicated::Done);
            }
            assert_eq!(copy_entry(&trees, name, name).unwrap(), Replicated::Done);
            let mut found = describe(&trees.target);
            found.remove(std::path::Path::new(""));
            let wanted: std::collections::BTreeMap<_, _> = described
                .iter()
                .filter(|(path, _)| path.starts_with(name))
                .map(|(path, text)| (path.clone(), text.clone()))
                .collect();
            assert_eq!(found, wanted, "{name} over {before}");
        }
    }
}

#[test]
fn a_link_in_the_way_is_replaced_and_not_followed() {
    let trees = Trees::new();
    fs::write(trees.source.join("file"), "new").unwrap();
    let outside = trees.target.with_file_name("outside");
    fs::write(&outside, "precious").unwrap();
    symlink(&outside, trees.target.join("file")).unwrap();
    assert_eq!(copy_entry(&trees, "file", "file").unwrap(), Replicated::Done);
    assert_eq!(fs::read_to_string(&outside).unwrap(), "precious");
    assert_eq!(fs::read_to_string(trees.target.join("file")).unwrap(), "new");
}

#[test]
fn what_is_gone_changes_nothing() {
    let trees = Trees::new();
    fs::write(trees.target.join("file"), "old").unwrap();
    assert_eq!(copy_entry(&trees, "file", "file").unwrap(), Replicated::Vanished);
    assert_eq!(fs::read_to_string(trees.target.join("file")).unwrap(), "old");
}

#[test]
fn a_path_is_no_name() {
    let trees = Trees::new();
    fs::create_dir(trees.source.join("d")).unwrap();
    for (name, to) in [("d/../d", "x"), ("..", "x"), (".", "x"), ("d", "../x"), ("d", "..")] {
        assert!(copy_entry(&trees, name, to).is_err(), "{name} to {to}");
    }
    assert_eq!(fs::read_dir(&trees.target).unwrap().count(), 0);
}
