//! Hooks, the user's own script, and what starts after them, in containers that were really booted.

use std::fs;
use std::path::{Path, PathBuf};

use harness::{Container, Image, KeyPair, RunOptions};

/// Two hooks, the first with a line end of Windows; the second reads what the first exports, and fails in its third line.
const HOOKS: &str = r#"RUN cd /opt/leonardo/bin/preflight.d && \
    printf '%s\r\n' "export MODELS=\"/a b/\$(id -un)'s\"" > 10-models.sh && \
    printf '%s\n' 'echo "models are in $MODELS"' 'export LATE=1' 'cat /nonexistent' > 20-fetch.sh"#;

/// A terminal session of the user, and what it shows before the prompt.
pub fn logged_in(container: &Container, key: &KeyPair) -> String {
    String::from_utf8_lossy(&key.ssh(container, "user", &["-tt"], &[], "exit\n").stdout).replace('\r', "")
}

/// The portal's page, as its owner sees it.
pub fn page(container: &Container) -> String {
    let [_, _, token] = container.login();
    let html = container.web(1111).with("authorization", &format!("Bearer {token}")).get("/").body;
    // What a problem is about is bold.
    html.replace("<b>", "").replace("</b>", "")
}

#[test]
fn what_hooks_export_is_stored_and_a_failing_one_is_named_everywhere() {
    let key = KeyPair::generate();
    let image = Image::extended(HOOKS);
    let container = RunOptions::new().image(&image).env("SSH_PUBKEY", key.public()).start_and_wait();
    container.wait_until_ready();
    let both = "bash -lc 'echo \"$MODELS $LATE\"'";
    assert_eq!(container.sh(both).text(), "/a b/root's 1");
    assert_eq!(key.ssh(&container, "user", &[], &["echo \"$MODELS $LATE\""], "").text(), "/a b/root's 1");

    let cause = "preflight failed: preflight.d/20-fetch.sh: line 3: the hook failed with exit code 1";
    let log = container.exec(&["cat", "/var/log/preflight.log"]).text();
    assert!(
        log.contains(
            "/10-models.sh: mended: 1 line ends of Windows were changed\nmodels are in /a b/root's\n"
        ),
        "{log}"
    );
    assert!(log.contains("\ncat: /nonexistent:"), "{log}");
    let report = container.exec(&["boot", "report"]).text();
    assert!(report.contains(cause) && report.contains("fix: read /var/log/preflight.log"), "{report}");
    container.wait_until("the docker log", || container.logs().contains(cause));
    assert!(page(&container).contains(cause), "{}", page(&container));
    let session = logged_in(&container, &key);
    assert!(session.contains(cause), "{session}");
    container.exec(&["boot", "wait", "preflight"]).failure(1);

    // Corrected, it runs again without a restart, and the failure is history.
    container.sh("echo true > /opt/leonardo/bin/preflight.d/20-fetch.sh");
    container.sh("supervisorctl start boot");
    container.wait_until("the second run", || container.exec(&["boot", "wait", "preflight"]).code == Some(0));
    let session = logged_in(&container, &key);
    assert!(!session.contains("preflight failed"), "{session}");
}

/// Programs that the base image has running, or is starting, at this moment; one that an image adds.
const ORDER: &str = "#!/bin/bash
supervisorctl status > /tmp/order
pgrep -f added-program >> /tmp/order
echo the script has run
";

#[test]
fn what_the_base_image_runs_comes_before_provisioning_and_what_others_add_after_it() {
    let key = KeyPair::generate();
    let image = Image::extended(
        "RUN printf '%s\\n' '[program:added]' 'command=bash -c \"exec -a added-program sleep infinity\"' \
             > /etc/supervisor/conf.d/added.conf",
    );
    let scratch = tempfile::tempdir().unwrap();
    let script = script(scratch.path(), ORDER);
    let container = RunOptions::new()
        .image(&image)
        .env("SSH_PUBKEY", key.public())
        .mount(&script, "/opt/leonardo/bin/provisioning.sh", "ro")
        .start_and_wait();
    container.wait_until_ready();
    let order = container.exec(&["cat", "/tmp/order"]).text();
    let base = programs(&container.sh("cat /etc/supervisor/base.d/*.conf").text());
    for known in ["caddy", "logtail", "rclone", "serviceportal", "sshd", "storagemonitor"] {
        assert!(base.contains(&(known.to_owned(), true)), "{known} in {base:?}");
    }
    for (program, starts) in &base {
        let mut words = order.lines().map(str::split_whitespace);
        let state =
            words.find(|words| words.clone().next() == Some(program)).and_then(|mut words| words.nth(1));
        let runs = state.is_some_and(|state| state == "RUNNING" || state == "STARTING");
        assert!(runs || !starts, "{program} in:\n{order}");
    }
    assert!(!order.contains("added"), "{order}");
    assert_eq!(order.lines().count(), base.len(), "no process of it either:\n{order}");
    container.wait_until("the added program", || {
        String::from_utf8_lossy(&container.exec(&["supervisorctl", "status", "added"]).stdout)
            .contains("RUNNING")
    });

    // A restart holds it back again; the script, which was successful, does not run again.
    container.sh("echo first > /tmp/order");
    container.restart();
    container.wait_until_ready();
    container.wait_until("the added program", || container.sh("pgrep -f added-program").code == Some(0));
    assert_eq!(container.exec(&["cat", "/tmp/order"]).text(), "first");
}

/// The programs of a configuration, and whether each starts by itself; of those that a variable decides, sshd does here.
fn programs(configuration: &str) -> Vec<(String, bool)> {
    let sections = configuration.split("[program:").skip(1);
    let program = |section: &str| {
        let (name, rest) = section.split_once(']').expect("a name");
        let starts = ["autostart=true", "autostart=%(ENV_LEONARDO_AUTOSTART_SSHD)s"];
        (name.to_owned(), rest.lines().any(|line| starts.contains(&line)))
    };
    sections.map(program).collect()
}

/// A script on this machine, for mounting.
pub fn script(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("provisioning.sh");
    fs::write(&path, text).unwrap();
    path
}
