//! The real binary: exit code, stdout and stderr.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

/// Exit code, stdout and stderr.
fn manual(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_manual"))
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .output()
        .unwrap();
    (ran.status.code(), String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap())
}

#[test]
fn a_check_changes_nothing_and_names_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let check = ["--output", "docs", "--check"];
    let (code, stdout, stderr) = manual(dir.path(), &check);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("\n  man/env-store-set.1 is missing\n"), "{stderr}");
    assert!(!dir.path().join("docs").exists());

    assert_eq!(manual(dir.path(), &["--output", "docs"]).0, Some(0));
    let nothing = (Some(0), String::new(), String::new());
    assert_eq!(manual(dir.path(), &check), nothing);
    assert_eq!(manual(dir.path(), &["--output", "docs"]), nothing, "a second run finds nothing to do");

    let page = dir.path().join("docs/man/boot.8");
    let mark = fs::read_to_string(&page).unwrap().lines().next().unwrap().to_owned();
    fs::write(&page, "of yesterday").unwrap();
    fs::write(dir.path().join("docs/commands/gone.md"), mark).unwrap();
    fs::remove_file(dir.path().join("docs/commands/README.md")).unwrap();
    let expected = "manual: the pages in docs are not what the tools say:\n\
                    \x20 commands/README.md is missing\n\
                    \x20 man/boot.8 is stale\n\
                    \x20 commands/gone.md is superfluous\n\
                    hint: run `cargo xtask docs`\n";
    assert_eq!(manual(dir.path(), &check), (Some(1), String::new(), expected.to_owned()));
    assert_eq!(fs::read_to_string(&page).unwrap(), "of yesterday");
}

#[test]
fn the_output_folder_must_be_named() {
    let dir = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = manual(dir.path(), &[]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("--output <DIRECTORY>"), "{stderr}");
}
