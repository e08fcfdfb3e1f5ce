//! The user's own script, in containers that were really booted.

use std::fs;
use std::path::Path;

use harness::{Container, KeyPair, RunOptions};
use serde_json::Value;

use crate::late_boot::{logged_in, page, script};

/// Mount point of scripts.
const MOUNTED: &str = "/opt/leonardo/bin/provisioning.sh";
/// Certificates that this machine trusts; an extended bundle where TLS is intercepted.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A second container, which serves one script by http.
struct Server {
    container: Container,
}

impl Server {
    fn of(script: &str) -> Self {
        let container = RunOptions::new().start_and_wait();
        container.write("/srv/setup.sh", script);
        container.background(&["python3", "-m", "http.server", "8000", "--directory", "/srv"]);
        container
            .wait_until("the server", || container.sh("curl -sf 127.0.0.1:8000/setup.sh").code == Some(0));
        Self { container }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}:8000/{path}", self.container.sh("hostname -i").text().trim())
    }
}

/// Lets pip inside reach the same index as on this machine.
fn with_package_index(run: RunOptions) -> RunOptions {
    let bundle = std::env::var("SSL_CERT_FILE").unwrap_or_else(|_| CERTIFICATES.to_owned());
    let mut run = run.mount(Path::new(&bundle), CERTIFICATES, "ro").env("PIP_CERT", CERTIFICATES);
    for name in ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"]
    {
        if let Ok(value) = std::env::var(name) {
            run = run.env(name, value);
        }
    }
    run
}

/// State of a stage, by the report.
fn stage(container: &Container, name: &str) -> Value {
    let report: Value =
        serde_json::from_str(&container.exec(&["boot", "report", "--json"]).text()).expect("a report");
    let stages = report["stages"].as_array().expect("stages");
    stages.iter().find(|stage| stage["stage"] == name).cloned().unwrap_or_default()
}

/// Installs a package, waits for the test, and leaves a service running behind the portal.
const INSTALLS: &str = r#"#!/bin/bash
set -e
python3 -m venv "$HOME/app"
"$HOME/app/bin/pip" install --disable-pip-version-check --no-input itsdangerous==2.2.0
echo "installed as $(id -un), with $GREETING"
until [ -e /tmp/sign ]; do sleep 0.1; done
setsid --fork "$HOME/app/bin/python" -m http.server 18080 --bind 127.0.0.1 --directory /etc/supervisor
printf '{"service_name":"Files","listen_port":18080,"proxy_port":8080,"proxy_secure":true}' > /run/http_ports/8080
"#;

#[test]
fn a_script_from_a_url_installs_a_package_and_starts_a_service_in_public_view() {
    let server = Server::of(INSTALLS);
    let url = server.url("setup.sh");
    let run = RunOptions::new()
        .env("PROVISIONING_SCRIPT", &url)
        .env("GREETING", "a 'variable' of $mine")
        .publish(8080);
    let container = with_package_index(run).start_and_wait();
    let said = "installed as user, with a 'variable' of $mine";
    container.wait_until("the portal's line", || page(&container).contains("provisioning: installed"));
    container.wait_until("the docker log", || {
        let logs = container.logs();
        logs.lines().any(|line| line.starts_with("provisioning | ") && line.ends_with(said))
    });
    let report = container.exec(&["boot", "report"]).text();
    assert!(report.contains("running") && report.contains(said), "{report}");
    assert_eq!(container.web(1111).get("/leonardo/ready").status, 503, "not ready before its end");

    container.sh("touch /tmp/sign");
    container.wait_until_ready();
    assert_eq!(stage(&container, "provisioning")["result"], "done");
    let log = container.exec(&["cat", "/var/log/provisioning.log"]).text();
    assert!(
        log.contains(&format!("fetching {url}")) && log.contains("Successfully installed itsdangerous"),
        "{log}"
    );
    let import = "/workspace/home/user/app/bin/python -c 'import itsdangerous' || ~user/app/bin/python -c 'import \
                  itsdangerous'";
    container.sh(import).text();
    let [_, _, token] = container.login();
    let service = container.web(8080).with("authorization", &format!("Bearer {token}"));
    container.wait_until("the service", || service.get("/supervisord.conf").status == 200);
    assert!(page(&container).contains("Files"));

    let ran = container.exec(&["provision", "status"]).text();
    assert!(ran.contains(&url), "{ran}");
    container.restart();
    container.wait_until_ready();
    let again = stage(&container, "provisioning");
    assert_eq!(again["result"], "skipped", "{again}");
}

#[test]
fn a_failing_script_is_seen_failing_everywhere() {
    let key = KeyPair::generate();
    let scratch = tempfile::tempdir().unwrap();
    let script = script(scratch.path(), "echo downloading\necho 'no such model' >&2\nexit 3\n");
    let container =
        RunOptions::new().env("SSH_PUBKEY", key.public()).mount(&script, MOUNTED, "ro").start_and_wait();
    container.wait_until_ready();
    let ended = stage(&container, "provisioning");
    assert_eq!(ended["result"], "failed");
    let cause = format!("provisioning failed: {}", ended["cause"].as_str().expect("a cause"));
    assert!(cause.contains("exit code 3") && cause.contains("no such model"), "{cause}");
    assert!(container.exec(&["boot", "report"]).text().contains(&cause));
    // What the script printed is for those who may read its log.
    let as_nobody = |words: &str| container.exec(&["su", "nobody", "-s", "/bin/sh", "-c", words]);
    let report = as_nobody("/opt/leonardo/bin/boot report").text();
    assert!(report.contains("exit code 3") && !report.contains("no such model"), "{report}");
    let readers = container.exec(&["stat", "-c", "%U:%G %a", "/var/log/provisioning.log"]).text();
    assert_eq!(readers.trim(), "root:adm 640", "the portal shows what is in it");
    let readable = as_nobody("cat /run/leonardo/boot* /var/lib/leonardo/provisioning/* /var/log/*.log; true");
    let readable = String::from_utf8_lossy(&readable.stdout);
    assert!(readable.contains("exit code 3") && !readable.contains("no such model"), "{readable}");
    container.wait_until("the docker log", || container.logs().contains(&cause));
    // The page is HTML.
    container.wait_until("the page", || page(&container).contains("provisioning failed: "));
    let session = logged_in(&container, &key);
    assert!(session.contains(&cause), "{session}");
    assert_eq!(
        container.web(1111).get("/leonardo/ready").status,
        200,
        "a failed script does not hold up the rest"
    );

    // Corrected by hand, the failure is history.
    fs::write(&script, "echo corrected\n").unwrap();
    container.exec(&["provision", "run"]).text();
    assert_eq!(stage(&container, "provisioning")["result"], "done");
    assert!(!page(&container).contains("provisioning failed"), "{}", page(&container));
    let session = logged_in(&container, &key);
    assert!(!session.contains("provisioning failed"), "{session}");
}

#[test]
fn an_answer_that_is_no_script_is_not_run() {
    let server = Server::of("<!DOCTYPE html><html><body>Sign in</body></html>");
    let cause = |path: &str| {
        let container = RunOptions::new().env("PROVISIONING_SCRIPT", server.url(path)).start_and_wait();
        container.wait_until_ready();
        let ended = stage(&container, "provisioning");
        assert_eq!(ended["result"], "failed");
        ended["cause"].as_str().expect("a cause").to_owned()
    };
    assert!(cause("setup.sh").contains("HTML"), "{}", cause("setup.sh"));
    assert!(cause("missing.sh").contains("404"), "{}", cause("missing.sh"));
}

/// Notes when it begins and when it ends, and takes its time in between.
const SLOW: &str =
    "echo begun >> /tmp/ran\nuntil [ -e /tmp/sign ]; do sleep 0.05; done\necho ended >> /tmp/ran\n";

fn count(container: &Container, word: &str) -> usize {
    let text = container.sh("cat /tmp/ran").stdout;
    String::from_utf8_lossy(&text).lines().filter(|line| *line == word).count()
}

#[test]
fn a_killed_boot_is_begun_again_and_finds_the_script_still_running() {
    let scratch = tempfile::tempdir().unwrap();
    let script = script(scratch.path(), SLOW);
    let key = KeyPair::generate();
    let container =
        RunOptions::new().env("SSH_PUBKEY", key.public()).mount(&script, MOUNTED, "ro").start_and_wait();
    container.wait_until("the script", || count(&container, "begun") == 1);
    container.wait_until("the words at login", || {
        logged_in(&container, &key).contains("The container is still starting: provisioning for ")
    });
    container.sh("pkill -KILL -x boot").text();
    container.wait_until("another boot", || {
        let report = container.exec(&["boot", "report"]).text();
        report.contains("Killed and restarted 1 times")
            && report.starts_with("Late boot has been running for ")
    });
    container.sh("touch /tmp/sign");
    container.wait_until_ready();
    assert_eq!((count(&container, "begun"), count(&container, "ended")), (1, 1));
    assert_eq!(stage(&container, "provisioning")["result"], "skipped", "it has ended well before");
}

#[test]
fn a_script_that_fails_after_its_boot_was_killed_does_not_run_twice_in_one_start() {
    let scratch = tempfile::tempdir().unwrap();
    let script = script(scratch.path(), &format!("{SLOW}exit 3\n"));
    let container = RunOptions::new().mount(&script, MOUNTED, "ro").start_and_wait();
    container.wait_until("the script", || count(&container, "begun") == 1);
    container.sh("pkill -KILL -x boot").text();
    container.wait_until("another boot", || {
        container.exec(&["boot", "report"]).text().starts_with("Late boot has been running for ")
    });
    container.sh("touch /tmp/sign");
    container.wait_until_ready();
    assert_eq!((count(&container, "begun"), count(&container, "ended")), (1, 1));
    let ended = stage(&container, "provisioning");
    assert_eq!(
        (&ended["result"], &ended["cause"]),
        (&"failed".into(), &"the script failed with exit code 3".into())
    );
    container.sh("supervisorctl start boot");
    container.wait_until("a second run", || count(&container, "begun") == 2);
}

#[test]
fn who_stops_late_boot_or_the_container_lets_the_script_end_and_kills_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let script = script(scratch.path(), SLOW);
    let container = RunOptions::new().mount(&script, MOUNTED, "ro").start_and_wait();
    // More often than a boot may be killed.
    for round in 1..=6 {
        container.wait_until("the script", || count(&container, "begun") == round);
        container.sh("supervisorctl stop boot");
        let report = container.exec(&["boot", "report"]).text();
        assert!(report.starts_with("Late boot was stopped; to resume it"), "{report}");
        let cause = "provisioning failed: the script was stopped because provision received SIGTERM";
        assert!(report.contains(cause), "{report}");
        container.sh("supervisorctl start boot");
    }
    container.wait_until("the script", || count(&container, "begun") == 7);
    container.restart();
    container.wait_until("the script", || count(&container, "begun") == 8);
    let log = container.exec(&["cat", "/var/log/provisioning.log"]).text();
    let last = log.lines().rfind(|line| line.contains("provision: running, ")).unwrap_or_default();
    assert!(last.ends_with("because the last run failed"), "not cut short: {last}");
    container.sh("touch /tmp/sign");
    container.wait_until_ready();
    assert_eq!(count(&container, "ended"), 1);
}

#[test]
fn a_killed_script_is_a_failure_and_runs_again_with_the_next_boot() {
    let scratch = tempfile::tempdir().unwrap();
    let script = script(scratch.path(), SLOW);
    let container = RunOptions::new().mount(&script, MOUNTED, "ro").start_and_wait();
    for (round, target) in ["pkill -KILL -f '^/opt/leonardo/bin/provision run'", "pkill -KILL -u user bash"]
        .into_iter()
        .enumerate()
    {
        container.wait_until("the script", || count(&container, "begun") == round + 1);
        container.sh(target).text();
        container.wait_until("the end", || container.sh("pgrep -x boot").code == Some(1));
        let ended = stage(&container, "provisioning");
        assert_eq!(ended["result"], "failed", "{target}: {ended}");
        assert!(ended["cause"].as_str().is_some_and(|cause| cause.contains("signal 9")), "{target}: {ended}");
        container.wait_until("nothing left of it", || container.sh("pgrep -u user sleep").code == Some(1));
        container.sh("supervisorctl start boot");
    }
    container.wait_until("the third run", || count(&container, "begun") == 3);
    container.sh("touch /tmp/sign");
    container.wait_until("the end", || stage(&container, "provisioning")["result"] == "done");
    assert_eq!(count(&container, "ended"), 1);
}

#[test]
fn whatever_is_killed_and_whenever_the_report_is_true_and_nothing_that_ended_well_runs_twice() {
    let scratch = tempfile::tempdir().unwrap();
    let script = script(scratch.path(), "true\n");
    let container = RunOptions::new().mount(&script, MOUNTED, "ro").start_and_wait();
    container.wait_until_ready();
    let report = || -> Value {
        serde_json::from_str(&container.exec(&["boot", "report", "--json"]).text()).expect("a report")
    };
    let is_gone = || container.sh("pgrep -x boot").code == Some(1);
    // A run is another process; one that was killed is begun again by itself within a second.
    let settled = |before: &Value| {
        container.wait_until("the end of another run", || {
            let now = report();
            is_gone() && now["phase"] == "ready" && now["pid"] != *before
        });
    };
    let settle = || {
        let before = report()["pid"].clone();
        container.sh("supervisorctl start boot");
        settled(&before);
    };
    container.wait_until("the end of the first run", is_gone);
    let targets = ["-x boot", "-f '^/opt/leonardo/bin/provision run'", "-u user bash"];
    for round in 0..18 {
        // In place, because the file itself is what is mounted.
        let text = format!("# {round}\necho begun >> /tmp/ran\nsleep 0.3\necho ended >> /tmp/ran\n");
        fs::write(&script, text).unwrap();
        let before = report()["pid"].clone();
        container.sh("rm -f /tmp/ran; supervisorctl start boot");
        let target = targets[round % targets.len()];
        // From before the script begins until after its end.
        let milliseconds = round * 37 % 540;
        container.sh(&format!("sleep 0.{milliseconds:03}; pkill -KILL {target}"));
        settled(&before);
        let ended = stage(&container, "provisioning");
        let what = format!("round {round}, {target} after {milliseconds} ms: {ended}");
        match ended["result"].as_str() {
            Some("failed") => {
                assert!(ended["cause"].as_str().is_some_and(|cause| cause.contains("signal 9")), "{what}");
                settle();
                assert_eq!(stage(&container, "provisioning")["result"], "done", "{what}");
            }
            _ => assert_eq!(count(&container, "ended"), 1, "{what}"),
        }
        let begun = count(&container, "begun");
        settle();
        assert_eq!(stage(&container, "provisioning")["result"], "skipped", "{what}");
        assert_eq!(count(&container, "begun"), begun, "{what}");
    }
}
