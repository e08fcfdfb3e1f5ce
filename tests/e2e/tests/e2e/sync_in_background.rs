//! Programs, readiness and messages during the copy to the workspace.

use std::path::PathBuf;
use std::time::Duration;

use faultfs::{Fault, FaultFs};
use harness::{Container, Image, KeyPair, RunOptions};
use tempfile::TempDir;

use crate::late_boot::{logged_in, page, script};

/// A tree that is a link, and a program that serves it.
pub fn image() -> Image {
    Image::extended(
        "ENV OPT_SYNC=app\n\
         RUN mkdir /opt/.image/app && ln -s /opt/.image/app /opt/app && cd /opt/app \
             && for n in $(seq 4000); do echo $n > $n; done && fix-perms --only container \
             && printf '%s\\n' '[program:app]' \
                 'command=python3 -m http.server 18080 --bind 127.0.0.1 --directory /opt/app' \
                 > /etc/supervisor/conf.d/app.conf",
    )
}

/// A volume on which the copy of the tree takes minutes, until it is quick.
pub struct Slow {
    _directory: TempDir,
    pub at: PathBuf,
    pub disk: FaultFs,
}

impl Slow {
    pub fn mounted() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (backing, at) = (directory.path().join("backing"), directory.path().join("mounted"));
        [&backing, &at].iter().for_each(|directory| std::fs::create_dir(directory).unwrap());
        let disk = FaultFs::mount(&backing, &at).unwrap();
        disk.inject(Fault::Slow(Duration::from_millis(10)));
        Self { _directory: directory, at, disk }
    }
}

pub fn is_copying(container: &Container) -> bool {
    container.sh("test -e /run/workspace_sync").code == Some(0)
}

pub fn report(container: &Container) -> String {
    container.exec(&["boot", "report"]).text()
}

/// The switch comes, and nothing is missing.
pub fn assert_whole(container: &Container) {
    container.exec(&["boot", "wait", "sync", "--timeout", "2m"]).text();
    assert!(!is_copying(container));
    assert_eq!(container.exec(&["readlink", "/opt/app"]).text(), "/workspace/app");
    let same = "diff -r /opt/.image/app /opt/app -x .move_complete -x .sync_manifest && echo same";
    assert_eq!(container.sh(same).text(), "same");
}

#[test]
fn an_added_program_answers_and_everything_is_ready_while_its_tree_is_copied() {
    let (image, volume, key) = (image(), Slow::mounted(), KeyPair::generate());
    let run = RunOptions::new().image(&image).env("WORKSPACE_SYNC", "true").env("SSH_PUBKEY", key.public());
    let container = run.mount(&volume.at, "/workspace", "").start_and_wait();
    container.wait_until("the program", || container.sh("curl -sf 127.0.0.1:18080/1000").code == Some(0));
    container.wait_until_ready();
    assert_eq!(container.exec(&["boot", "wait", "ready"]).code, Some(0));
    assert_eq!(container.exec(&["boot", "wait", "sync", "--timeout", "0s"]).code, Some(124));
    container.wait_until("the progress", || report(&container).contains("\n                          app: "));
    assert!(report(&container).contains("Sync is still running."), "{}", report(&container));
    assert!(page(&container).contains("sync: app: "), "{}", page(&container));
    let session = logged_in(&container, &key);
    assert!(session.contains("In the background: sync for "), "{session}");

    // The first shell of a session prints it, by docker exec as by SSH, and no other one.
    for words in [["bash", "-ic"], ["bash", "-lic"]] {
        let mut session = words.to_vec();
        session.push("bash -ic true; bash -lic 'echo inside'");
        let said = container.terminal(&session).text();
        assert_eq!(said.matches("In the background: sync for ").count(), 1, "{said}");
        assert!(said.find("In the background") < said.find("inside"), "{said}");
    }
    assert_eq!(session.matches("In the background").count(), 1, "{session}");
    let without_terminal = container.exec(&["bash", "-lic", "true"]);
    assert_eq!(without_terminal.text(), "");

    assert!(is_copying(&container), "all of this was during the copy");
    volume.disk.clear();
    assert_whole(&container);
    assert!(report(&container).contains("\nsync") && !report(&container).contains("Sync is still running."));
    container.wait_until("the docker log", || container.logs().contains("boot: sync finished in "));
    assert_eq!(container.sh("curl -sf 127.0.0.1:18080/1000").text(), "1000");
}

#[test]
fn a_killed_boot_and_a_restart_during_the_copy_lose_nothing() {
    let (image, volume) = (image(), Slow::mounted());
    let run = RunOptions::new().image(&image).env("WORKSPACE_SYNC", "true");
    let container = run.mount(&volume.at, "/workspace", "").start_and_wait();
    container.wait_until_ready();
    container.sh("pkill -KILL -x boot").text();
    container.wait_until("another boot", || {
        let text = report(&container);
        text.contains("Killed and restarted 1 times") && text.starts_with("Ready, ")
    });
    // That of the killed boot is gone, and the new one begins beside the stages.
    container.wait_until("one copy", || {
        container.sh("pgrep -fc '^/opt/leonardo/bin/workspace-sync run' || true").text() == "1"
    });
    assert!(is_copying(&container));
    container.restart();
    container.wait_until_ready();
    assert!(is_copying(&container), "{}", report(&container));
    assert!(!report(&container).contains("FAILED"), "{}", report(&container));
    volume.disk.clear();
    assert_whole(&container);
    assert!(container.exec(&["boot", "report", "--json"]).text().contains("\"phase\":\"ready\""));
}

#[test]
fn permissions_end_while_the_script_runs_and_the_start_ends_with_a_summary() {
    let key = KeyPair::generate();
    let scratch = tempfile::tempdir().unwrap();
    let script = script(scratch.path(), "until [ -e /tmp/sign ]; do sleep 0.05; done\n");
    let container = RunOptions::new()
        .env("SSH_PUBKEY", key.public())
        .env("WEB_USER", "ada")
        .env("SSH_PORT", "nonsense")
        .mount(&script, "/opt/leonardo/bin/provisioning.sh", "ro")
        .start_and_wait();
    for stage in ["permissions", "sync"] {
        container.exec(&["boot", "wait", stage, "--timeout", "1m"]).text();
    }
    assert_eq!(container.exec(&["boot", "wait", "provisioning", "--timeout", "0s"]).code, Some(124));
    assert_eq!(
        container.sh("ls /run/workspace_sync /run/container_config 2> /dev/null").stdout,
        b"/run/container_config\n"
    );
    container.wait_until("the docker log", || container.logs().contains("boot: permissions finished in "));
    container.sh("touch /tmp/sign");
    container.wait_until("the summary", || container.logs().contains("boot: problems: "));
    let logs = container.logs();
    for said in [
        "boot: portal: http://localhost:1111, where 1111 is the port inside the container",
        "boot: login: user ada, password by: docker exec ",
        "boot: SSH: on, port 22 inside the container",
    ] {
        assert!(logs.contains(said), "{said}\n{logs}");
    }
    let [_, password, token] = container.login();
    assert!(!logs.contains(&password) && !logs.contains(&token), "{logs}");
    // Its lines about the password and the link are true.
    let id = container.exec(&["hostname"]).text();
    let command = format!("docker exec {id} bash -lc 'env | grep WEB_'");
    assert!(logs.contains(&command), "{command}\n{logs}");
    let shown = container.exec(&["bash", "-lc", "env | grep WEB_"]).text();
    assert!(shown.contains(&format!("WEB_PASSWORD={password}")), "{shown}");
    let report = format!("docker exec {id} /opt/leonardo/bin/boot report\n");
    assert!(logs.contains(&report), "{report}\n{logs}");
    assert!(container.exec(&["portal-link"]).text().contains("/leonardo/enter"));
    // docker exec has the variables as they were given, and not what init made of them.
    let again = container.exec(&["boot", "run"]).stderr;
    assert!(again.contains("SSH: on, port 22 inside the container"), "{again}");
    let unkeyed = RunOptions::new().start_and_wait();
    unkeyed.wait_until("the summary", || unkeyed.logs().contains("boot: problems: "));
    assert!(unkeyed.logs().contains("boot: SSH: off, no public key was given"), "{}", unkeyed.logs());
    let mistyped = RunOptions::new()
        .env("SSH_PUBKEY", "not a key")
        .env("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        .start_and_wait();
    mistyped.wait_until("the summary", || mistyped.logs().contains("boot: problems: "));
    for said in
        ["boot: SSH: off, no usable public key", "to see the password, run in the container: env | grep WEB_"]
    {
        assert!(mistyped.logs().contains(said), "{said}\n{}", mistyped.logs());
    }
}
