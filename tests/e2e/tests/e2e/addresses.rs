//! Addresses in links, commands and the summary, by what the environment states.

use harness::{Container, KeyPair, RunOptions};
use serde_json::Value;

use crate::portal::register;

/// Returns the portal's link to the only service for a visitor who entered `host`.
fn link(container: &Container, host: &str) -> Value {
    let [user, password, _] = container.login();
    let ask = ["curl", "-sf", "-u", &format!("{user}:{password}"), "-H", &format!("Host: {host}")];
    let state = container.exec(&[&ask[..], &["http://127.0.0.1:1111/leonardo/state.json"]].concat()).text();
    let state: Value = serde_json::from_str(&state).expect("an object");
    assert_eq!(state["services"].as_array().map(Vec::len), Some(1), "{state}");
    state["services"][0]["url"].clone()
}

#[test]
fn ports_that_are_published_under_other_numbers_have_correct_links() {
    let key = KeyPair::generate();
    let container = RunOptions::new()
        .env("SSH_PUBKEY", key.public())
        .env("MAPPED_TCP_PORT_1111", "127.0.0.1:21112")
        .env("MAPPED_TCP_PORT_22", "2201")
        .env("MAPPED_TCP_PORT_8080", "28080")
        .start_and_wait();
    register(&container, "Echo", 18080, 8080, "true");
    container.wait_until_ready();
    let logs = container.logs();
    for line in ["boot: portal: http://localhost:21112\n", "boot: SSH: on, ssh -p 2201 root@localhost\n"] {
        assert!(logs.contains(line), "{line}: {logs}");
    }
    let printed = |words: &[&str], url: &str| {
        // In a session of the user's, where the variables come from the store.
        let output = container.exec(&["su", "-", "user", "-c", &words.join(" ")]);
        assert!(!output.stderr.contains("replace") && !output.stderr.contains("assumed"), "{output:?}");
        assert!(output.text().starts_with(url), "{output:?}");
    };
    printed(&["portal-link"], "http://localhost:21112/leonardo/enter?code=");
    printed(&["share", "Echo"], "http://localhost:28080/leonardo/share?");
    printed(&["direct-url.sh", "-p", "8080", "-l", "/lab"], "http://localhost:28080/lab");
    assert_eq!(link(&container, "gpu.lan:21112"), "http://gpu.lan:28080/");
    assert_eq!(link(&container, "localhost:1111"), "http://localhost:8080/", "through an SSH tunnel");
}

#[test]
fn each_provider_has_its_own_addresses() {
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, (i32, &'a str), Option<&'a str>);
    let bad = "VAST_TCP_PORT_8080: \"$(id)\" is not a port (1 to 65535); the port has no link";
    let rows: [Row<'_>; 3] = [
        (
            &[
                ("VAST_CONTAINERLABEL", "C.1"),
                ("PUBLIC_IPADDR", "192.0.2.9"),
                ("VAST_TCP_PORT_1111", "41111"),
                ("VAST_TCP_PORT_8080", "$(id)"),
            ],
            "boot: portal: http://192.0.2.9:41111\n",
            (1, "direct-url: VAST_TCP_PORT_8080: \"$(id)\" is not a port"),
            None,
        ),
        (
            &[("RUNPOD_POD_ID", "abc123")],
            "boot: portal: https://abc123-1111.proxy.runpod.net\n",
            (0, "https://abc123-8080.proxy.runpod.net\n"),
            Some("https://abc123-8080.proxy.runpod.net/"),
        ),
        (
            &[("KUBERNETES_SERVICE_HOST", "10.0.0.1")],
            "boot: portal: port 1111 of the container; Kubernetes does not pass its address to a container; set DIRECT_ADDRESS\n",
            (
                1,
                "direct-url: Kubernetes does not pass its address to a container\nhint: set DIRECT_ADDRESS, or use its tunnel: cfqt-url 8080\n",
            ),
            Some("http://gpu.lan:8080/"),
        ),
    ];
    for (variables, summary, (code, printed), url) in rows {
        let options =
            variables.iter().fold(RunOptions::new(), |options, (name, value)| options.env(name, *value));
        let container = options.start_and_wait();
        register(&container, "Echo", 18080, 8080, "true");
        container.wait_until_ready();
        let logs = container.logs();
        assert!(logs.contains(summary), "{summary}: {logs}");
        let report = container.exec(&["boot", "report"]).text();
        assert_eq!(report.contains(bad), url.is_none(), "{report}");
        let output = container.exec(&["direct-url", "8080"]);
        assert_eq!(output.code, Some(code), "{output:?}");
        let shown =
            if code == 0 { String::from_utf8_lossy(&output.stdout) } else { output.stderr.as_str().into() };
        assert!(shown.starts_with(printed), "{shown}");
        assert_eq!(link(&container, "gpu.lan:1111").as_str(), url);
    }
}

#[test]
fn the_public_address_is_looked_for_beside_the_boot_and_used_once_it_is_known() {
    let container = RunOptions::new().env("DIRECT_ADDRESS_GET_WAN", "true").option("--network=none").start();
    container.wait_until("ready", || container.exec(&["boot", "wait", "ready"]).code == Some(0));
    let log = || container.sh("cat /var/log/supervisor/wanaddress.log").stdout;
    container.wait_until("a warning", || {
        String::from_utf8_lossy(&log())
            .contains("cannot find the public address of this machine: https://1.1.1.1/")
    });
    assert!(container.exec(&["direct-url"]).stderr.starts_with("direct-url: assumed: "));
    container.exec(&["boot", "health"]).text();
    container.write("/run/leonardo/wan_address", "198.51.100.4\n");
    assert_eq!(container.exec(&["direct-url"]).text(), "http://198.51.100.4:1111");
    container.restart();
    container
        .wait_until("a new start", || container.exec(&["ls", "/run/leonardo/wan_address"]).code == Some(2));
}
