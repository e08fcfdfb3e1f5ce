//! Owner of the workspace, and users that can write to it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use harness::{KeyPair, RunOptions, Volume};

/// Mount point of a provisioning script.
const SCRIPT: &str = "/opt/leonardo/bin/provisioning.sh";

/// A volume of this owner that every user may enter.
fn volume(owner: (u32, u32)) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    chown(directory.path(), Some(owner.0), Some(owner.1)).unwrap();
    directory
}

/// Messages of a start with this volume, the user's uid and gid, and the accounts that can write there.
fn outcome(volume: &Path) -> (String, String) {
    let script = "#!/bin/bash\nid -u user; id -g user; \
        for account in user portal caddy cloudflared sshd www-data; do \
            setpriv --reuid=$account --regid=$(id -g $account) --init-groups touch /workspace/by-$account 2> /dev/null && \
            echo $account; \
        done; su user -c 'touch /workspace/storage/file && sudo -n id -u'";
    // In the place of what init becomes once everything is settled.
    let directory = tempfile::tempdir().unwrap();
    let last = directory.path().join("supervisord");
    fs::write(&last, script).unwrap();
    fs::set_permissions(&last, fs::Permissions::from_mode(0o755)).unwrap();
    let run = RunOptions::new()
        .mount(volume, "/workspace", "")
        .mount(&last, "/usr/local/bin/supervisord", "ro")
        .run_to_end();
    (run.stderr.clone(), run.text().replace('\n', " "))
}

#[test]
fn whichever_uid_owns_the_volume_the_user_can_write_and_no_account_of_the_image_can() {
    let table = [
        ((1000, 1000), "1000 1000"),
        ((12345, 12345), "12345 12345"),
        ((33, 33), "33 33"),
        ((100, 101), "100 101"),
        ((998, 998), "998 998"),
        ((999, 999), "999 999"),
        ((61111, 61111), "61111 61111"),
        ((61112, 20), "61112 20"),
        ((61113, 61113), "61113 61113"),
        ((1000, 4), "1000 4"),
        ((0, 0), "1000 1000"),
    ];
    for (owner, ids) in table {
        let volume = volume(owner);
        let (said, seen) = outcome(volume.path());
        assert_eq!(seen, format!("{ids} user 0"), "{owner:?}: {said}");
        assert!(!said.contains("WORKSPACE"), "{owner:?}: {said}");
        // The second container finds what the first one left.
        assert_eq!(outcome(volume.path()).1, format!("{ids} user 0"), "{owner:?}");
    }
}

#[test]
fn a_volume_of_nobody_is_open_to_the_user_and_its_limits_are_reported() {
    let volume = volume((65534, 65534));
    for _ in 0..2 {
        let (said, seen) = outcome(volume.path());
        assert_eq!(seen, "1000 1000 user 0", "{said}");
        let line = "WORKSPACE: /workspace belongs to uid 65534, which stands for no user; \"user\" (uid 1000) can write to it, \
            but perhaps not to what is in it";
        assert!(said.contains(line), "{said}");
    }
}

#[test]
fn a_volume_of_root_without_acls_is_opened_to_the_users_group() {
    let volume = Volume::without_acls();
    for _ in 0..2 {
        let (said, seen) = outcome(&volume.path());
        assert_eq!(seen, "1000 1000 user 0", "{said}");
        assert!(!said.contains("WORKSPACE"), "{said}");
    }
}

#[test]
fn a_volume_that_cannot_be_opened_is_reported_with_the_way_out() {
    let volume = Volume::root_only();
    let container = RunOptions::new().mount(&volume.path(), "/workspace", "").start_and_wait();
    container.exec(&["su", "user", "-c", "touch /workspace/file"]).failure(1);
    let line = "\"user\" (uid 1000) cannot write: /workspace belongs to uid 0 with mode 0755, and this file system refuses to \
        change that; on the machine that has the volume, run: chown 1000 DIRECTORY";
    for seen in [container.logs(), container.exec(&["boot", "report"]).text()] {
        assert!(seen.contains(line), "{seen}");
    }
    let banner = container.exec(&["boot", "banner"]).text();
    assert!(banner.contains("\"user\" (uid 1000) cannot write"), "{banner}");
}

#[test]
fn a_volume_whose_mode_refuses_its_own_owner_is_reported_with_the_cure_and_keeps_it() {
    let volume = volume((1000, 1000));
    for mode in [0o500, 0o555] {
        fs::set_permissions(volume.path(), fs::Permissions::from_mode(mode)).unwrap();
        let (said, seen) = outcome(volume.path());
        assert!(!seen.contains("user"), "{seen}");
        let line = format!(
            "/workspace belongs to uid 1000 with mode {mode:04o}, which denies access to its own owner; run as \
             \"user\": chmod u+rwx /workspace"
        );
        assert!(said.contains(&line), "{said}");
        assert_eq!(fs::metadata(volume.path()).unwrap().permissions().mode() & 0o7777, mode);
    }
    fs::set_permissions(volume.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (said, seen) = outcome(volume.path());
    assert_eq!(seen, "1000 1000 user 0", "{said}");
    assert!(!said.contains("WORKSPACE"), "{said}");
}

#[test]
fn without_a_volume_a_script_and_a_session_write_to_the_workspace() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("setup.sh");
    fs::write(&script, "#!/bin/bash\nset -e\npwd > by-script\nid -un >> by-script\n").unwrap();
    let key = KeyPair::generate();
    for workspace in ["/workspace", "/somewhere/else"] {
        let container = RunOptions::new()
            .mount(&script, SCRIPT, "ro")
            .env("WORKSPACE", workspace)
            .env("SSH_PUBKEY", key.public())
            .start_and_wait();
        container.wait_until_ready();
        assert_eq!(
            container.exec(&["cat", &format!("{workspace}/by-script")]).text(),
            format!("{workspace}\nuser")
        );
        container.wait_until("sshd", || key.ssh(&container, "user", &[], &["true"], "").code == Some(0));
        let words = format!("cd {workspace} && touch by-ssh && mkdir -p projects/one && stat -c %U . by-ssh");
        assert_eq!(key.ssh(&container, "user", &[], &[&words], "").text(), "user\nuser");
        // As `docker exec … git clone` leaves it.
        container.sh(&format!("cd {workspace} && mkdir by-root && git init -q repository")).text();
        let words = format!(
            "cd {workspace}/repository && touch ../by-root/file file && git add file && \
             git -c user.name=a -c user.email=a@b commit -qm x && git log --format=%s"
        );
        assert_eq!(key.ssh(&container, "user", &[], &[&words], "").text(), "x");
        for account in ["portal", "caddy", "cloudflared"] {
            container
                .exec(&["su", account, "-s", "/bin/sh", "-c", &format!("touch {workspace}/x")])
                .failure(1);
        }
    }
}

#[test]
fn a_volume_that_gets_the_number_of_the_portal_leaves_the_portal_its_files_and_no_synced_tree() {
    let volume = volume((1000, 1000));
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("setup.sh");
    fs::write(&script, "#!/bin/bash\necho ran >> \"$WORKSPACE/by-script\"\n").unwrap();
    let key = KeyPair::generate();
    let container = RunOptions::new()
        .mount(volume.path(), "/workspace", "")
        .mount(&script, SCRIPT, "ro")
        .env("WORKSPACE_SYNC", "true")
        .env("SSH_PUBKEY", key.public())
        .start_and_wait();
    let tree = "/workspace/environments/micromamba-base-image";
    let is_synced = || container.exec(&["readlink", "/opt/micromamba"]).text() == tree;
    container.wait_until("the switch", is_synced);
    container.wait_until_ready();
    let [user, password, _] = container.login();
    let ids = |account: &str| container.sh(&format!("id -u {account}; id -g {account}")).text();
    let portal: Vec<u32> = ids("portal").lines().map(|id| id.parse().unwrap()).collect();
    chown(volume.path(), Some(portal[0]), Some(portal[1])).unwrap();
    container.restart();
    container.wait_for_portal();
    container.wait_until_ready();
    assert_eq!(ids("user"), format!("{}\n{}", portal[0], portal[1]));
    assert_eq!(container.web(1111).log_in(&user, &password).status, 303);
    let owned = container
        .sh("stat -c '%U %G' /var/lib/portal /var/lib/portal/* /opt/leonardo/etc/web_credentials.json");
    assert!(owned.text().lines().all(|line| line == "portal portal"), "{owned:?}");
    container.wait_until("the tree", is_synced);
    for account in ["portal", "caddy", "cloudflared"] {
        let script = format!("find -L {tree} /workspace -maxdepth 3 -writable | head -n 3");
        let found = container.exec(&["su", account, "-s", "/bin/sh", "-c", &script]);
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "writable for {account}");
    }
    container.wait_until("sshd", || key.ssh(&container, "user", &[], &["true"], "").code == Some(0));
    assert_eq!(
        key.ssh(&container, "user", &[], &["touch /workspace/by-ssh; id -u"], "").text(),
        portal[0].to_string()
    );
}

#[test]
fn root_and_the_user_use_each_others_repositories() {
    let container = RunOptions::new().env("WORKSPACE", "/data/my work").start_and_wait();
    let script = "set -e; mkdir -p /opt/app; chown root:leonardo /opt/app; for parent in '/data/my work' /opt/app; do \
        git init -q \"$parent/roots\"; git -C \"$parent/roots\" status --short; \
        su user -c \"git -C '$parent/roots' status --short\"; done; \
        su user -c \"git init -q '/data/my work/users'\"; git -C '/data/my work/users' status --short; echo done";
    assert_eq!(container.sh(script).text(), "done");
}
