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
    let shown = format!("direct-url: {reason}\nhint: publish the port in the template\n");
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
