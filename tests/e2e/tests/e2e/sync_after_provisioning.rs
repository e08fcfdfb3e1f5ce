//! The switch to the workspace: after provisioning, after failures, and not under a program that uses a directory.

use faultfs::Fault;
use harness::{Image, KeyPair, RunOptions};

use crate::late_boot::{page, script};
use crate::sync_in_background::{Slow, assert_whole, image, is_copying, report};

#[test]
fn a_restart_and_a_kill_while_the_switch_waits_lose_nothing_that_the_script_installed() {
    let (image, volume, scratch) = (image(), Slow::mounted(), tempfile::tempdir().unwrap());
    let script = script(
        scratch.path(),
        "cd /opt/app\n\
         for n in $(seq 200); do mkdir -p site/p$n; seq $n > site/p$n/code; done\n\
         rm -f 1; echo changed > 2; mv -f 3 4\n\
         touch /tmp/installed\n\
         until [ -e /tmp/sign ]; do sleep 0.05; done\n\
         rm -r site/p1; echo late > site/late\n",
    );
    let run = RunOptions::new().image(&image).env("WORKSPACE_SYNC", "true");
    let run = run.mount(&script, "/opt/leonardo/bin/provisioning.sh", "ro");
    let container = run.mount(&volume.at, "/workspace", "").start_and_wait();
    container.wait_until("the script", || container.sh("test -e /tmp/installed").code == Some(0));
    assert!(is_copying(&container));
    volume.disk.clear();
    let waits = || report(&container).contains("app: copied, waiting for provisioning to end");
    container.wait_until("the copy", waits);
    assert!(
        page(&container).contains("app: copied, waiting for provisioning to end"),
        "{}",
        page(&container)
    );
    assert_eq!(container.exec(&["readlink", "/opt/app"]).text(), "/opt/.image/app");

    container.restart();
    container.wait_until("the copy", waits);
    container.sh("pkill -KILL -x workspace-sync").text();
    container.wait_until("the failure", || {
        report(&container).contains("sync failed: workspace-sync was terminated by signal 9")
    });
    container.sh("touch /tmp/sign").text();
    container
        .wait_until("the switch", || container.exec(&["readlink", "/opt/app"]).text() == "/workspace/app");
    container.wait_until("the end of the failure", || !report(&container).contains("FAILED"));
    assert_whole(&container);
    let text = container
        .sh("cd /opt/app && ls site | wc -l && cat 2 site/late && ls 1 3 2> /dev/null | wc -l")
        .text();
    assert_eq!(text, "200\nchanged\nlate\n0");
}

#[test]
fn an_ssh_session_during_the_switch_is_no_unknown_writer() {
    let (image, key, scratch) = (image(), KeyPair::generate(), tempfile::tempdir().unwrap());
    let volume = tempfile::tempdir().unwrap();
    let script = script(scratch.path(), "until [ -e /tmp/sign ]; do sleep 0.05; done\n");
    let run = RunOptions::new().image(&image).env("WORKSPACE_SYNC", "true").env("SSH_PUBKEY", key.public());
    let run = run.mount(&script, "/opt/leonardo/bin/provisioning.sh", "ro");
    let container = run.mount(volume.path(), "/workspace", "").start_and_wait();
    container.wait_until("sshd", || key.ssh(&container, "user", &[], &["true"], "").code == Some(0));
    std::thread::scope(|scope| {
        let session = "touch /tmp/session; until [ -e /tmp/over ]; do sleep 0.05; done";
        let session = scope.spawn(|| key.ssh(&container, "user", &[], &[session], "").code);
        container.wait_until("the session", || {
            container.sh("touch /tmp/sign; test -e /tmp/session").code == Some(0)
        });
        container.exec(&["boot", "wait", "sync", "--timeout", "1m"]).text();
        assert_eq!(container.exec(&["readlink", "/opt/app"]).text(), "/workspace/app");
        let seen = container.exec(&["cat", "/run/leonardo/boot.jsonl"]).text();
        container.sh("touch /tmp/over").text();
        assert_eq!(session.join().unwrap(), Some(0));
        assert!(!seen.contains("cannot inspect"), "{seen}");
    });
}

#[test]
fn a_full_volume_is_retried_until_it_has_room_and_the_failure_is_shown_no_more() {
    let (image, volume) = (image(), Slow::mounted());
    volume.disk.clear();
    volume.disk.inject(Fault::NoSpace { after: 20_000 });
    let run = RunOptions::new().image(&image).env("WORKSPACE_SYNC", "true");
    let container = run.mount(&volume.at, "/workspace", "").start_and_wait();
    container.wait_until_ready();
    container.exec(&["boot", "wait", "sync", "--timeout", "1m"]);
    assert!(!is_copying(&container), "nothing waits for a volume that is full");
    container.wait_until("the next attempt", || {
        report(&container).contains("; retried automatically, next attempt in ")
    });
    assert!(page(&container).contains("No space left on device"), "{}", page(&container));
    volume.disk.clear();
    container
        .wait_until("the switch", || container.exec(&["readlink", "/opt/app"]).text() == "/workspace/app");
    container.wait_until("the end of the failure", || !report(&container).contains("FAILED"));
    assert!(!page(&container).contains("No space left on device"), "{}", page(&container));
    assert_whole(&container);
}

#[test]
fn a_directory_that_a_program_uses_stays_and_the_start_succeeds_and_reports_it() {
    let image = Image::extended(
        "ENV OPT_SYNC=app\n\
         RUN mkdir /opt/app && cd /opt/app && for n in $(seq 300); do echo $n > $n; done \
             && fix-perms --only container \
             && printf '%s\\n' '[program:app]' 'directory=/opt/app' \
                 'command=python3 -m http.server 18080 --bind 127.0.0.1' > /etc/supervisor/conf.d/app.conf",
    );
    let volume = Slow::mounted();
    let run = RunOptions::new().image(&image).env("WORKSPACE_SYNC", "true");
    let container = run.mount(&volume.at, "/workspace", "").start_and_wait();
    container.wait_until("the program", || container.sh("curl -sf 127.0.0.1:18080/300").code == Some(0));
    assert!(is_copying(&container));
    container.wait_until("the early note", || {
        let journal = container.sh("cat /run/leonardo/boot.jsonl").text();
        journal.contains("app: /opt/app is a directory, not a link: ") && is_copying(&container)
    });
    volume.disk.clear();
    container.exec(&["boot", "wait", "sync", "--timeout", "2m"]).text();
    let lost = "files written to /opt/app are lost when the container is removed";
    assert!(
        report(&container).contains(lost) && !report(&container).contains("FAILED"),
        "{}",
        report(&container)
    );
    assert!(report(&container).contains("build it as a link"), "{}", report(&container));
    assert!(page(&container).contains(lost), "{}", page(&container));
    assert_eq!(container.sh("test -L /opt/app; echo $?; curl -s 127.0.0.1:18080/300").text(), "1\n300");

    // The hint works.
    container.sh("supervisorctl stop app && workspace-sync run && supervisorctl start app").text();
    assert_eq!(container.exec(&["readlink", "/opt/app"]).text(), "/workspace/app");
}
