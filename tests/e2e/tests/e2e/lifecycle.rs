//! Stopping, restarting, orphans.

use harness::{Container, KeyPair, RunOptions};

#[test]
fn a_stop_ends_every_program_in_order_and_exits_with_0() {
    let key = KeyPair::generate();
    let container = RunOptions::new().env("SSH_PUBKEY", key.public()).start_and_wait();
    container.wait_until_ready();
    assert_eq!(container.stop(), 0);
    let logs = container.logs();
    let order: Vec<usize> = ["stopped: sshd", "stopped: caddy", "stopped: serviceportal"]
        .iter()
        .filter_map(|line| logs.find(line))
        .collect();
    assert!(order.len() == 3 && order.is_sorted(), "{logs}");
    assert!(!logs.contains("SIGKILL"), "{logs}");
}

/// State that a restart must not change: keys, accounts, shell files, logins, host keys, registry.
fn lasting(container: &Container) -> String {
    let script = "sha256sum /run/leonardo/authorized_keys /etc/passwd /etc/shadow /etc/group \
        /etc/sudoers.d/* /opt/leonardo/etc/* /etc/ssh/ssh_host_* /root/.bashrc /home/user/.bashrc /etc/profile.d/* \
        /etc/bash.bashrc; stat -c '%n %a %U %G' /root/.ssh /home/user /run/http_ports /opt/leonardo/etc/*; ls /run/http_ports";
    container.sh(script).text()
}

#[test]
fn two_restarts_change_nothing_twice() {
    let key = KeyPair::generate();
    let container = RunOptions::new().env("SSH_PUBKEY", key.public()).env("A", "it's").start_and_wait();
    let ssh = || key.ssh(&container, "user", &[], &["true"], "").code == Some(0);
    container.wait_until("sshd", ssh);
    let before = lasting(&container);
    for _ in 0..2 {
        container
            .write("/run/http_ports/8080", r#"{"service_name":"Old","listen_port":1,"proxy_port":8080}"#);
        container.restart();
        container.wait_for_portal();
        container.wait_until_ready();
        container.wait_until("sshd", ssh);
        assert_eq!(lasting(&container), before);
    }
}

#[test]
fn orphans_are_reaped() {
    let container = RunOptions::new().start_and_wait();
    container.sh("for i in $(seq 100); do (setsid sh -c 'sleep 0.0$((RANDOM % 10))' &) ; done").text();
    container.wait_until("the orphans to be gone", || {
        container.sh("ps -eo stat=,args= | grep -c -e '^Z' -e 'sleep 0[.]0'").stdout.starts_with(b"0")
    });
}

#[test]
fn programs_come_back_after_a_kill() {
    let container = RunOptions::new().start_and_wait();
    for program in ["serviceportal", "caddy"] {
        container.sh(&format!("kill -9 $(supervisorctl pid {program})")).text();
        container.wait_until("a new process", || {
            container.sh(&format!("supervisorctl status {program} | grep RUNNING")).code == Some(0)
        });
        container.wait_for_portal();
    }
    assert_eq!(container.sh("pidof caddy | wc -w").text(), "1", "no orphaned Caddy is left");
}
