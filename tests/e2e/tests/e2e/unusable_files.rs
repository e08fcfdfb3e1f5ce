//! Files of a mount or of another account that are none, or not what is expected: the container starts all the same.

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::{Container, KeyPair, RunOptions};

use crate::portal::problems;

/// A FIFO on the host.
fn fifo(directory: &Path, name: &str) -> std::path::PathBuf {
    let path = directory.join(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

/// Problems that the portal shows, one a line.
fn shown(container: &Container, password: &str) -> String {
    problems(&container.web(1111).basic("user", password)).join("\n")
}

/// Each problem is in the container's log and on the page.
#[track_caller]
fn reports(container: &Container, shown: &str, problems: &[&str]) {
    let logs = container.logs();
    for problem in problems {
        assert!(logs.contains(problem), "{problem}\n{logs}");
        assert!(shown.contains(problem), "{problem}\n{shown}");
    }
}

#[test]
fn whatever_is_mounted_in_the_place_of_a_file_the_container_starts_and_reports_it() {
    let host = tempfile::tempdir().unwrap();
    let sparse = host.path().join("sparse");
    fs::File::create(&sparse).unwrap().set_len(40 << 30).unwrap();
    let container = RunOptions::new()
        .env("WEB_ENABLE_HTTPS", "false")
        .env("WEB_PASSWORD", "sesame")
        .mount(&fifo(host.path(), "own"), "/root/.ssh/authorized_keys", "")
        .mount(&sparse, "/root/.ssh/authorized_keys_mount", "ro")
        .mount(host.path(), "/opt/leonardo/bin/provisioning.sh", "ro")
        .mount(&fifo(host.path(), "map"), "/opt/leonardo/storage_monitor/etc/mappings.sh", "")
        .mount(host.path(), "/opt/leonardo/etc/web_credentials.json", "ro")
        .mount(&fifo(host.path(), "store"), "/opt/leonardo/etc/environment.sh", "")
        .mount(&fifo(host.path(), "log"), "/var/log/sync.log", "")
        .mount(&fifo(host.path(), "service"), "/run/http_ports/8188", "")
        .start_and_wait();
    container
        .wait_until("the end of late boot", || container.sh("test -e /run/container_config").code == Some(1));
    container.wait_until("the storage monitor", || shown(&container, "sesame").contains("mappings.sh"));
    reports(
        &container,
        &shown(&container, "sesame"),
        &[
            "/root/.ssh/authorized_keys: it is a FIFO, not a regular file; ignored",
            "/root/.ssh/authorized_keys_mount: it is larger than 1.0 MB; ignored",
            "web_credentials.json: it is a directory, not a regular file; creating a new login",
            "saved to /run/leonardo/web_credentials.json instead; it is lost when the container is removed",
            "environment.sh: it is a FIFO, not a regular file",
            "mappings.sh: it is a FIFO, not a regular file",
        ],
    );
    let report = container.exec(&["boot", "report"]);
    assert!(
        String::from_utf8_lossy(&report.stdout).contains("it is a directory, not a regular file"),
        "{report:?}"
    );
    // Another login can be set all the same.
    let set = container.exec(&["set-web-credentials", "user", "other"]);
    let said = set.failure(1);
    assert!(said.contains("the login was changed, but the environment store was not: "), "{said}");
    let page = container.web(1111).basic("user", "other").get("/").ok_text();
    assert!(page.is_some_and(|page| page.contains("Services")));
}

#[test]
fn a_certificate_that_is_a_device_leaves_https_with_one_of_its_own() {
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("key.pem"), "text").unwrap();
    let container = RunOptions::new()
        .env("WEB_ENABLE_HTTPS", "true")
        .mount(&host.path().join("key.pem"), "/opt/caddy/tls/key.pem", "ro")
        .mount(Path::new("/dev/zero"), "/opt/caddy/tls/cert.pem", "")
        .start();
    container.wait_until("https", || {
        container.sh("curl --insecure --fail --silent https://127.0.0.1:1111/leonardo/health-check").stdout
            == b"ok\n"
    });
    let problem = "cert.pem: it is a device, not a regular file; using a self-signed certificate";
    assert!(container.logs().contains(problem), "{}", container.logs());
}

#[test]
fn what_the_portals_account_does_to_its_file_costs_no_later_start() {
    let container = RunOptions::new().env("WEB_PASSWORD", "sesame").start_and_wait();
    let file = "/opt/leonardo/etc/web_credentials.json";
    let with_nul = container.exec(&["cat", file]).text().replace("sesame", "a\\u0000b");
    let write = format!("printf %s '{with_nul}' > {file}");
    for (damage, refusal) in [
        ("truncate -s 3G /opt/leonardo/etc/web_credentials.json", "it is larger than 65.5 kB"),
        ("head -c 3000000 /dev/zero > /opt/leonardo/etc/web_credentials.json", "it is larger than 65.5 kB"),
        ("printf '\\0' > /opt/leonardo/etc/web_credentials.json", "not a login"),
        (write.as_str(), "web_password contains control characters"),
    ] {
        let portal =
            ["setpriv", "--reuid", "portal", "--regid", "portal", "--clear-groups", "bash", "-c", damage];
        container.exec(&portal).text();
        container.restart();
        container.wait_for_portal();
        reports(&container, &shown(&container, "sesame"), &[refusal]);
    }
}

#[test]
fn what_the_web_facing_accounts_leave_in_place_of_their_sockets_costs_no_later_start() {
    let container = RunOptions::new().start_and_wait();
    for (account, socket) in [
        ("portal", "/run/portal/portal.sock"),
        ("portal", "/run/portal-control/control.sock"),
        ("caddy", "/run/caddy/admin.sock"),
    ] {
        let planted = format!("rm -f {socket} && mkdir -p {socket}/x");
        let words =
            ["setpriv", "--reuid", account, "--regid", account, "--clear-groups", "bash", "-c", &planted];
        container.exec(&words).text();
    }
    container.restart();
    container.wait_for_portal();
    assert_eq!(container.exec(&["boot", "health"]).code, Some(0));
    assert_eq!(container.exec(&["portal-link"]).code, Some(0), "the control socket");
}

#[test]
fn a_password_that_no_variable_could_carry_is_reported_and_another_is_made() {
    let container = RunOptions::new().env("WEB_PASSWORD", "p".repeat(100_000)).start_and_wait();
    let [_, password, _] = container.login();
    assert!(password.len() < 100, "{}", password.len());
    let problem = "WEB_PASSWORD: the value is longer than 4,096 bytes; ignored";
    reports(&container, &shown(&container, &password), &[problem]);
}

#[test]
fn a_read_only_file_at_a_place_that_init_writes_to_is_reported() {
    let host = tempfile::tempdir().unwrap();
    let file = host.path().join("file");
    fs::write(&file, "export A='1'\n").unwrap();
    let key = KeyPair::generate();
    let container = RunOptions::new()
        .env("SSH_PUBKEY", key.public())
        .env("WEB_PASSWORD", "sesame")
        .mount(&file, "/opt/leonardo/etc/environment.sh", "ro")
        .mount(&file, "/etc/sudoers.d/leonardo-user", "ro")
        .mount(&file, "/var/log/sync.log", "ro")
        .mount(&file, "/opt/caddy/etc/problem.txt", "ro")
        .start_and_wait();
    container.wait_until("sshd", || key.ssh(&container, "root", &[], &["true"], "").code == Some(0));
    reports(
        &container,
        &shown(&container, "sesame"),
        &["cannot write /opt/leonardo/etc/environment.sh", "cannot write /etc/sudoers.d/leonardo-user"],
    );
}

#[test]
fn a_mounted_list_of_accounts_ends_the_start_with_what_to_do() {
    let host = tempfile::tempdir().unwrap();
    let accounts = host.path().join("passwd");
    fs::write(&accounts, "root:x:0:0:root:/root:/bin/bash\n").unwrap();
    let ended = RunOptions::new().mount(&accounts, "/etc/passwd", "ro").run_to_end();
    let said = ended.failure(1);
    assert!(said.contains("do not mount /etc/passwd: "), "{said}");
}
