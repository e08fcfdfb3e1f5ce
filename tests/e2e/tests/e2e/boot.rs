//! Programs that run after a start, and its stages.

use harness::{KeyPair, RunOptions};

#[test]
fn every_program_is_as_expected() {
    let key = KeyPair::generate();
    let container = RunOptions::new().env("SSH_PUBKEY", key.public()).start_and_wait();
    container.wait_until_ready();
    let states = || {
        let status = container.exec(&["supervisorctl", "status"]);
        String::from_utf8_lossy(&status.stdout)
            .lines()
            .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    let expected = [
        "boot EXITED",
        "caddy RUNNING",
        "cloudflared STOPPED",
        "logtail RUNNING",
        "processcontrol RUNNING",
        "quicktunnel STOPPED",
        "rclone RUNNING",
        "serviceportal RUNNING",
        "sshd RUNNING",
        "storagemonitor RUNNING",
        "wanaddress STOPPED",
        // Runs only while programs write to a tree that was switched.
        "workspacesync STOPPED",
    ];
    container.wait_until("all programs", || states() == expected);
    let log = container.sh("cat /var/log/supervisor/*.log").text();
    assert!(!log.contains("FATAL") && !log.contains("BACKOFF"), "{log}");
    assert_eq!(container.exec(&["cat", "/proc/1/comm"]).text(), "supervisord");
}

#[test]
fn markers_show_how_far_the_boot_is() {
    let container = RunOptions::new().start_and_wait();
    container.wait_until_ready();
    for stage in ["sync", "permissions"] {
        container.exec(&["boot", "wait", stage]).text();
    }
    container.sh("ls /run/workspace_sync /run/container_config").failure(2);
    let journal = container.exec(&["cat", "/run/leonardo/boot.jsonl"]).text();
    let events: Vec<serde_json::Value> =
        journal.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
    let stages = ["permissions", "sync", "preflight", "provisioning", "programs", "ready"];
    let of = |kind: &str| -> Vec<&str> {
        let events = events.iter().filter(|event| event["event"] == kind);
        events.filter_map(|event| event["stage"].as_str()).collect()
    };
    assert_eq!(of("stage_started"), stages);
    let mut in_order = of("stage_ended");
    in_order.retain(|stage| *stage != "sync" && *stage != "permissions");
    assert_eq!(in_order, stages[2..]);
    // supervisorctl calls it an abnormal termination when a program ends before it has looked; the journal knows.
    container.sh("supervisorctl start boot");
    let ends = "grep -c '\"event\":\"stage_ended\",\"stage\":\"ready\"' /run/leonardo/boot.jsonl";
    container.wait_until("the second boot", || container.sh(ends).stdout.starts_with(b"2"));
}

#[test]
fn a_dead_resolver_does_not_matter() {
    let container = RunOptions::new().option("--dns").option("192.0.2.1").start_and_wait();
    container.wait_until_ready();
}
