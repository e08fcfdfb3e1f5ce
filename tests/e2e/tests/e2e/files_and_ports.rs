//! `docs/reference/files.md` against a container that uses every feature.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use harness::{Container, KeyPair};

use crate::https::wait_for_https;
use crate::portal::register;
use crate::rclone::{is_mounted, with_fuse, with_remotes};
use crate::sync::volume;
use crate::tunnels::{StandIn, TOKEN, states};

const PAGE: &str = include_str!("../../../../docs/reference/files.md");

/// Directories of the image alone: each of their entries has a row.
const OWN_DIRECTORIES: &str = "/opt/leonardo/etc /opt/leonardo/share /run/leonardo /run/cloudflared \
    /var/lib/leonardo /var/lib/logtail /var/lib/portal /workspace /usr/lib/leonardo";

/// The cells of the page's tables, without the marks of code.
fn rows() -> impl Iterator<Item = Vec<String>> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().replace('`', "")).collect();
    PAGE.lines().filter(|line| line.starts_with("| ")).map(cells)
}

/// Owner and mode by path.
fn files() -> BTreeMap<String, String> {
    rows()
        .filter(|row| row[1].starts_with('/'))
        .map(|row| (row[1].clone(), format!("{} {}", row[2], row[3])))
        .collect()
}

#[test]
fn every_file_port_and_socket_is_as_the_page_says() {
    let [volume, scripts] = [volume(), volume()];
    fs::write(scripts.path().join("setup.sh"), "#!/bin/bash\ntrue\n").unwrap();
    let stand_in = StandIn::new("");
    let run = with_remotes(with_fuse(stand_in.run()))
        .env("CF_TUNNEL_TOKEN", TOKEN)
        .env("SSH_PUBKEY", KeyPair::generate().public())
        .env("WEB_ENABLE_HTTPS", "true")
        .env("WORKSPACE_SYNC", "true")
        .mount(volume.path(), "/workspace", "")
        .mount(&scripts.path().join("setup.sh"), "/opt/leonardo/bin/provisioning.sh", "ro");
    let container = run.start();
    wait_for_https(&container);
    register(&container, "Echo", 18080, 8080, "true");
    container.exec(&["boot", "wait", "ready"]).text();
    container.exec(&["boot", "wait", "sync"]).text();
    container.wait_until("the mount", || is_mounted(&container, "local"));
    container.wait_until("the tunnels", || states(&container, "quicktunnel") == ["1111 open", "8080 open"]);
    let named = "test -e /run/leonardo/cloudflared.json";
    container.wait_until("the named tunnel", || container.sh(named).code == Some(0));

    let files = files();
    assert_eq!(differences(&container, &files), [""; 0]);
    let lines = |script: &str| -> BTreeSet<String> {
        container.sh(script).text().lines().map(str::to_owned).collect()
    };
    let rows = files.keys().map(String::as_str).collect::<Vec<_>>().join(" ");
    let rows = lines(&format!("ls --directory {rows}"));
    let has_row = |path: &str| rows.iter().any(|row| row == path || row.starts_with(&format!("{path}/")));
    let mut own = lines(&format!("find {OWN_DIRECTORIES} -mindepth 1 -maxdepth 1; find /run -type s"));
    own.retain(|path| !has_row(path));
    assert_eq!(own, BTreeSet::new(), "entries without a row");

    let mut expected = ports();
    expected.insert((8080, "all"));
    container.wait_until("the listeners", || public_ports(&container) == expected);
    let loopback = container.sh("ss -ltunH | grep -c '127.0.0.1:'; pgrep -xc cloudflared").text();
    assert_eq!(loopback, "3\n3", "only cloudflared listens on loopback");
}

/// Paths that are missing, or whose owner and mode are others; those of a pattern agree.
fn differences(container: &Container, files: &BTreeMap<String, String>) -> Vec<String> {
    let difference = |(path, expected): (&String, &String)| {
        let found = container.sh(&format!("stat --format '%U:%G %a' {path} 2>&1 | sort -u")).text();
        (found != *expected).then(|| format!("{path}: {found}"))
    };
    files.iter().filter_map(difference).collect()
}

/// Numbers in the page's table of ports, and on which addresses they are open.
fn ports() -> BTreeSet<(u16, &'static str)> {
    let addresses = |cell: &str| if cell == "all" { "all" } else { "all but loopback" };
    rows().filter_map(|row| Some((row[1].parse().ok()?, addresses(&row[2])))).collect()
}

/// Ports that other machines reach.
fn public_ports(container: &Container) -> BTreeSet<(u16, &'static str)> {
    let text = container.sh("ss -ltunH | awk '{print $5}'").text();
    let sockets = text.lines().filter_map(|address| address.rsplit_once(':'));
    sockets
        .filter(|(address, _)| !address.starts_with("127.") && *address != "[::1]")
        .filter_map(|(address, port)| {
            let is_every = ["0.0.0.0", "*", "[::]"].contains(&address);
            Some((port.parse().ok()?, if is_every { "all" } else { "all but loopback" }))
        })
        .collect()
}
