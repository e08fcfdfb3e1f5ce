//! Logs: in the container's own output, and at the prompt.

use harness::{KeyPair, Run};

/// Whose lines appear after every start.
const SERVICES: [&str; 5] = ["boot", "caddy", "serviceportal", "sshd", "supervisord"];

#[test]
fn docker_logs_shows_boot_and_every_service_and_each_line_says_whose_it_is() {
    let key = KeyPair::generate();
    let container = Run::new().env("SSH_PUBKEY", key.public()).boot();
    container.wait_until_ready();
    for service in SERVICES {
        let begin = format!("{service} | ");
        container.until(service, || container.logs().lines().any(|line| line.starts_with(&begin)));
    }
    container.write("/var/log/supervisor/quicktunnel-8188.log", "hello\n");
    container.until("a log that appears later", || container.logs().contains("quicktunnel-8188 | hello\n"));
    let logs = container.logs();
    // What runs before supervisord speaks for itself.
    let strangers: Vec<&str> =
        logs.lines().filter(|line| !line.contains(" | ") && !line.starts_with("init: ")).collect();
    assert_eq!(strangers, Vec::<&str>::new());
    assert_eq!(
        logs.matches("supervisord | ").count(),
        container.sh("cat /var/log/supervisor/supervisord.log").text().lines().count()
    );
}

#[test]
fn a_restart_repeats_no_line() {
    let container = Run::new().boot();
    container.wait_until_ready();
    container.write("/var/log/supervisor/x.log", "only once\n");
    container.until("the line", || container.logs().contains("x | only once\n"));
    container.restart();
    container.wait_until_ready();
    container.sh("echo again >> /var/log/supervisor/x.log").text();
    container.until("the next line", || container.logs().contains("x | again\n"));
    assert_eq!(container.logs().matches("x | only once\n").count(), 1);
}

#[test]
fn the_user_sees_the_same_over_ssh() {
    let key = KeyPair::generate();
    let container = Run::new().env("SSH_PUBKEY", key.public()).boot();
    container.wait_until_ready();
    container.until("sshd", || key.ssh(&container, "user", &[], &["true"], "").code == Some(0));
    let shown = || key.ssh(&container, "user", &[], &["logtail.sh", "--no-follow", "-n", "1000"], "").text();
    for service in SERVICES {
        container.until(service, || shown().contains(&format!("Z {service} | ")));
    }
    let words = ["logtail", "supervisord", "--no-follow", "--json", "--grep", "spawned", "--since", "10m"];
    let json = key.ssh(&container, "user", &[], &words, "").text();
    for line in json.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).expect("one object a line");
        assert_eq!(entry["service"], "supervisord");
        assert!(entry["text"].as_str().expect("a text").contains("spawned"), "{line}");
    }
    assert!(json.lines().count() >= 4, "{json}");
}
