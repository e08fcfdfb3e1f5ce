//! The real binary with a cleared environment.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

const TOOL: &str = env!("CARGO_BIN_EXE_direct-url");

const VAST: &[(&str, &str)] =
    &[("VAST_CONTAINERLABEL", "C.1"), ("PUBLIC_IPADDR", "192.0.2.9"), ("VAST_TCP_PORT_8188", "41188")];

/// Returns exit code, stdout and stderr.
fn run(tool: &Path, env: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(tool);
    command.env_clear().envs(env.iter().copied()).args(args);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn the_address_alone_is_on_stdout_and_a_reason_on_stderr() {
    let url = |args: &[&str], printed: &str| {
        assert_eq!(
            run(Path::new(TOOL), VAST, args),
            (Some(0), printed.to_owned(), String::new()),
            "{args:?}"
        );
    };
    url(&["8188"], "http://192.0.2.9:41188\n");
    url(&["-p", "8188", "-l", "/lab?x=1"], "http://192.0.2.9:41188/lab?x=1\n");
    url(&["--port", "8188", "--path", ""], "http://192.0.2.9:41188\n");
    url(
        &["--json", "8188", "-l", "/lab"],
        "{\"port\":8188,\"url\":\"http://192.0.2.9:41188/lab\",\"provider\":\"vast.ai\",\"assumed\":false,\"reason\":null}\n",
    );
    let reason = "vast.ai does not publish port 3000: VAST_TCP_PORT_3000 is not set";
    let shown = format!(
        "direct-url: {reason}\nhint: publish the port in the template, or use its tunnel: cfqt-url 3000\n"
    );
    assert_eq!(run(Path::new(TOOL), VAST, &["3000"]), (Some(1), String::new(), shown.clone()));
    let json = format!(
        "{{\"port\":3000,\"url\":null,\"provider\":\"vast.ai\",\"assumed\":false,\"reason\":\"{reason}\"}}\n"
    );
    assert_eq!(run(Path::new(TOOL), VAST, &["3000", "--json"]), (Some(1), json, shown));
}

#[test]
fn an_assumed_address_is_one_with_a_note() {
    let note = "direct-url: assumed: a container does not know under which number its host publishes port 1111; set \
                MAPPED_TCP_PORT_1111 or DIRECT_ADDRESS\n";
    let assumed = (Some(0), "http://localhost:1111\n".to_owned(), note.to_owned());
    assert_eq!(run(Path::new(TOOL), &[], &[]), assumed);
    let mapped = run(Path::new(TOOL), &[("MAPPED_TCP_PORT_1111", "1112")], &[]);
    assert_eq!(mapped, (Some(0), "http://localhost:1112\n".to_owned(), String::new()));
}

#[test]
fn the_older_name_is_a_link_and_what_is_no_port_or_path_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("direct-url.sh");
    symlink(TOOL, &link).unwrap();
    let (code, _, stderr) = run(&link, VAST, &["-p", "3000"]);
    assert!(code == Some(1) && stderr.starts_with("direct-url: vast.ai does not"), "{stderr}");
    for args in [
        &["abc"][..],
        &["0"],
        &["70000"],
        &["+22"],
        &["٢٢"],
        &["$(id)"],
        &["-l", "//evil"],
        &["-l", "x"],
        &["-l", "/a b"],
        &["8188", "-p", "8188"],
        &["8188", "--find-wan"],
    ] {
        let (code, stdout, _) = run(&link, VAST, args);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}");
    }
}

#[test]
fn a_tunnel_is_looked_up_by_the_name_of_a_link_or_by_an_option() {
    let dir = tempfile::tempdir().unwrap();
    let [quick, named] = ["cfqt-url.sh", "cfnt-url"].map(|name| {
        let link = dir.path().join(name);
        symlink(TOOL, &link).unwrap();
        link
    });
    let status = dir.path().to_str().unwrap();
    let (code, stdout, stderr) = run(&quick, &[], &["8188", "--status", status]);
    let reason = "no quick tunnel to port 8188: the program quicktunnel is not running";
    let shown = format!(
        "cfqt-url: {reason}\nhint: it is off with CF_QUICK_TUNNELS=false or WEB_ENABLE_AUTH=false; else run: \
         supervisorctl status quicktunnel\n"
    );
    assert_eq!((code, stdout.as_str(), stderr), (Some(1), "", shown));
    let tunnel = |port: u16, state: &str, url: &str, cause: &str| {
        format!(
            r#"{{"port":{port},"state":"{state}","url":{url},"cause":{cause},"detail":null,"retry_at":null}}"#
        )
    };
    let tunnels = [
        tunnel(8188, "open", "\"https://a-b.trycloudflare.com\"", "null"),
        tunnel(3000, "waiting", "null", "\"edge_blocked\""),
        tunnel(3001, "opening", "null", "null"),
    ];
    let text =
        format!(r#"{{"is_opening":false,"cause":null,"detail":null,"tunnels":[{}]}}"#, tunnels.join(","));
    fs::write(dir.path().join("quicktunnel.json"), &text).unwrap();
    fs::write(dir.path().join("cloudflared.json"), text.replace("a-b.trycloudflare.com", "lab.example"))
        .unwrap();
    let ask = |tool: &Path, args: &[&str]| run(tool, VAST, &[args, &["--status", status]].concat());
    let url = |url: &str| (Some(0), format!("{url}\n"), String::new());
    assert_eq!(ask(&quick, &["-p", "8188", "-l", "/lab"]), url("https://a-b.trycloudflare.com/lab"));
    assert_eq!(ask(&named, &["8188"]), url("https://lab.example"));
    assert_eq!(ask(Path::new(TOOL), &["--tunnel", "quick", "8188"]), url("https://a-b.trycloudflare.com"));
    assert_eq!(ask(&quick, &["--tunnel", "named", "8188"]), url("https://lab.example"));
    let json = r#"{"port":8188,"url":"https://a-b.trycloudflare.com","provider":"Cloudflare","assumed":false,"reason":null}"#;
    assert_eq!(ask(&quick, &["8188", "--json"]), url(json));
    for (port, reason) in [
        (
            "3000",
            "outgoing TCP and UDP to port 7844 are blocked\nhint: allow one of them, or use a published port or an SSH tunnel",
        ),
        ("3001", "it is being opened\nhint: it takes about ten seconds"),
        ("3002", "no service is registered at this port"),
    ] {
        let shown = format!("cfqt-url: no quick tunnel to port {port}: {reason}\n");
        assert_eq!(ask(&quick, &[port]), (Some(1), String::new(), shown));
    }
    assert_eq!(ask(&quick, &["--tunnel", "other"]).0, Some(2));
}

/// Runs `--find-wan` with a shell script in the place of curl; returns what it wrote, and stderr.
fn find_wan(script: &str) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let (curl, file) = (dir.path().join("curl"), dir.path().join("wan_address"));
    fs::write(&curl, format!("#!/bin/sh\ncd {}\necho \"$*\" >> calls\n{script}", dir.path().display()))
        .unwrap();
    fs::set_permissions(&curl, fs::Permissions::from_mode(0o755)).unwrap();
    let (curl, path) = (curl.to_str().unwrap(), file.to_str().unwrap());
    let env = [("https_proxy", "http://evil"), ("PATH", "/nowhere")];
    let (code, stdout, stderr) =
        run(Path::new(TOOL), &env, &["--find-wan", "--curl", curl, "--wan-address", path, "--retry", "1s"]);
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    let call =
        "--disable --fail --silent --show-error --proto =https --max-time 10 https://1.1.1.1/cdn-cgi/trace";
    let calls = fs::read_to_string(dir.path().join("calls")).unwrap();
    assert!(calls.lines().all(|line| line == call), "{calls}");
    (fs::read_to_string(&file).unwrap(), stderr)
}

#[test]
fn the_public_address_is_found_once_and_written() {
    let found = "direct-url: the public address of this machine is 198.51.100.4\n";
    let (address, stderr) = find_wan("[ -z \"$https_proxy\" ] && echo fl=1 && echo ip=198.51.100.4\n");
    assert_eq!((address.as_str(), stderr.as_str()), ("198.51.100.4\n", found));
}

#[test]
fn what_is_no_public_address_is_reported_once_and_asked_for_again() {
    let service = "https://1.1.1.1/cdn-cgi/trace";
    for (first, reason) in [
        ("exit 28", format!("{service} does not answer (curl: exit status: 28)")),
        ("echo ip=10.0.0.1; exit", format!("the answer of {service} contains no public address")),
        (
            "while :; do echo ip=198.51.100.9 xxxxxxxxxxxxxxxxxxxxxx || exit 23; done",
            format!("{service} does not answer (curl: signal: 13 (SIGPIPE))"),
        ),
    ] {
        let script = format!("[ $(/usr/bin/wc -l < calls) = 1 ] && {{ {first}; }}\necho ip=198.51.100.4\n");
        let (address, stderr) = find_wan(&script);
        assert_eq!(address, "198.51.100.4\n");
        let warning = format!(
            "direct-url: warning: cannot find the public address of this machine: {reason}; trying again\n"
        );
        assert!(stderr.starts_with(&warning) && stderr.lines().count() == 2, "{stderr}");
    }
}
