//! Remotes with the real rclone: mounted, and never in the way of a start, a stop or a listing of the workspace.

use std::time::{Duration, Instant};

use harness::{Container, RunOptions};

const SERVER: &str = "rclone serve webdav";
const SECRET: &str = "secret-bearer-token";

pub fn with_fuse(run: RunOptions) -> RunOptions {
    let options = ["--device=/dev/fuse", "--cap-add=SYS_ADMIN", "--security-opt=apparmor=unconfined"];
    options.into_iter().fold(run, RunOptions::option)
}

/// A container with a local remote, `local`, and one of a WebDAV server inside, `dav`.
pub fn with_remotes(run: RunOptions) -> RunOptions {
    run.env("RCLONE_CONFIG_LOCAL_TYPE", "alias")
        .env("RCLONE_CONFIG_LOCAL_REMOTE", "/srv/local")
        .env("RCLONE_CONFIG_DAV_TYPE", "webdav")
        .env("RCLONE_CONFIG_DAV_URL", "http://127.0.0.1:9999")
        .env("RCLONE_CONFIG_DAV_BEARER_TOKEN", SECRET)
}

fn start_server(container: &Container) {
    container.sh("mkdir -p /srv/local /srv/dav; echo one > /srv/dav/one").text();
    let command = format!("exec {SERVER} /srv/dav --addr 127.0.0.1:9999 > /dev/null 2>&1");
    container.background(&["bash", "-c", &command]);
    container.wait_until("the server", || container.sh("curl -s http://127.0.0.1:9999").code == Some(0));
}

fn signal(container: &Container, signal: &str, command: &str) {
    container.sh(&format!("pkill -{signal} -f '^[^ ]*{command}'")).text();
}

/// Waits until a remote is mounted, without accessing it.
#[track_caller]
fn wait_for_mount(container: &Container, name: &str) {
    container.wait_until(name, || is_mounted(container, name));
}

pub fn is_mounted(container: &Container, name: &str) -> bool {
    container.sh(&format!("grep -c ' /workspace/remote/{name} .* fuse.rclone ' /proc/self/mountinfo")).stdout
        == b"1\n"
}

#[track_caller]
fn boot() -> Container {
    let container = with_remotes(with_fuse(RunOptions::new())).start_and_wait();
    start_server(&container);
    wait_for_mount(&container, "local");
    wait_for_mount(&container, "dav");
    container
}

/// A margin for a busy machine; a listing that waits for a remote takes minutes, or never ends.
#[track_caller]
fn lists_the_workspace(container: &Container) {
    let started = Instant::now();
    assert!(container.sh("ls -l /workspace; ls /workspace/remote").text().ends_with("dav\nlocal"));
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[track_caller]
fn stops(container: &Container) {
    assert_eq!(container.stop(), 0);
}

#[test]
fn remotes_are_read_and_written_and_their_servers_may_come_and_go() {
    let container = boot();
    let as_user = |script: &str| container.exec(&["su", "user", "-c", script]);
    for name in ["local", "dav"] {
        let at = format!("/workspace/remote/{name}");
        as_user(&format!("echo first > {at}/new; echo second >> {at}/new; mkdir {at}/folder")).text();
        assert_eq!(as_user(&format!("cat {at}/new")).text(), "first\nsecond");
        assert_eq!(container.sh(&format!("stat -c '%U %G %a' {at}/new")).text(), "user user 664");
        assert!(
            container
                .exec(&["setpriv", "--reuid=nobody", "--clear-groups", "touch", &format!("{at}/x")])
                .code
                != Some(0)
        );
        let uploaded = format!("cat /srv/{name}/new && ls -d /srv/{name}/folder");
        container.wait_until("the upload", || container.sh(&uploaded).stdout.starts_with(b"first\nsecond\n"));
    }
    signal(&container, "KILL", SERVER);
    let failed = as_user("cat /workspace/remote/dav/one");
    assert!(failed.failure(1).contains("Input/output error"), "{failed:?}");
    lists_the_workspace(&container);
    start_server(&container);
    container.wait_until("the server again", || as_user("cat /workspace/remote/dav/one").stdout == b"one\n");

    signal(&container, "KILL", "rclone mount dav:");
    container.wait_until("another mount", || as_user("cat /workspace/remote/dav/one").stdout == b"one\n");

    let arguments = container.sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").text();
    assert!(arguments.contains("rclone mount dav: /workspace/remote/dav"), "{arguments}");
    assert!(!arguments.contains(SECRET) && !container.logs().contains(SECRET));
    stops(&container);
}

#[test]
fn a_server_that_does_not_answer_blocks_nothing_and_gets_its_files_later() {
    let container = boot();
    // rclone knows the directory.
    assert_eq!(container.sh("ls /workspace/remote/dav").text(), "one");
    signal(&container, "STOP", SERVER);
    container.sh("echo late > /workspace/remote/dav/late").text();
    container.background(&["cat", "/workspace/remote/dav/one"]);
    container.background(&["tail", "-f", "/workspace/remote/dav/late"]);
    lists_the_workspace(&container);
    stops(&container);
    assert!(container.logs().contains("rclone-run: warning: not uploaded yet: dav"), "{}", container.logs());

    container.restart();
    container.wait_for_portal();
    lists_the_workspace(&container);
    wait_for_mount(&container, "dav");
    assert_eq!(container.sh("ls /srv/dav").text(), "one");
    start_server(&container);
    container.wait_until("the upload", || container.sh("cat /srv/dav/late").stdout == b"late\n");

    // From the start.
    signal(&container, "STOP", SERVER);
    container.exec(&["supervisorctl", "restart", "rclone"]).text();
    lists_the_workspace(&container);
    stops(&container);
}

#[test]
fn a_password_that_does_not_come_blocks_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let encrypted = "# Encrypted rclone configuration File\n\nRCLONE_ENCRYPT_V0:\nAAAA\n";
    std::fs::write(directory.path().join("rclone.conf"), encrypted).unwrap();
    let container = with_fuse(RunOptions::new())
        .mount(directory.path(), "/etc/rclone", "")
        .env("RCLONE_PASSWORD_COMMAND", "sleep 1000")
        .start_and_wait();
    container.wait_until_ready();
    let asks = "pgrep -f '^sleep 1000'";
    container.wait_until("the request", || container.sh(asks).code == Some(0));
    stops(&container);
    container.restart();
    let failed =
        "rclone-run: error: timed out after 20.0 s waiting for rclone listremotes; will retry every 30 s";
    container.wait_until("the time limit", || container.logs().contains(failed));
    assert_eq!(container.sh(asks).code, Some(1), "it ends with rclone");
    container.wait_until("the report", || {
        container.exec(&["boot", "report"]).text().contains("cannot read the configured remotes")
    });
}

#[test]
fn an_rclone_that_does_not_answer_blocks_nothing() {
    let container = boot();
    signal(&container, "STOP", "rclone mount dav:");
    container.background(&["ls", "-l", "/workspace/remote"]);
    container.background(&["cat", "/workspace/remote/dav/one"]);
    lists_the_workspace(&container);
    container.exec(&["init.sh"]).text();
    container.exec(&["fix-perms", "--only", "workspace"]).text();
    container.exec(&["supervisorctl", "restart", "rclone"]).text();
    wait_for_mount(&container, "dav");
    assert_eq!(container.exec(&["cat", "/workspace/remote/dav/one"]).text(), "one");
    signal(&container, "STOP", "rclone mount dav:");
    container.background(&["cat", "/workspace/remote/dav/one"]);
    stops(&container);
}

#[test]
fn nothing_is_left_of_a_killed_run_or_of_open_files() {
    let container = boot();
    container.background(&["bash", "-c", "exec 3>> /workspace/remote/local/open; sleep infinity"]);
    container.wait_until("the open file", || container.sh("ls /workspace/remote/local/open").code == Some(0));
    signal(&container, "KILL", "/opt/leonardo/bin/rclone-run$");
    container.wait_until("both mounts again", || {
        ["local", "dav"].iter().all(|name| {
            container.sh(&format!("ls /workspace/remote/{name}")).code == Some(0)
                && is_mounted(&container, name)
        })
    });
    assert_eq!(container.sh("pgrep -fc '^/usr/bin/rclone mount'").text(), "2");
    container.sh("umount /workspace/remote/dav").text();
    container.wait_until("the end of the mount", || container.logs().contains("rclone mount dav: has ended"));
    assert!(!is_mounted(&container, "dav"));
    let refused = container.exec(&["su", "user", "-c", "touch /workspace/remote/dav/x"]);
    assert!(refused.failure(1).contains("Permission denied"), "{refused:?}");
    container.exec(&["supervisorctl", "stop", "rclone"]).text();
    assert_eq!(
        container.sh("grep -c fuse.rclone /proc/self/mountinfo; ls /workspace/remote").text(),
        "0\ndav\nlocal"
    );
}

#[test]
fn the_system_user_configures_remotes_in_a_running_container() {
    let container = with_fuse(RunOptions::new()).start_and_wait();
    let as_user = |script: &str| container.exec(&["su", "user", "-c", script]);
    container.sh("mkdir -p /srv/a /srv/b; chmod 777 /srv/a /srv/b").text();
    as_user("rclone config create mine alias remote /srv/a").text();
    wait_for_mount(&container, "mine");
    as_user("echo x > /workspace/remote/mine/x").text();
    container.wait_until("the upload", || container.sh("cat /srv/a/x").stdout == b"x\n");

    // rclone of root replaces the file.
    container.exec(&["rclone", "config", "create", "roots", "alias", "remote", "/srv/b"]).text();
    wait_for_mount(&container, "roots");
    container.wait_until("access", || as_user("rclone listremotes").stdout == b"mine:\nroots:\n");
    as_user("rclone config delete roots").text();
    container.wait_until("the end of the mount", || !is_mounted(&container, "roots"));

    container.sh("printf '[../x]\\ntype = alias\\nremote = /srv/b\\n' >> /etc/rclone/rclone.conf").text();
    container.wait_until("the refusal", || container.logs().contains("not mounted, among them \"../x\": "));
    assert_eq!(
        container.sh("grep -c fuse.rclone /proc/self/mountinfo; ls /workspace").text().lines().next(),
        Some("1")
    );
    assert!(is_mounted(&container, "mine"), "the others stay mounted");
}

#[test]
fn without_fuse_the_reason_is_reported_once_and_the_command_works() {
    let quiet = RunOptions::new().start_and_wait();
    quiet.wait_until_ready();
    assert!(!quiet.logs().contains("rclone |"), "{}", quiet.logs());

    let refusals = [
        (vec![], "the container has no /dev/fuse"),
        (vec!["--device=/dev/fuse"], "the container lacks the capability SYS_ADMIN"),
    ];
    for (options, reason) in refusals {
        let run = options.into_iter().fold(with_remotes(RunOptions::new()), RunOptions::option);
        let container = run.start_and_wait();
        let sentence = format!(
            "remotes are not mounted: {reason}; start the container with --device /dev/fuse --cap-add SYS_ADMIN \
             --security-opt apparmor=unconfined; the rclone command works without"
        );
        container.wait_until("the reason", || container.logs().contains(&sentence));
        let [_, _, token] = container.login();
        let web = container.web(1111).with("Authorization", &format!("Bearer {token}"));
        let state = web.get("/leonardo/state.json").ok_text().expect("the portal's state");
        assert_eq!(state.matches(&sentence).count(), 1, "{state}");
        container.exec(&["supervisorctl", "restart", "rclone"]).text();
        start_server(&container);
        assert_eq!(
            container.sh("rclone cat dav:one; rclone lsf local:; ls /workspace").text(),
            "one\nWARNING-NO-MOUNT.txt\nstorage"
        );
        assert_eq!(container.logs().matches(&sentence).count(), 1);
        assert_eq!(container.exec(&["boot", "report"]).text().matches(&sentence).count(), 1);
        stops(&container);
    }
}

#[test]
fn the_interactive_configuration_is_reached_through_the_published_port() {
    for https in ["false", "true"] {
        let container = RunOptions::new().publish(53682).env("WEB_ENABLE_HTTPS", https).start();
        let web = container.web(53682);
        container.wait_until("the relay", || web.get("/").status == 503);
        let refused = web.get("/auth?state=x");
        assert_eq!(
            (refused.status, refused.body.as_str()),
            (503, "rclone is not being configured in this container; run: rclone config\n")
        );
        // The program behind `rclone config` for providers with a login in the browser.
        let authorize = "exec rclone authorize dropbox --auth-no-open-browser > /tmp/authorize 2>&1";
        container.background(&["su", "user", "-c", authorize]);
        let mut path = String::new();
        container.wait_until("rclone's link", || {
            path =
                String::from_utf8_lossy(&container.sh("grep -o '/auth?state=[^ ]*' /tmp/authorize").stdout)
                    .trim()
                    .to_owned();
            !path.is_empty()
        });
        let answer = web.get(&path);
        assert!(
            answer.header("location").is_some_and(|to| to.starts_with("https://www.dropbox.com/")),
            "{answer:?}"
        );
        assert_eq!(web.get("/auth?state=wrong").status, 403);
        let owner = "ps -C rclone-run -o user=,args= | grep 'rclone-run relay' | cut -d' ' -f1";
        assert_eq!(container.sh(owner).text(), "caddy");
        let status =
            "sed -nE 's/^(Cap...|NoNewPrivs):\\s*//p' /proc/$(pgrep -f 'rclone-run relay$')/status | xargs";
        assert_eq!(container.sh(status).text(), format!("{}1", "0000000000000000 ".repeat(5)));
        assert_eq!(container.sh("setpriv --reuid=caddy --regid=caddy --clear-groups cat /proc/$(pgrep -f 'rclone-run relay$')/environ").text(), "");
    }
}
