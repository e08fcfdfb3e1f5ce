//! Programs of the boot path, executed by hand in a container that runs: hooks of providers do that.

use harness::{Container, KeyPair, RunOptions};

const PROGRAM: &str = "[program:mine]\ncommand=sleep 1000\nstartsecs=0\n";

/// State that must not change: login, registry, environment, journal, what supervisord is going to load, the user's program.
pub fn state(container: &Container) -> String {
    let script = "cat /opt/leonardo/etc/web_credentials.json /run/http_ports/*; readlink /run/leonardo/programs; \
        md5sum /opt/leonardo/etc/environment.sh /opt/caddy/etc/Caddyfile; ls -l /run/http_ports /run/portal /var/lib/portal /run/caddy; \
        grep -v -e '\"stage' -e '\"boot' /run/leonardo/boot.jsonl; ls /run; \
        for program in mine caddy serviceportal sshd storagemonitor rclone logtail; do supervisorctl pid $program; done";
    container.sh(script).text()
}

/// Boots a container with a service, a program of the user's and an SSH server.
fn boot(run: RunOptions, key: &KeyPair) -> Container {
    let container = run.env("SSH_PUBKEY", key.public()).env("WEB_PASSWORD", "first").start_and_wait();
    container.wait_until_ready();
    crate::portal::register(&container, "Mine", 18080, 8080, "true");
    container.write("/etc/supervisor/conf.d/mine.conf", PROGRAM);
    container.sh("supervisorctl update").text();
    container.wait_until("sshd", || key.ssh(&container, "user", &[], &["true"], "").code == Some(0));
    container
}

fn still_works(container: &Container, key: &KeyPair, before: &str) {
    container.sh("supervisorctl update").text();
    assert_eq!(state(container), before);
    assert_eq!(container.web(1111).log_in("user", "first").status, 303);
    key.ssh(container, "user", &[], &["true"], "").text();
}

#[test]
fn init_in_a_running_container_compares_and_changes_nothing() {
    let key = KeyPair::generate();
    let container = boot(RunOptions::new().env("WORKSPACE_SYNC", "maybe").env("A.B", "1"), &key);
    let before = state(&container);
    let agrees = container.exec(&["init.sh", "WEB_USER=user", "WEB_PASSWORD=first", "WORKSPACE=/workspace"]);
    assert_eq!(agrees.text(), "");
    let differs = container.exec(&["init.sh", "WEB_PASSWORD=sec0nd", "EXTRA=sec1et", "SSH_PORT=2222"]);
    assert_eq!(
        differs.failure(1),
        "init | warning: supervisord is already running with different settings; nothing was changed. To apply each setting:\n\
         init | warning: EXTRA: for new sessions: env-store set EXTRA=…\n\
         init | warning: SSH_PORT: create a new container with: docker run --env SSH_PORT=…\n\
         init | warning: WEB_PASSWORD: sudo set-web-credentials user\n"
    );
    let refused = container.exec(&["setpriv", "--reuid", "user", "init.sh"]);
    assert!(refused.failure(1).contains("hint: only root can compare settings: sudo init.sh"), "{refused:?}");
    still_works(&container, &key, &before);
    container.sh("echo changed | set-web-credentials ada").text();
    container.exec(&["init.sh"]).text();
    assert_eq!(container.web(1111).log_in("ada", "changed").status, 303, "a change made inside stays");
}

#[test]
fn a_running_supervisord_is_found_behind_another_first_process_and_after_a_restart() {
    let wrapper = "trap 'kill $!; wait' TERM; init.sh & wait";
    let container = RunOptions::new().command(&["bash", "-c", wrapper]).start_and_wait();
    assert_ne!(container.exec(&["cat", "/proc/1/comm"]).text(), "supervisord");
    for _ in 0..2 {
        container.write("/run/http_ports/8080", r#"{"service_name":"A","listen_port":1,"proxy_port":8080}"#);
        container.exec(&["init.sh"]).text();
        assert_eq!(container.exec(&["ls", "/run/http_ports"]).text(), "8080");
        container.restart();
        container.wait_for_portal();
    }
    // A stale pid file and socket, and no supervisord: this is the start.
    let container = RunOptions::new().command(&["sleep", "1000"]).start();
    container.sh("echo 1 > /run/supervisord.pid; touch /run/supervisor.sock").text();
    container.background(&["init.sh"]);
    container.wait_for_portal();
    container.exec(&["init.sh"]).text();
}

#[test]
fn a_second_instance_of_a_program_is_refused_or_harmless() {
    let key = KeyPair::generate();
    let container = boot(RunOptions::new(), &key);
    let before = state(&container);
    let logged = container.logs().matches("spawned: 'mine'").count();
    for (words, code, says) in [
        (&["caddy-run"][..], Some(1), "another process is using /run/caddy"),
        (&["service-portal"], Some(1), "another process is using /var/lib/portal"),
        (&["setpriv", "--reuid", "caddy", "caddy-run"], Some(1), "another process is using /run/caddy"),
        (
            &["setpriv", "--reuid", "portal", "service-portal"],
            Some(1),
            "another process is using /var/lib/portal",
        ),
        (&["rclone-run"], Some(1), "another process is using /run/leonardo/rclone"),
        (&["sshd-run"], Some(255), "Address already in use"),
        (&["storage-monitor", "run"], Some(1), "another storage-monitor is running"),
        (&["logtail", "follow", "--to-parent"], Some(1), "another logtail follow is running"),
        (&["supervisord"], Some(2), "For help, use"),
        (&["sh", "-lc", "LEONARDO_AUTOSTART_SSHD=true exec supervisord"], Some(2), "already listening"),
        (&["fix-perms"], Some(0), ""),
        (&["workspace-sync", "run"], Some(0), ""),
        (&["provision", "run"], Some(0), ""),
        (&["boot", "run"], Some(0), ""),
        (&["init.sh"], Some(0), ""),
    ] {
        let output = container.exec(&[&["timeout", "30"], words].concat());
        assert_eq!(output.code, code, "{words:?}: {}", output.stderr);
        assert!(output.stderr.contains(says), "{words:?}: {}", output.stderr);
    }
    still_works(&container, &key, &before);
    assert_eq!(container.logs().matches("spawned: 'mine'").count(), logged, "a line is shown once");
}
