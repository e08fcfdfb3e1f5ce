//! The workspace: mounted, missing, unwritable.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use harness::{KeyPair, RunOptions, Volume};

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Owner, group and mode.
fn place(path: &Path) -> (u32, u32, u32) {
    let meta = std::fs::symlink_metadata(path).unwrap();
    (meta.uid(), meta.gid(), meta.mode() & 0o7777)
}

#[test]
fn a_workspace_that_is_not_mounted_has_a_warning_in_it() {
    let container = RunOptions::new().start_and_wait();
    let text = container.exec(&["cat", "/workspace/WARNING-NO-MOUNT.txt"]).text();
    assert!(text.contains("not a mounted volume"), "{text}");
    assert_eq!(
        container.exec(&["bash", "-lc", "echo $WORKSPACE $WORKSPACE_MOUNTED"]).text(),
        "/workspace/ false"
    );
}

#[test]
fn a_mounted_workspace_has_a_home_and_storage_and_no_warning() {
    let directory = open_directory();
    let container = RunOptions::new()
        .mount(directory.path(), "/data/my volume", "")
        .env("WORKSPACE", "/data/my volume/")
        .start_and_wait();
    assert_eq!(names(directory.path()), ["home", "storage"].map(str::to_owned).into());
    assert_eq!(place(&directory.path().join("storage")), (1000, 1000, 0o2775));
    assert_eq!(container.exec(&["su", "-", "user", "-c", "pwd"]).text(), "/data/my volume/home/user");
    assert_eq!(
        container.exec(&["bash", "-lc", "echo $WORKSPACE $WORKSPACE_MOUNTED"]).text(),
        "/data/my volume/ true"
    );
    let logs = container.logs();
    assert!(!logs.contains("WORKSPACE") && !logs.contains("home:"), "{logs}");
}

#[test]
fn an_unwritable_workspace_is_reported_and_boots() {
    let directory = tempfile::tempdir().unwrap();
    let container = RunOptions::new().mount(directory.path(), "/workspace", "ro").start_and_wait();
    let logs = container.logs();
    assert!(logs.contains("WORKSPACE: cannot write to /workspace: Read-only file system"), "{logs}");
    assert_eq!(container.sh("supervisorctl status serviceportal").code, Some(0));
}

#[test]
fn a_missing_workspace_is_made() {
    let container = RunOptions::new().env("WORKSPACE", "/somewhere/else").start_and_wait();
    assert_eq!(container.sh("ls /somewhere/else").text(), "WARNING-NO-MOUNT.txt\nstorage");
}

/// A directory that every user may enter, as a mounted volume usually is.
fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

#[test]
fn the_home_is_on_the_workspace_and_survives_the_container() {
    let directory = open_directory();
    chown(directory.path(), Some(4242), Some(4343)).unwrap();
    let home = directory.path().join("home/user");
    let key = KeyPair::generate();
    let start = || {
        RunOptions::new()
            .mount(directory.path(), "/workspace", "")
            .env("SSH_PUBKEY", key.public())
            .start_and_wait()
    };
    {
        let container = start();
        container.wait_until("sshd", || key.ssh(&container, "user", &[], &["true"], "").code == Some(0));
        let script = "pwd; echo mine > .bashrc; ssh-keygen -q -t ed25519 -N '' -f .ssh/id_new; rm .profile; cd .ssh; stat -c %a \
                      id_new; chmod 777 .; echo k > id_rsa; chmod 666 id_rsa";
        assert_eq!(key.ssh(&container, "user", &[], &[script], "").text(), "/workspace/home/user\n600");
    }
    assert_eq!(place(&directory.path().join("home")), (4242, 4343, 0o755));
    assert_eq!(place(&home), (4242, 4343, 0o750));
    let container = start();
    container.wait_until("sshd", || key.ssh(&container, "user", &[], &["true"], "").code == Some(0));
    assert_eq!(key.ssh(&container, "user", &[], &["cat .bashrc"], "").text(), "mine");
    assert_eq!(place(&home.join(".profile")), (4242, 4343, 0o644), "missing files come back");
    assert_eq!(place(&home.join(".ssh")), (4242, 4343, 0o700));
    assert_eq!(place(&home.join(".ssh/id_rsa")), (4242, 4343, 0o600));
}

#[test]
fn what_was_planted_on_the_volume_does_not_lead_root_elsewhere() {
    let directory = open_directory();
    symlink("/etc", directory.path().join("home")).unwrap();
    symlink("/etc/storage", directory.path().join("storage")).unwrap();
    let container = RunOptions::new().mount(directory.path(), "/workspace", "").start_and_wait();
    let logs = container.logs();
    for line in [
        "home: /workspace/home is a symbolic link; refusing to follow it; the home of \"user\" is /home/user",
        "WORKSPACE: /workspace/storage is a link, but not to a directory",
    ] {
        assert!(logs.contains(line), "{line} in\n{logs}");
    }
    assert_eq!(container.exec(&["su", "-", "user", "-c", "cd && pwd"]).text(), "/home/user");
    container.sh("ls -d /etc/user /etc/storage").failure(2);
    assert_eq!(container.sh("stat -c '%U %a' /etc").text(), "root 755");
}

#[test]
fn a_home_of_another_user_is_not_the_users() {
    let directory = open_directory();
    let home = directory.path().join("home/user");
    std::fs::create_dir_all(&home).unwrap();
    chown(&home, Some(77), Some(77)).unwrap();
    let container = RunOptions::new().mount(directory.path(), "/workspace", "").start_and_wait();
    let line = "home: /workspace/home/user belongs to uid 77 and not to 1000";
    assert!(container.logs().contains(line), "{}", container.logs());
    assert_eq!(container.exec(&["su", "-", "user", "-c", "cd && pwd"]).text(), "/home/user");
    assert_eq!((place(&home).0, names(&home).len()), (77, 0));
}

#[test]
fn storage_that_is_a_link_to_a_directory_is_its_owners_choice() {
    let directory = open_directory();
    std::fs::create_dir(directory.path().join("models")).unwrap();
    symlink("models", directory.path().join("storage")).unwrap();
    let owner = |(uid, gid, _)| (uid, gid);
    let before = owner(place(&directory.path().join("models")));
    let container = RunOptions::new().mount(directory.path(), "/workspace", "").start_and_wait();
    assert!(!container.logs().contains("/workspace/storage"), "{}", container.logs());
    assert_eq!(owner(place(&directory.path().join("models"))), before);
}

#[test]
fn a_home_on_a_volume_without_owners_and_modes_works_over_ssh() {
    let volume = Volume::without_owners();
    let key = KeyPair::generate();
    let container = RunOptions::new()
        .mount(&volume.path(), "/workspace", "")
        .env("SSH_PUBKEY", key.public())
        .start_and_wait();
    for _ in 0..2 {
        container.wait_until("sshd", || key.ssh(&container, "user", &[], &["true"], "").code == Some(0));
        let script = "pwd; mkdir -p .ssh; echo x >> kept; sudo -n id -un; stat -c %a .ssh";
        assert_eq!(key.ssh(&container, "user", &[], &[script], "").text(), "/workspace/home/user\nroot\n777");
        container.restart();
        container.wait_for_portal();
    }
    assert_eq!(container.exec(&["cat", "/workspace/home/user/kept"]).text(), "x\nx");
    assert!(!container.logs().contains("home:"), "{}", container.logs());
}

#[test]
fn the_image_has_a_name_for_directories_and_a_bad_one_is_refused() {
    let container = RunOptions::new().start_and_wait();
    assert_eq!(container.exec(&["bash", "-lc", "echo $IMAGE_SLUG"]).text(), "base-image");
    let container = RunOptions::new().env("IMAGE_SLUG", "../etc").start_and_wait();
    assert!(container.logs().contains("IMAGE_SLUG: \"../etc\" is not"), "{}", container.logs());
    assert_eq!(container.sh("tr '\\0' '\\n' < /proc/1/environ | grep SLUG").text(), "IMAGE_SLUG=base-image");
}

#[test]
fn a_workspace_inside_the_system_is_refused() {
    let container = RunOptions::new().env("WORKSPACE", "/opt/data").start_and_wait();
    let line = "WORKSPACE: \"/opt/data\" belongs to the system; using \"/workspace\"";
    assert!(container.logs().contains(line), "{}", container.logs());
    container.exec(&["ls", "/opt/data"]).failure(2);
}

#[test]
fn a_workspace_that_would_be_the_system_is_refused() {
    let container = RunOptions::new().env("WORKSPACE", "/etc/../opt").start_and_wait();
    assert!(
        container
            .logs()
            .contains("WORKSPACE: \"/etc/../opt\" is not an absolute path without ..; using \"/workspace\"")
    );
}
