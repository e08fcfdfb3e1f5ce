//! Errors name the entry, and the side it is on.

use std::fs;
use std::path::Path;

use tree_copy::{Error, NoObserver, pass, survey};

use crate::fixture::Trees;

#[test]
fn missing_roots_are_named() {
    let trees = Trees::new();
    let missing = trees.source.join("missing");
    let error = pass(&missing, &trees.target, &trees.options(), &NoObserver).unwrap_err();
    assert!(matches!(error, Error::Source(_)));
    assert_eq!(
        error.to_string(),
        format!("cannot open {}: No such file or directory (os error 2)", missing.display())
    );
    let error = pass(&trees.source, &missing, &trees.options(), &NoObserver).unwrap_err();
    assert!(matches!(error, Error::Target(_)));
}

#[test]
fn a_root_that_is_no_directory_is_refused() {
    let trees = Trees::new();
    let file = trees.source.join("file");
    fs::write(&file, "").unwrap();
    let error = survey(&file, 1, &[], &NoObserver).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read {}: Not a directory (os error 20)", file.display()));
}

#[test]
fn an_unreadable_file_of_the_source_is_named() {
    let trees = Trees::new();
    // The loopback device has no speed: reading it fails.
    let source = Path::new("/sys/class/net/lo");
    assert!(fs::read(source.join("speed")).is_err());
    let error = pass(source, &trees.target, &trees.options(), &NoObserver).unwrap_err();
    assert!(matches!(error, Error::Source(_)), "{error:?}");
    assert!(error.to_string().starts_with("cannot read /sys/class/net/lo/"), "{error}");
}
