//! Logs: in the container's own output, and at the prompt.

use harness::{Container, KeyPair, RunOptions};

/// Programs that log lines after every start.
const SERVICES: [&str; 4] = ["boot", "serviceportal", "sshd", "supervisord"];

/// Each log of boot and of services with the lines that it has.
fn written_lines(container: &Container) -> Vec<(String, usize)> {
    let logs = "/var/log/config.log /var/log/sync.log /var/log/preflight.log /var/log/provisioning.log \
                /var/log/debug.log /var/log/supervisor/*.log";
    let counted =
        container.sh(&format!("for log in {logs}; do echo $(basename $log .log) $(wc -l < $log); done"));
    let count = |line: &str| {
        let (service, lines) = line.split_once(' ').expect("a log and a number");
        (service.to_owned(), lines.parse().expect("a number"))
    };
    counted.text().lines().map(count).filter(|(service, _)| service != "logtail").collect()
}

#[test]
fn docker_logs_shows_boot_and_every_service_and_each_line_names_its_source() {
    let key = KeyPair::generate();
    let settings = RunOptions::new().env("SSH_PUBKEY", key.public()).env("WEB_ENABLE_AUTH", "flase");
    let container = settings.start_and_wait();
    container.wait_until_ready();
    container.write("/var/log/supervisor/quicktunnel-8188.log", "hello\n");
    // These two write only when something happens.
    container
        .sh("echo '(' >> /opt/leonardo/storage_monitor/etc/mappings.sh; echo '{' > /run/http_ports/1")
        .text();
    for service in SERVICES.iter().chain(&["init", "storagemonitor", "caddy", "quicktunnel-8188"]) {
        let begin = format!("{service} | ");
        container.wait_until(service, || container.logs().lines().any(|line| line.starts_with(&begin)));
    }
    // The files first: what they had then has to be shown, and what is shown twice never becomes equal.
    container.wait_until("each line of each log, once", || {
        let written = written_lines(&container);
        let logs = container.logs();
        written.iter().all(|(service, lines)| {
            let begin = format!("{service} | ");
            logs.lines().filter(|line| line.starts_with(&begin)).count() == *lines
        })
    });
    let logs = container.logs();
    let is_strange = |line: &&str| line.split_once(" | ").is_none_or(|(service, _)| service.contains(' '));
    assert_eq!(logs.lines().filter(is_strange).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn a_restart_repeats_no_line() {
    let container = RunOptions::new().start_and_wait();
    container.wait_until_ready();
    container.write("/var/log/supervisor/x.log", "only once\n");
    container.wait_until("the line", || container.logs().contains("x | only once\n"));
    container.restart();
    container.wait_until_ready();
    container.sh("echo again >> /var/log/supervisor/x.log").text();
    container.wait_until("the next line", || container.logs().contains("x | again\n"));
    assert_eq!(container.logs().matches("x | only once\n").count(), 1);
}

#[test]
fn the_user_sees_the_same_over_ssh() {
    let key = KeyPair::generate();
    let container = RunOptions::new().env("SSH_PUBKEY", key.public()).start_and_wait();
    container.wait_until_ready();
    container.wait_until("sshd", || key.ssh(&container, "user", &[], &["true"], "").code == Some(0));
    let shown = || key.ssh(&container, "user", &[], &["logtail.sh", "--no-follow", "-n", "1000"], "").text();
    for service in SERVICES {
        container.wait_until(service, || shown().contains(&format!("Z {service} | ")));
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
