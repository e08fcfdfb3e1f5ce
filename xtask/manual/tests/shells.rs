//! Completion in the shells that the image does not have: the files are for users who install them.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The file of a shell for the tool `lamp`, in a directory with a program that offers these candidates.
fn prepared(directory: &Path, file: &str, candidates: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/base/rootfs/usr/share");
    let program = directory.join("complete");
    fs::write(&program, format!("#!/bin/sh\ncat <<'END'\n{candidates}\nEND\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let text = fs::read_to_string(root.join(file)).unwrap();
    assert!(text.contains("/usr/lib/leonardo/complete ") && text.contains("@NAMES@"), "{text}");
    let text =
        text.replace("/usr/lib/leonardo/complete", program.to_str().unwrap()).replace("@NAMES@", "lamp");
    let prepared = directory.join("completion");
    fs::write(&prepared, text).unwrap();
    prepared
}

fn stdout(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success() && output.stderr.is_empty(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn fish_shows_candidates_evaluates_none_and_completes_files_and_commands() {
    let directory = tempfile::tempdir().unwrap();
    let ask = |candidates: &str, line: &str| {
        let file = prepared(directory.path(), "fish/vendor_completions.d/leonardo.fish", candidates);
        let script = "source $argv[1]; complete -C $argv[2]";
        let mut fish = Command::new("fish");
        fish.env("HOME", directory.path()).current_dir(directory.path());
        stdout(fish.args(["--no-config", "-c", script]).arg(file).arg(line))
    };
    let names = "My App\tport 8188\n$(touch run)\t\n(touch run)\tport 1";
    assert_eq!(ask(names, "lamp M"), "My App\tport 8188\n");
    assert_eq!(ask(names, "lamp '$'"), "$(touch run)\n");
    assert_eq!(ask(names, "lamp '('"), "(touch run)\tport 1\n");
    assert!(!directory.path().join("run").exists());
    fs::write(directory.path().join("picture.png"), "").unwrap();
    assert!(ask(":files", "lamp pict").starts_with("picture.png"));
    assert!(ask(":command 2", "lamp -- ls pict").starts_with("picture.png"));
}

#[test]
fn zsh_accepts_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = prepared(directory.path(), "zsh/vendor-completions/_leonardo", "one\tthe first");
    assert_eq!(stdout(Command::new("zsh").args(["-f", "-n"]).arg(file)), "");
}
