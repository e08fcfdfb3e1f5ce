//! A full disk in each place where programs write: the container starts, its owner gets in, and nothing old is lost.

use harness::{Container, KeyPair, RunOptions, Volume};

use crate::links_and_sessions::{link, path_of, press};

/// Programs of the base image that run for as long as the container.
const PROGRAMS: [&str; 6] = ["caddy", "logtail", "rclone", "serviceportal", "sshd", "storagemonitor"];

fn full(place: &str) -> (Volume, KeyPair, Container) {
    let (disk, key) = (Volume::full(place), KeyPair::generate());
    let run = RunOptions::new()
        .env("WEB_PASSWORD", "pw")
        .env("WEB_TOKEN", "a-token")
        .env("SSH_PUBKEY", key.public());
    let container = run.mount(&disk.path(), place, "").start_and_wait();
    (disk, key, container)
}

/// Every way in, and every program.
#[track_caller]
fn lets_its_owner_in(container: &Container, key: &KeyPair) {
    let web = container.web(1111);
    let entered = web.log_in("user", "pw");
    assert_eq!(entered.status, 303, "the login form: {}", entered.body);
    let session = web.with("cookie", &entered.cookie());
    assert_eq!(session.get("/").status, 200, "its session");
    assert_eq!(web.with("authorization", "Bearer a-token").get("/").status, 200, "the token");
    let pressed = press(&web, &path_of(&link(container, &["portal-link"], 1111)));
    assert_eq!(pressed.status, 303, "the one-time link: {}", pressed.body);
    for user in ["root", "user"] {
        container.wait_until(user, || key.ssh(container, user, &[], &["true"], "").code == Some(0));
    }
    container.wait_until("every program", || {
        let status = container.sh("supervisorctl status; true").text();
        PROGRAMS
            .iter()
            .all(|program| status.lines().any(|line| line.starts_with(program) && line.contains("RUNNING")))
    });
}

#[test]
fn var() {
    let (disk, key, container) = full("/var");
    lets_its_owner_in(&container, &key);
    let web = container.web(1111);
    let session = web.with("cookie", &web.log_in("user", "pw").cookie());
    let page = session.get("/").body;
    assert!(
        page.contains("sessions, links and tokens are lost when the portal or the container restarts: "),
        "{page}"
    );
    assert!(page.contains("No space left on device"), "{page}");
    assert!(container.logs().contains("cannot write a log, lines are lost"), "{}", container.logs());
    assert!(!container.logs().contains("Traceback"), "{}", container.logs());
    disk.grow();
    container.wait_until("the sessions' file", || {
        !session.get("/").body.contains("sessions, links and tokens are lost")
    });
    container.restart();
    container.wait_for_portal();
    let web = container.web(1111);
    assert_eq!(web.with("cookie", &web.log_in("user", "pw").cookie()).get("/").status, 200);
}

#[test]
fn tmp() {
    let (_disk, key, container) = full("/tmp");
    lets_its_owner_in(&container, &key);
}

#[test]
fn run() {
    let (_disk, key, container) = full("/run");
    lets_its_owner_in(&container, &key);
}

#[test]
fn opt() {
    let (_disk, key, container) = full("/opt");
    lets_its_owner_in(&container, &key);
    let store = || container.sh("cat /opt/leonardo/etc/environment.sh; true").text();
    let before = store();
    let refused = container.sh("env-store set A=1");
    assert!(refused.failure(1).contains("No space left on device"), "{}", refused.stderr);
    assert_eq!(store(), before);
    assert_eq!(container.sh("find /opt -name '.*.tmp'").text(), "");
    assert_eq!(container.web(1111).log_in("user", "pw").status, 303, "the old login");
}

#[test]
fn workspace() {
    let (_disk, key, container) = full("/workspace");
    lets_its_owner_in(&container, &key);
}
