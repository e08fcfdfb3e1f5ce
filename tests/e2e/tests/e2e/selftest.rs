//! `selftest`: a healthy container passes, each fault is named with its remedy, and a report has no secrets.

use std::fs;
use std::time::Duration;

use faultfs::{Fault as DiskFault, FaultFs};
use harness::{Container, KeyPair, RunOptions, Volume};
use serde_json::Value;

/// What is not as it should be: check, verdict, what was seen, remedy.
fn faults(container: &Container, checks: &[&str]) -> Vec<[String; 4]> {
    let output = container.exec(&[&["selftest", "--json"], checks].concat());
    let result: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{} {}", output.stderr, String::from_utf8_lossy(&output.stdout)));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for check in result["checks"].as_array().expect("checks") {
        for finding in check["findings"].as_array().expect("findings") {
            let fault = [&check["name"], &finding["verdict"], &finding["seen"], &finding["remedy"]].map(text);
            if !["pass", "skip"].contains(&fault[1].as_str()) {
                found.push(fault);
            }
        }
    }
    let is_ok = found.iter().all(|fault| fault[1] != "fail");
    assert_eq!((&result["ok"], output.code), (&Value::from(is_ok), Some(i32::from(!is_ok))));
    found
}

/// A fault: how it is made, its check, and how it ends. `…` at the end of what is seen or of a remedy stands for any text.
struct Fault {
    make: &'static str,
    check: &'static str,
    verdict: &'static str,
    seen: &'static str,
    remedy: &'static str,
    end: &'static str,
}

const ANEW: &str = "rm /etc/ssh/ssh_host_ed25519_key*; supervisorctl restart sshd";

const FAULTS: [Fault; 23] = [
    Fault {
        make: "supervisorctl stop caddy",
        check: "programs",
        verdict: "warn",
        seen: "caddy: the program was stopped",
        remedy: "supervisorctl start caddy",
        end: "true",
    },
    Fault {
        make: "true",
        check: "gate",
        verdict: "fail",
        seen: "port 1111 does not answer: nothing listens",
        remedy: "supervisorctl restart caddy",
        end: "supervisorctl start caddy",
    },
    Fault {
        make: r#"echo '{"service_name":"UI","listen_port":18188,"proxy_port":8188}' > /run/http_ports/8188"#,
        check: "services",
        verdict: "fail",
        seen: "UI (port 8188): nothing listens on 127.0.0.1:18188",
        remedy: "start its program, or remove the service: rm /run/http_ports/8188",
        end: "rm /run/http_ports/8188",
    },
    Fault {
        make: "/opt/caddy/bin/caddy file-server --root /usr/share/doc --listen 0.0.0.0:8090 > /dev/null 2>&1 & \
               until curl -so /dev/null 127.0.0.1:8090; do read -t 0.05 <> <(:) || true; done",
        check: "ports",
        verdict: "fail",
        seen: "caddy (process …",
        remedy: "let it listen on 127.0.0.1; behind the login: service-run --help",
        end: "pkill -f 'caddy file-server'",
    },
    Fault {
        make: "chmod 0644 /opt/leonardo/etc/environment.sh",
        check: "secrets",
        verdict: "fail",
        seen: "/opt/leonardo/etc/environment.sh has mode 0644, at most 0640 is safe: everyone can use it",
        remedy: "sudo chown root:leonardo /opt/leonardo/etc/environment.sh; sudo chmod 0640 /opt/leonardo/etc/environment.sh",
        end: "chmod 0640 /opt/leonardo/etc/environment.sh",
    },
    Fault {
        make: "install -m 0644 -g cloudflared /dev/null /run/cloudflared/token",
        check: "secrets",
        verdict: "fail",
        seen: "/run/cloudflared/token has mode 0644, at most 0640 is safe: everyone can use it",
        remedy: "sudo chown root:cloudflared /run/cloudflared/token; sudo chmod 0640 /run/cloudflared/token",
        end: "rm /run/cloudflared/token",
    },
    Fault {
        make: "install -m 4755 /usr/bin/true /opt/tool",
        check: "permissions",
        verdict: "warn",
        seen: "/opt/tool runs with its owner's rights (set-user-ID)",
        remedy: "sudo chmod u-s /opt/tool",
        end: "rm /opt/tool",
    },
    Fault {
        make: "chmod o+w /opt/leonardo/bin/caddy-run",
        check: "permissions",
        verdict: "fail",
        seen: "every account can change /opt/leonardo/bin/caddy-run, which root runs or reads",
        remedy: "sudo chmod o-w /opt/leonardo/bin/caddy-run",
        end: "sudo chmod o-w /opt/leonardo/bin/caddy-run",
    },
    Fault {
        make: "/usr/sbin/sshd -p 2299 -o PidFile=/root/sshd.pid",
        check: "ports",
        verdict: "fail",
        seen: "sshd (process …",
        remedy: "kill …",
        end: "kill $(cat /root/sshd.pid); while [ -e /root/sshd.pid ]; do read -t 0.05 <> <(:) || true; done",
    },
    Fault {
        make: "chmod 000 /opt/leonardo/etc/web_credentials.json",
        check: "login",
        verdict: "fail",
        seen: "the portal cannot read /opt/leonardo/etc/web_credentials.json: from its next start on, no one can log in",
        remedy: "sudo chown portal /opt/leonardo/etc/web_credentials.json; sudo chmod 0600 /opt/leonardo/etc/web_credentials.json",
        end: "sudo chown portal /opt/leonardo/etc/web_credentials.json; sudo chmod 0600 /opt/leonardo/etc/web_credentials.json",
    },
    Fault {
        make: "chmod 666 /etc/ssh/ssh_host_ed25519_key",
        check: "identity",
        verdict: "fail",
        seen: "/etc/ssh/ssh_host_ed25519_key is open to other accounts (mode 0666): sshd refuses it",
        remedy: "chmod 0600 /etc/ssh/ssh_host_ed25519_key; supervisorctl restart sshd",
        end: "chmod 0600 /etc/ssh/ssh_host_ed25519_key; supervisorctl restart sshd",
    },
    Fault {
        make: "mkdir /run/http_ports/8099",
        check: "services",
        verdict: "fail",
        seen: "/run/http_ports/8099 is ignored: …",
        remedy: "rm -r /run/http_ports/8099",
        end: "rm -r /run/http_ports/8099",
    },
    Fault {
        make: "mv /opt/leonardo/etc/web_credentials.json /root/",
        check: "login",
        verdict: "fail",
        seen: "/opt/leonardo/etc/web_credentials.json is missing: no one can log in",
        remedy: "restart the container: docker restart NAME",
        end: "mv /root/web_credentials.json /opt/leonardo/etc/",
    },
    Fault {
        make: "cp -a /etc/ssh /root/ssh-before; echo broken > /etc/ssh/ssh_host_ed25519_key",
        check: "identity",
        verdict: "fail",
        seen: "/etc/ssh/ssh_host_ed25519_key cannot be read by ssh-keygen",
        remedy: ANEW,
        end: "rm /etc/ssh/ssh_host_ed25519_key*",
    },
    // The key of another container, in part.
    Fault {
        make: "ssh-keygen -q -N '' -t ed25519 -f /root/other; cp -a /root/ssh-before/ssh_host_ed25519_key /etc/ssh/; \
               cp /root/other.pub /etc/ssh/ssh_host_ed25519_key.pub",
        check: "identity",
        verdict: "fail",
        seen: "/etc/ssh/ssh_host_ed25519_key and /etc/ssh/ssh_host_ed25519_key.pub are not one key",
        remedy: ANEW,
        end: "cp -a /root/ssh-before/ssh_host_ed25519_key* /etc/ssh/",
    },
    Fault {
        make: "cp -a /var/lib/leonardo/container /root/; sed -i 1s/.*/another/ /var/lib/leonardo/container",
        check: "identity",
        verdict: "fail",
        seen: "the state in this container belongs to another one",
        remedy: "restart the container: docker restart NAME",
        end: "cp -a /root/container /var/lib/leonardo/",
    },
    Fault {
        make: "mv /workspace/environments/micromamba-base-image/conda-meta/history /root/",
        check: "sync",
        verdict: "warn",
        seen: "micromamba: files of the image that are missing in the copy: 1",
        remedy: "unless you removed them: sudo workspace-sync verify micromamba names them; \
                 copy them from /opt/.image/micromamba",
        end: "sudo workspace-sync verify micromamba | grep -q 'missing: \"conda-meta/history\"' && \
              cp -a /opt/.image/micromamba/conda-meta/history /workspace/environments/micromamba-base-image/conda-meta/",
    },
    Fault {
        make: "printf '[program:crash]\\ncommand=/bin/false\\nstartretries=0\\n' > /etc/supervisor/conf.d/crash.conf; \
               supervisorctl update; supervisorctl start crash",
        check: "programs",
        verdict: "fail",
        seen: "crash: the program is down (exit code 1); supervisord no longer restarts it",
        remedy: "logtail crash -n 50 --no-follow; then: supervisorctl start crash",
        end: "rm /etc/supervisor/conf.d/crash.conf; supervisorctl update",
    },
    Fault {
        make: "printf '[program:app]\\ncommand=service-run --name App --port 8080 -- sh -c \"exit 3\" {listen}\\nstartretries=1000000\\n' \
               > /etc/supervisor/conf.d/app.conf; supervisorctl update; until grep -q BACKOFF /run/leonardo/programs.json; do sleep 0.05; done",
        check: "services",
        verdict: "fail",
        seen: "App (port 8080): exit code 3; supervisord restarts it",
        remedy: "logtail app -n 50 --no-follow",
        end: "rm /etc/supervisor/conf.d/app.conf; supervisorctl update; rm /run/http_ports/8080",
    },
    Fault {
        make: "cd /opt/leonardo/bin; mv direct-url /root/; printf '#!/bin/sh\\necho direct-url 0.0.9\\n' > direct-url; \
               chmod 755 direct-url",
        check: "versions",
        verdict: "fail",
        seen: "direct-url reports \"direct-url 0.0.9\"…",
        remedy: "use an unchanged image: docker pull IMAGE, then create the container anew",
        end: "mv /root/direct-url /opt/leonardo/bin/",
    },
    Fault {
        make: "mknod /dev/nvidia0 c 195 0",
        check: "gpu",
        verdict: "fail",
        seen: "device files of NVIDIA GPUs are here, and the driver is not",
        remedy: "start the container with --gpus all, on a machine with the NVIDIA Container Toolkit",
        end: "rm /dev/nvidia0",
    },
    Fault {
        make: "cp -a /opt/caddy/share/base_config /root/; sed -i /admin/d /opt/caddy/share/base_config; supervisorctl restart caddy; \
               until [ -s /opt/caddy/etc/problem.txt ]; do read -t 0.05 <> <(:) || true; done",
        check: "proxy",
        verdict: "fail",
        seen: "/opt/caddy/share/base_config: `admin unix//run/caddy/admin.sock` is missing…",
        remedy: "correct the file in /opt/caddy/share, then: supervisorctl restart caddy",
        end: "cp -a /root/base_config /opt/caddy/share/; supervisorctl restart caddy; \
              until [ ! -s /opt/caddy/etc/problem.txt ]; do read -t 0.05 <> <(:) || true; done",
    },
    Fault {
        make: "touch /run/container_config",
        check: "boot",
        verdict: "fail",
        seen: "/run/container_config exists, although provisioning has ended: scripts wait for it",
        remedy: "supervisorctl start boot",
        end: "rm /run/container_config",
    },
];

#[test]
fn a_healthy_container_passes_and_each_fault_is_named_with_its_remedy() {
    let (volume, key, directories) =
        (Volume::empty(), KeyPair::generate(), [(); 2].map(|()| tempfile::tempdir().unwrap()));
    let server = FaultFs::mount(directories[0].path(), directories[1].path()).unwrap();
    let run = RunOptions::new().mount(&volume.path(), "/workspace", "").env("WORKSPACE_SYNC", "true");
    let run = run.mount(server.path(), "/workspace/environments", "");
    // docker exec passes on what the container was created with, and not what init was given.
    let run = run.env("SSH_PORT", "1111").env("WORKSPACE", "/elsewhere").env("WEB_ENABLE_HTTPS", "true");
    let run = run.command(&["init.sh", "SSH_PORT=22", "WORKSPACE=/workspace", "WEB_ENABLE_HTTPS=false"]);
    let container = run.env("SSH_PUBKEY", key.public()).start_and_wait();
    container.wait_until_ready();
    container.exec(&["boot", "wait", "sync", "--timeout", "60s"]).text();
    container.wait_until("every program", || faults(&container, &["programs", "ssh"]).is_empty());
    let none: Vec<[String; 4]> = Vec::new();
    assert_eq!(faults(&container, &[]), none, "a healthy container");
    assert!(container.exec(&["su", "-", "user", "-c", "selftest"]).text().ends_with("0 failed, 5 skipped"));
    container.exec(&["selftest", "boot", "--junit", "/tmp/selftest.xml"]).text();
    let xml = container.exec(&["cat", "/tmp/selftest.xml"]).text();
    assert!(xml.contains("<testsuite name=\"selftest\" tests=\"1\" failures=\"0\""), "{xml}");

    for Fault { make, check, verdict, seen, remedy, end } in &FAULTS {
        container.sh(&format!("{make}; true")).text();
        let found = || faults(&container, &[check]);
        container.wait_until(make, || !found().is_empty());
        let [found] = <[_; 1]>::try_from(found()).unwrap_or_else(|found| panic!("{make}: {found:?}"));
        let is = |found: &str, expected: &str| match expected.strip_suffix('…') {
            Some(start) => found.starts_with(start),
            None => found == expected,
        };
        assert!(is(&found[2], seen) && is(&found[3], remedy), "{make}: {found:?}");
        assert_eq!([&found[0], &found[1]], [check, verdict], "{make}");
        container.sh(end).text();
    }
    let workspace = |seen: &str, remedy: &str| {
        let fault = ["workspace", "fail", seen, remedy].map(str::to_owned);
        assert_eq!(faults(&container, &["workspace"]), [fault]);
    };
    volume.fill();
    workspace(
        "/workspace is full: No space left on device (os error 28)",
        "delete files; to find large directories, run: du -xhd2 /workspace | sort -h | tail",
    );
    volume.grow();
    volume.remount("ro");
    workspace(
        "/workspace is mounted read-only",
        "mount it writable: docker run -v VOLUME:/workspace, without :ro",
    );
    volume.remount("rw");
    container.wait_until("the end of all faults", || faults(&container, &[]).is_empty());

    // A server that is silent, as one behind a broken network is.
    server.inject(DiskFault::Slow(Duration::from_secs(30)));
    let hung = [
        "sync",
        "fail",
        "it did not end in 10 seconds: /workspace/environments (fuse) does not respond",
        "check the server and the network of /workspace/environments; then restart the container: docker restart NAME",
    ];
    assert_eq!(faults(&container, &[]), [hung.map(str::to_owned)]);
    server.clear();
}

#[test]
fn a_container_that_init_has_not_started_is_told_so() {
    let output = RunOptions::new().command(&["selftest", "boot", "gate"]).run_to_end();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        (output.code, text.as_str()),
        (
            Some(1),
            "boot          FAIL  the container was not started by init: its command is another one\n\
             \u{20}                   fix: init.sh --detach\n\
             gate          skip  the container was not started by init\n\
             \n\
             0 passed, 0 warnings, 1 failed, 1 skipped\n"
        )
    );
}

const PRIVATE_KEY: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW";

#[test]
fn a_report_has_what_failed_and_no_secret() {
    let secrets = [
        ("WEB_PASSWORD", "web-password-5512"),
        ("WEB_TOKEN", "web-token-7791"),
        ("CF_TUNNEL_TOKEN", "tunnel-token-3318"),
        ("RCLONE_CONFIG_S3_PASS", "rclone-pass-9920"),
        ("HF_TOKEN", "hf_user-token-4451"),
        ("PIP_INDEX_URL", "https://ada:index-password-8807@pypi.example/simple"),
    ];
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("setup.sh");
    let printed = "#!/bin/bash\necho \"key ghp_planted0123456789abcdef in my own words\"\nexit 3\n";
    fs::write(&script, printed).unwrap();
    let run = secrets.iter().fold(RunOptions::new(), |run, (name, value)| run.env(name, *value));
    let run = run.env("SSH_PORT", "many").mount(&script, "/opt/leonardo/bin/provisioning.sh", "ro");
    let container = run.start_and_wait();
    container.wait_until_ready();
    let provisioning = [
        "provisioning",
        "fail",
        "the script failed with exit code 3; last output: key ghp_planted0123456789abcdef in my own words",
        "logtail provisioning; to run it again: supervisorctl start boot",
    ];
    assert_eq!(faults(&container, &["provisioning"]), [provisioning.map(str::to_owned)]);
    // A program that prints everything, and ends.
    container.write(
        "/root/leak",
        &format!(
            "#!/bin/bash\nenv\necho \"Authorization: Basic $WEB_PASSWORD_B64\"\necho -n user:$WEB_PASSWORD | base64\n\
             echo '-----BEGIN OPENSSH PRIVATE KEY-----'\necho {PRIVATE_KEY}\necho QyNTUxOQAAACBh\n\
             echo '-----END OPENSSH PRIVATE KEY-----'\necho 'last words of the program'\nexit 1\n"
        ),
    );
    let program = "[program:leak]\ncommand=/bin/bash /root/leak\nstartretries=0\nredirect_stderr=true\n";
    container.write("/etc/supervisor/conf.d/leak.conf", program);
    container.sh("supervisorctl update; supervisorctl start leak; true").text();
    container.wait_until("its end", || {
        faults(&container, &["programs"]).iter().any(|fault| fault[2].starts_with("leak: "))
    });
    let created = container.sh("cd /tmp && selftest --report").text();
    assert_eq!(container.sh(&format!("stat -c %a /tmp/{created}")).text(), "600");
    let report = container.sh(&format!("cat /tmp/{created}")).text();
    let again = container.exec(&["selftest", "--report", &format!("/tmp/{created}")]);
    assert!(again.failure(1).contains("hint: name another file"), "{}", again.stderr);
    let encoded = container.sh("printf '%s' user:web-password-5512 | base64").text();
    let values = secrets.iter().map(|(_, value)| *value);
    let others = [
        "index-password-8807",
        PRIVATE_KEY,
        "QyNTUxOQAAACBh",
        "ghp_planted",
        "my own words",
        encoded.as_str(),
    ];
    for secret in values.chain(others) {
        assert!(!report.contains(secret), "{secret} is in the report:\n{report}");
    }
    for part in [
        "last words of the program",
        "SSH_PORT: \"many\"",
        "HF_TOKEN",
        "== mounts ==",
        "exit code 3",
        "caddy",
    ] {
        assert!(report.contains(part), "{part} is not in the report:\n{report}");
    }
}
