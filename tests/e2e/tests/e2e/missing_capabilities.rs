//! Containers with fewer rights than Docker gives: what is missing is named first, and what can work works.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use harness::{Container, KeyPair, RunOptions};

fn lacking(capability: &str, key: &KeyPair) -> RunOptions {
    RunOptions::new().option("--cap-drop").option(capability).env("SSH_PUBKEY", key.public())
}

/// The start names the capability in the log and in the report, with the option that gives it.
#[track_caller]
fn names(container: &Container, capability: &str) {
    let words = format!("to give it: --cap-add {capability}");
    assert!(container.logs().contains(&words), "{}", container.logs());
    let report = container.exec(&["boot", "report"]).text();
    assert!(
        report.contains(&format!("{capability}: the container lacks")) && report.contains(&words),
        "{report}"
    );
}

fn id(container: &Container, key: &KeyPair, options: &[&str]) -> harness::Output {
    key.ssh(container, "user", options, &["id -un; sudo -n id -un"], "")
}

#[test]
fn what_nothing_here_needs_is_not_missed() {
    for capability in ["MKNOD", "NET_RAW", "SETFCAP", "SETPCAP", "NET_BIND_SERVICE"] {
        let key = KeyPair::generate();
        let container = lacking(capability, &key).start_and_wait();
        container.wait_until("sshd", || id(&container, &key, &["-tt"]).code == Some(0));
        assert!(!container.logs().contains("lacks this capability"), "{}", container.logs());
    }
}

#[test]
fn with_podmans_capabilities_everything_but_a_terminal_works() {
    let key = KeyPair::generate();
    let run = lacking("AUDIT_WRITE", &key).option("--cap-drop=MKNOD").option("--cap-drop=NET_RAW");
    let container = run.start_and_wait();
    container.wait_until("sshd", || id(&container, &key, &[]).code == Some(0));
    assert_eq!(String::from_utf8_lossy(&id(&container, &key, &[]).stdout), "user\nroot\n");
    names(&container, "AUDIT_WRITE");
    let refused = id(&container, &key, &["-tt"]);
    assert!(refused.stderr.contains("PTY allocation request failed"), "{refused:?}");
}

#[test]
fn sshd_does_not_pretend_where_no_login_is_possible() {
    let key = KeyPair::generate();
    let container = lacking("SYS_CHROOT", &key).start_and_wait();
    names(&container, "SYS_CHROOT");
    let status = container.exec(&["supervisorctl", "status", "sshd"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("STOPPED"), "{status:?}");
    let by_hand = container.exec(&["sshd-run"]);
    let words = "every login would fail: the container lacks the capability SYS_CHROOT";
    assert!(by_hand.failure(1).contains(words), "{by_hand:?}");
}

#[test]
fn the_portal_answers_without_capabilities_that_only_single_things_need() {
    for capability in ["DAC_OVERRIDE", "FSETID", "KILL"] {
        let container = lacking(capability, &KeyPair::generate()).start_and_wait();
        container.wait_until_ready();
        names(&container, capability);
        container.restart();
        container.wait_for_portal();
        assert_eq!(container.stop(), 0, "{capability}");
    }
}

#[test]
fn without_the_right_to_become_another_account_the_container_runs_and_reports_it() {
    for capability in ["SETUID", "SETGID"] {
        let container = lacking(capability, &KeyPair::generate()).start();
        let ready = || container.exec(&["boot", "wait", "ready", "--timeout", "1s"]).code == Some(0);
        container.wait_until("the end of late boot", ready);
        names(&container, capability);
        let down = container.exec(&["boot", "report"]).text();
        assert!(down.contains("caddy: the program is down"), "{down}");
        assert!(!down.contains("cannot write"), "the workspace is not to blame: {down}");
    }
}

#[test]
fn a_volume_that_refuses_root_is_the_users_and_fails_no_stage_unless_sync_is_wanted() {
    let volume = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(volume.path(), Some(1000), Some(1000)).unwrap();
    fs::set_permissions(volume.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let run = lacking("DAC_OVERRIDE", &KeyPair::generate()).mount(volume.path(), "/workspace", "");
    let container = run.start_and_wait();
    container.wait_until_ready();
    for stage in ["sync", "permissions"] {
        container.exec(&["boot", "wait", stage]).text();
    }
    container.exec(&["su", "user", "-c", "touch /workspace/mine"]).text();
    let report = container.exec(&["boot", "report"]).text();
    let line = "root cannot write to /workspace: Permission denied; \"user\" (uid 1000) can.";
    assert!(report.contains(line), "{report}");
    for seen in [report, container.logs()] {
        assert!(!seen.contains("WORKSPACE_SYNC") && !seen.contains("failed"), "{seen}");
    }
}

#[test]
fn a_low_limit_is_named_with_its_option_and_what_can_work_works() {
    let container = RunOptions::new().option("--ulimit=nofile=128:128").start_and_wait();
    container.wait_until_ready();
    let report = container.exec(&["boot", "report"]).text();
    for said in [container.logs(), report] {
        let words = "nofile: the open files of a program are limited to 128";
        assert!(said.contains(words) && said.contains("--ulimit nofile=65536"), "{said}");
    }
}

#[test]
fn a_start_that_cannot_come_to_anything_ends_with_the_options_name() {
    for (options, first, hint) in [
        (
            &["--user", "1234"][..],
            "the container runs as user 1234 (--user), but init must be root",
            "remove --user",
        ),
        (
            &["--read-only"],
            "the container's root file system is read-only (--read-only)",
            "remove --read-only",
        ),
        (&["--cap-drop", "CHOWN"], "the container lacks CHOWN: ", "--cap-add CHOWN (Kubernetes"),
        (&["--cap-drop", "FOWNER"], "the container lacks FOWNER: ", "--cap-add FOWNER (Kubernetes"),
        (
            &["--cap-drop", "ALL"],
            "the container lacks CHOWN and FOWNER: ",
            "--cap-add SETUID --cap-add SYS_CHROOT",
        ),
    ] {
        let ended = options.iter().fold(RunOptions::new(), |run, option| run.option(option)).run_to_end();
        let said = ended.failure(1);
        let mut lines = said.lines();
        let (error, next) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        assert!(
            error.contains(first) && next.contains("hint: ") && next.contains(hint),
            "{options:?}: {said}"
        );
    }
}

#[test]
fn no_new_privileges_is_named_and_root_can_log_in() {
    let key = KeyPair::generate();
    let container = RunOptions::new()
        .option("--security-opt=no-new-privileges")
        .env("SSH_PUBKEY", key.public())
        .start_and_wait();
    let root = || key.ssh(&container, "root", &["-tt"], &["id -un"], "");
    container.wait_until("sshd", || root().code == Some(0));
    assert!(container.logs().contains("no-new-privileges: sudo and su do not work"), "{}", container.logs());
}
