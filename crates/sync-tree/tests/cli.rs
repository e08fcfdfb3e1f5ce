//! The program, in a directory of its own as `/opt`.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

/// Runs the program; returns exit code, stdout and stderr with the directory replaced by `/opt`.
fn add(opt: &Path, name: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync-tree"));
    command.args(["add", name, "--group", "root", "--opt"]).arg(opt).env_clear();
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(opt.to_str().unwrap(), "/opt");
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_tree_is_laid_out_once_and_a_directory_is_moved() {
    let dir = tempfile::tempdir().unwrap();
    let opt = dir.path();
    fs::create_dir_all(opt.join(".image")).unwrap();
    fs::create_dir(opt.join("webui")).unwrap();
    fs::write(opt.join("webui/main.py"), "print()").unwrap();
    let select =
        "sync-tree: to select it in every container with WORKSPACE_SYNC=true, add the line: ENV OPT_SYNC=";
    for (name, all) in [("app", "app"), ("app", "app"), ("webui", "app:webui"), ("webui", "app:webui")] {
        let expected = (0, format!("/opt/{name} -> /opt/.image/{name}\n"), format!("{select}{all}\n"));
        assert_eq!(add(opt, name), expected);
    }
    for name in ["app", "webui"] {
        assert_eq!(fs::read_link(opt.join(name)).unwrap(), opt.join(".image").join(name));
    }
    assert_eq!(fs::metadata(opt.join("app")).unwrap().mode() & 0o7777, 0o2775);
    assert_eq!(fs::read_to_string(opt.join("webui/main.py")).unwrap(), "print()");
}

#[test]
fn a_name_that_is_none_and_a_link_of_another_kind_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join(".image")).unwrap();
    symlink("/workspace/app", dir.path().join("app")).unwrap();
    for (name, reason) in [
        ("", "is empty"),
        ("a/b", "is a path, not the name of a directory below /opt"),
        ("..", "begins with a character that no tree may begin with"),
        (".image", "begins with a character that no tree may begin with"),
        ("a:b", "contains the separator of OPT_SYNC"),
        (" a", "begins or ends with a blank"),
        ("caddy", "belongs to the image itself"),
        ("micromamba", "is always synced"),
    ] {
        let expected = format!("sync-tree: {name:?} {reason}\n");
        assert_eq!(add(dir.path(), name), (2, String::new(), expected));
    }
    let taken = "sync-tree: /opt/app is a link to /workspace/app\nhint: remove it, if nothing needs it: rm /opt/app\n";
    assert_eq!(add(dir.path(), "app"), (1, String::new(), taken.to_owned()));
    assert_eq!(fs::read_dir(dir.path().join(".image")).unwrap().count(), 0);
}
