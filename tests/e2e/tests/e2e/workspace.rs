//! The workspace: mounted, missing, unwritable.

use harness::Run;

#[test]
fn a_workspace_that_is_not_mounted_has_a_warning_in_it() {
    let container = Run::new().boot();
    let text = container.exec(&["cat", "/workspace/WARNING-NO-MOUNT.txt"]).text();
    assert!(text.contains("not a mounted volume"), "{text}");
    assert_eq!(
        container.exec(&["bash", "-lc", "echo $WORKSPACE $WORKSPACE_MOUNTED"]).text(),
        "/workspace/ false"
    );
}

#[test]
fn a_mounted_workspace_has_none() {
    let directory = tempfile::tempdir().unwrap();
    let container =
        Run::new().mount(directory.path(), "/data/my volume", "").env("WORKSPACE", "/data/my volume/").boot();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    assert_eq!(
        container.exec(&["bash", "-lc", "echo $WORKSPACE $WORKSPACE_MOUNTED"]).text(),
        "/data/my volume/ true"
    );
    assert!(!container.logs().contains("WORKSPACE"), "{}", container.logs());
}

#[test]
fn an_unwritable_workspace_is_reported_and_boots() {
    let directory = tempfile::tempdir().unwrap();
    let container = Run::new().mount(directory.path(), "/workspace", "ro").boot();
    let logs = container.logs();
    assert!(logs.contains("WORKSPACE: cannot write to /workspace: Read-only file system"), "{logs}");
    assert_eq!(container.sh("supervisorctl status serviceportal").code, Some(0));
}

#[test]
fn a_missing_workspace_is_made() {
    let container = Run::new().env("WORKSPACE", "/somewhere/else").boot();
    assert_eq!(container.sh("ls /somewhere/else").text(), "WARNING-NO-MOUNT.txt");
}

#[test]
fn a_workspace_that_would_be_the_system_is_refused() {
    let container = Run::new().env("WORKSPACE", "/etc/../opt").boot();
    assert!(
        container
            .logs()
            .contains("WORKSPACE: \"/etc/../opt\" is not an absolute path without ..; using \"/workspace\"")
    );
}
