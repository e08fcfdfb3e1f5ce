//! `workspace-sync copy`: the engine by hand.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::fixture::{CommandOutput, Mount, Site};

fn copy(site: &Site, source: &Path, target: &Path, more: &[&str]) -> CommandOutput {
    site.run(&[&["copy", source.to_str().unwrap(), target.to_str().unwrap()], more].concat())
}

/// Returns the differences of two trees, except the times of their roots.
fn differences(one: &Path, other: &Path) -> Vec<String> {
    trees::difference(one, other).into_iter().filter(|line| !line.starts_with(".: time")).collect()
}

#[test]
fn a_directory_is_copied_brought_up_to_date_and_then_left_alone() {
    let site = Site::small();
    let (source, target) = (site.image("micromamba"), site.root().join("new/target"));
    trees::edge_cases(&source.join("strange"), 3).unwrap();
    let output = copy(&site, &source, &target, &["--dry-run"]);
    assert!(output.code == 0 && output.stdout.starts_with("copy "), "{output:?}");
    assert!(!target.exists());
    let output = copy(&site, &source, &target, &[]);
    assert!(output.code == 0 && output.stderr.contains(" are equal; "), "{output:?}");
    assert_eq!(differences(&source, &target), [""; 0]);

    let output = copy(&site, &source, &target, &["--verify", "hash"]);
    let told = format!("{} already equals {}\n", target.display(), source.display());
    assert!(output.code == 0 && output.stderr.ends_with(&told), "{output:?}");

    fs::write(source.join("newer"), "2").unwrap();
    fs::write(target.join("added"), "mine").unwrap();
    assert_eq!(copy(&site, &source, &target, &[]).code, 0);
    assert_eq!(fs::read_to_string(target.join("newer")).unwrap(), "2");
    assert_eq!(fs::read_to_string(target.join("added")).unwrap(), "mine");
    let output = copy(&site, &source, &target, &["--prune", "--json"]);
    let result: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(
        (&result["removed"], &result["differing"], &result["digest"]),
        (&1.into(), &0.into(), &().into())
    );
    assert_eq!(differences(&source, &target), [""; 0]);
}

#[test]
fn a_directory_is_not_copied_into_itself_however_it_is_named() {
    let site = Site::small();
    let source = site.image("micromamba");
    fs::create_dir(source.join("inner")).unwrap();
    let link = site.root().join("link");
    symlink(&source, &link).unwrap();
    let before = site.root().join("before");
    assert!(std::process::Command::new("cp").arg("-a").args([&source, &before]).status().unwrap().success());
    let dotted = source.join("inner/..");
    let cases = [
        (source.clone(), source.clone()),
        (source.clone(), link.clone()),
        (link.clone(), source.clone()),
        (source.clone(), dotted),
        (source.clone(), source.join("inner")),
        (source.clone(), source.join("new/below")),
        (source.clone(), link.join("new")),
        (source.join("inner"), source.clone()),
        (link.join("inner"), source.clone()),
    ];
    for (from, to) in cases {
        let output = copy(&site, &from, &to, &["--prune"]);
        assert!(
            output.code == 1 && output.stderr.contains(" contain each other"),
            "{from:?} {to:?}: {output:?}"
        );
        assert_eq!(trees::difference(&before, &source), [""; 0], "{from:?} {to:?}");
    }
}

#[test]
fn where_blocks_are_shared_a_copy_needs_no_room_for_them() {
    let site = Site::small();
    let (disk, at) = (site.root().join("disk"), site.root().join("mounted"));
    fs::File::create(&disk).unwrap().set_len(320 << 20).unwrap();
    fs::create_dir(&at).unwrap();
    let _mount = Mount::xfs(&disk, &at);
    let (source, target) = (at.join("source"), at.join("target"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("small"), "small").unwrap();
    let mut allot = std::process::Command::new("fallocate");
    assert!(allot.args(["-l", "170M"]).arg(source.join("large")).status().unwrap().success());
    let output = copy(&site, &source, &target, &[]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(differences(&source, &target), [""; 0]);
}

#[test]
fn what_cannot_be_copied_is_named() {
    let site = Site::small();
    let missing = site.root().join("missing");
    let output = copy(&site, &missing, &site.root().join("target"), &[]);
    let told = format!("cannot open {}: No such file or directory (os error 2)\n", missing.display());
    assert!(output.code == 1 && output.stderr.ends_with(&told), "{output:?}");
    assert!(!site.root().join("target").exists());
    let file = site.root().join("file");
    fs::write(&file, "mine").unwrap();
    let output = copy(&site, &site.image("micromamba"), &file, &[]);
    assert!(output.code == 1 && output.stderr.contains(&file.display().to_string()), "{output:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}
