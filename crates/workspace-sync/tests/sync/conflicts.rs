//! Obstacles, and failures.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::fixture::{Mount, Site};

#[test]
fn a_directory_of_the_users_is_never_merged_into() {
    let site = Site::small();
    fs::create_dir_all(site.copy()).unwrap();
    fs::write(site.copy().join("thesis.tex"), "years of work").unwrap();
    let output = site.run(&["run"]);
    let copy = site.copy();
    assert_eq!(output.code, 1);
    assert_eq!(
        output.stdout,
        format!(
            "micromamba: not on the workspace: {} is taken: a directory not created by workspace-sync is in its place; meanwhile, \
             files written to {} are lost when the container is removed\n",
            copy.display(),
            site.active_link("micromamba").display()
        )
    );
    assert_eq!(output.stderr, "hint: move it away, then run: workspace-sync run; it is never overwritten\n");
    assert_eq!(fs::read_dir(&copy).unwrap().count(), 1);
    assert_eq!(site.leads_to(), site.image("micromamba"));
}

#[test]
fn a_link_that_leads_out_of_the_volume_is_not_followed() {
    let site = Site::small();
    let elsewhere = site.root().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, site.volume().join("environments")).unwrap();
    let output = site.run(&["run"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    assert_eq!(site.leads_to(), site.image("micromamba"));
}

#[test]
fn names_that_are_none_are_refused_and_the_rest_is_done() {
    let mut site = Site::small();
    site.set("OPT_SYNC", "../etc:missing:/:.image:");
    let output = site.run(&["run"]);
    assert_eq!(output.code, 1);
    assert_eq!(
        output.stderr.lines().filter(|line| line.contains("OPT_SYNC: ")).collect::<Vec<_>>(),
        [
            "workspace-sync: warning: OPT_SYNC: \"../etc\" is a path, not the name of a directory below /opt; it stays in the image",
            "workspace-sync: warning: OPT_SYNC: \"/\" is a path, not the name of a directory below /opt; it stays in the image",
            "workspace-sync: warning: OPT_SYNC: \".image\" begins with a character that no tree may begin with; it stays in the image",
        ]
    );
    assert!(output.stdout.contains("missing: not on the workspace: "), "{}", output.stdout);
    assert_eq!(site.leads_to(), site.copy());
}

#[test]
fn a_tree_within_the_workspace_or_the_other_way_round_is_refused() {
    let mut site = Site::small();
    let inside = site.image("micromamba").join("workspace");
    fs::create_dir(&inside).unwrap();
    site.set("WORKSPACE", inside.to_str().unwrap());
    let output = site.run(&["run"]);
    assert_eq!(output.code, 1);
    assert!(output.stdout.contains(" contain each other"), "{}", output.stdout);
    assert_eq!(fs::read_dir(&inside).unwrap().count(), 0);
    assert_eq!(site.leads_to(), site.image("micromamba"));
}

#[test]
fn too_little_room_is_told_with_the_numbers_before_anything_is_written() {
    let site = Site::small();
    let volume = site.volume();
    let _mount = Mount::tmpfs(&volume, "size=1m");
    let output = site.run(&["run"]);
    assert_eq!(output.code, 1);
    assert!(output.stdout.contains("not enough space for micromamba"), "{}", output.stdout);
    assert!(
        output.stdout.contains("51 inodes are needed besides a reserve of 67.1 MB; 1.0 MB"),
        "{output:?}"
    );
    assert!(output.stderr.contains("hint: free up space, then run: workspace-sync run"), "{}", output.stderr);
    assert_eq!(site.leads_to(), site.image("micromamba"));
}

#[test]
fn too_few_inodes_are_told_with_the_numbers() {
    let site = Site::small();
    let volume = site.volume();
    let _mount = Mount::tmpfs(&volume, "size=500m,nr_inodes=30");
    let output = site.run(&["run"]);
    assert_eq!(output.code, 1);
    assert!(output.stdout.contains("51 inodes are needed besides a reserve of 67.1 MB; "), "{output:?}");
    assert_eq!(site.leads_to(), site.image("micromamba"));
}

#[test]
fn a_link_of_somebody_else_at_the_active_link_stays() {
    let site = Site::small();
    fs::remove_file(site.active_link("micromamba")).unwrap();
    symlink("/somewhere", site.active_link("micromamba")).unwrap();
    let output = site.run(&["run"]);
    assert_eq!(output.code, 1);
    assert!(output.stdout.contains("is a link to /somewhere, made by another user"), "{}", output.stdout);
    assert_eq!(site.leads_to(), Path::new("/somewhere"));
}

#[test]
fn two_runs_in_one_container_do_not_meet() {
    let site = Site::small();
    site.sync();
    let lock = fs::OpenOptions::new().write(true).open(site.root().join("memory/lock")).unwrap();
    lock.lock().unwrap();
    let output = site.run(&["run"]);
    assert_eq!(
        (output.code, output.stderr.as_str()),
        (
            1,
            "workspace-sync: another workspace-sync is running in this container\n\
             hint: it may wait for provisioning to end; see: workspace-sync status\n"
        )
    );
}
