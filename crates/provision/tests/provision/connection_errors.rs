//! Connections to a server: names, redirects, proxies, and unreachable addresses.

use std::net::{TcpListener, UdpSocket};
use std::process::Command;

use provision::ReportOutcome::Ran;

use crate::fetch_responses::{NETWORK, SCRIPT, fetch, refused};
use crate::fixture::{Machine, parse_output};
use crate::server::{Server, answer, redirect, script};

const ELSEWHERE: &str = "use the final address of the redirects";

#[test]
fn a_redirect_to_a_name_that_is_not_ascii_is_followed() {
    let server = Server::new(|number, _, stream| {
        let _ = stream.write_all(&if number == 0 { redirect("/ä b.sh") } else { script(SCRIPT) });
    });
    let (machine, result) = fetch(&server);
    assert_eq!((result.report.outcome, machine.read("work/ran").as_str()), (Ran, "ran\n"));
    assert!(server.heads()[1].starts_with("GET /%C3%A4%20b.sh HTTP/1.1\r\n"), "{:?}", server.heads());
}

#[test]
fn redirects_are_followed_and_the_last_host_is_named() {
    let last = Server::saying(script(SCRIPT));
    let target = last.url("/real.sh");
    let first = Server::new(move |number, _, stream| {
        let _ = stream.write_all(&redirect(if number == 0 { "y/../z.sh?token=sesame" } else { &target }));
    });
    let mut machine = Machine::new();
    let login = first.url("/a/x.sh").replace("http://", "http://ada:opensesame@");
    machine.set("PROVISIONING_SCRIPT", login);
    let result = machine.run();
    assert_eq!((result.report.outcome, machine.read("work/ran").as_str()), (Ran, "ran\n"));
    assert_eq!(result.report.source, Some(first.url("/a/x.sh")));
    let steps = machine.log();
    assert_eq!(steps[0], format!("provision: fetching {}", first.url("/a/x.sh")));
    assert!(steps.contains(&format!("provision: redirected to {}?…", first.url("/a/z.sh"))), "{steps:?}");
    assert!(steps.contains(&format!("provision: redirected to another host: {}", last.url("/real.sh"))));
    // ada:opensesame
    let login = "authorization: basic ywrhom9wzw5zzxnhbwu=";
    let has_login = |head: &String| head.to_lowercase().contains(login);
    assert!(first.heads().iter().all(has_login), "{:?}", first.heads());
    assert!(!last.heads().iter().any(|head| head.to_lowercase().contains("authorization")));
    assert_eq!(machine.notes(), [format!("fetching {}", first.url("/a/x.sh")), "running".into()]);
    assert!(first.heads()[1].starts_with("GET /a/z.sh?token=sesame HTTP/1.1\r\n"));
    let everything = [
        machine.read("provisioning.log"),
        machine.read("boot.jsonl"),
        machine.read("state/state.json"),
        result.stderr,
    ]
    .concat();
    assert!(!everything.contains("sesame"), "{everything}");
}

#[test]
fn a_secret_that_the_server_sends_back_is_masked_for_everybody() {
    let server = Server::new(|number, _, stream| {
        let answer = match number {
            0 => redirect("/dl/s3cr3tvalue/x.sh"),
            _ => answer("404 Not Found", "", b""),
        };
        let _ = stream.write_all(&answer);
    });
    let mut machine = Machine::new();
    machine.set("PROVISIONING_SCRIPT", server.url("/x.sh?token=s3cr3tvalue"));
    // Late boot has ended, so the run corrects its result.
    machine.end_stage_well();
    let result = machine.run();
    let cause = format!("{} returned 404 Not Found", server.url("/dl/********/x.sh"));
    assert_eq!(result.report.cause.as_deref(), Some(cause.as_str()));
    let corrected = machine.read("boot.jsonl");
    assert!(corrected.contains(&cause) && !corrected.contains("s3cr3tvalue"), "{corrected}");
    let output = machine.command(&["run"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &machine.read("provisioning.log");
    assert!(text.contains(&cause) && !text.contains("s3cr3tvalue"), "{text}");
}

#[test]
fn a_secret_in_the_path_of_an_address_is_in_no_file() {
    let server = Server::saying(script(SCRIPT));
    let mut machine = Machine::new();
    machine.set("X_TOKEN", "s3cr3tvalue").set("PROVISIONING_SCRIPT", server.url("/s3cr3tvalue/x.sh"));
    let result = machine.run();
    assert_eq!((result.report.outcome, result.report.source), (Ran, Some(server.url("/********/x.sh"))));
    let record = machine.read("state/state.json");
    assert!(record.contains("/********/x.sh") && !record.contains("s3cr3tvalue"), "{record}");
}

#[test]
fn redirects_that_lead_nowhere_good_are_not_followed() {
    let circle = Server::new(|number, _, stream| {
        let _ = stream.write_all(&redirect(if number == 0 { "/y" } else { "/x.sh" }));
    });
    let way = "redirect loop: http://HOST/x.sh -> http://HOST/y -> http://HOST/x.sh";
    refused(&circle, 2, way, ELSEWHERE);
    let asking = Server::saying(redirect("/x.sh?t=1"));
    let mut machine = Machine::new();
    machine.set("PROVISIONING_SCRIPT", asking.url("/x.sh?t=1"));
    assert_ne!(machine.run().report.outcome, Ran);
    assert_eq!(asking.heads().len(), 1);
    let endless = Server::new(|number, _, stream| drop(stream.write_all(&redirect(&format!("/{number}")))));
    refused(&endless, 6, "http://HOST/x.sh redirects more than 5 times, at last to http://HOST/5", ELSEWHERE);
    for (target, cause) in [
        ("file:///etc/passwd", "http://HOST/x.sh redirects to \"file\":, only http and https are supported"),
        ("ftp://h/x", "http://HOST/x.sh redirects to \"ftp\":, only http and https are supported"),
        ("http://", "http://HOST/x.sh redirects to an invalid URL"),
    ] {
        refused(&Server::saying(redirect(target)), 1, cause, ELSEWHERE);
    }
    let nowhere = Server::saying(answer("301 Moved Permanently", "", b""));
    refused(&nowhere, 1, "http://HOST/x.sh returned 301 without a Location", ELSEWHERE);
}

#[test]
fn a_refused_connection_is_reported() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut machine = Machine::new();
    machine.set("PROVISIONING_SCRIPT", format!("http://{free}/x.sh"));
    let result = machine.run();
    let cause = format!("cannot fetch http://{free}/x.sh: Connection refused (os error 111) (tried 4 times)");
    assert_eq!(result.report.cause, Some(cause));
}

/// Returns an address of this machine whose DNS port does not answer, and the socket that reserves the port.
///
/// Each test has addresses of its own, so that none takes a port that another has released.
fn silent_resolver(numbers: std::ops::Range<u8>) -> (String, UdpSocket) {
    let mut addresses = numbers.map(|number| format!("127.53.{}.{number}", std::process::id() % 256));
    let free = addresses.find_map(|address| Some((address.clone(), UdpSocket::bind((address, 53)).ok()?)));
    free.unwrap()
}

/// Provisions with this file in the place of `/etc/resolv.conf`.
fn with_resolver(address: &str, time_divisor: &'static str) -> crate::fixture::RunOutput {
    let mut machine = Machine::dividing_times_by(time_divisor);
    machine.set("PROVISIONING_SCRIPT", "https://ada:sesame@scripts.example/x.sh");
    let configuration = machine.path("resolv.conf");
    std::fs::write(&configuration, format!("nameserver {address}\n")).unwrap();
    let tool = machine.command(&["run", "--json"]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\""]);
    command.arg(&configuration).arg(tool.get_program()).args(tool.get_args());
    parse_output(&command.env_clear().envs(&machine.env).output().unwrap())
}

#[test]
fn a_resolver_that_does_not_answer_costs_a_bounded_time() {
    // It accepts queries and never answers.
    let (address, silent) = silent_resolver(1..100);
    let result = with_resolver(&address, "50");
    drop(silent);
    let cause = "looking up scripts.example timed out after 0.2 s (tried 4 times)";
    assert_eq!((result.report.cause.as_deref(), result.report.hint.as_deref()), (Some(cause), Some(NETWORK)));
}

#[test]
fn a_missing_resolver_is_reported() {
    let (address, held) = silent_resolver(100..200);
    drop(held);
    // A query starts a program, which is slow on a busy machine.
    let result = with_resolver(&address, "10");
    let cause = "cannot resolve scripts.example: unknown host, or no name server responds (tried 4 times)";
    assert_eq!((result.report.cause.as_deref(), result.report.hint.as_deref()), (Some(cause), Some(NETWORK)));
}

#[test]
fn a_proxy_is_asked_instead_and_one_that_refuses_is_named() {
    let proxy = Server::new(|_, head, stream| {
        if head.starts_with("CONNECT scripts.example:80 HTTP/1.1\r\n") {
            let _ = stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n");
            let _ = stream.read(&mut [0; 4_096]);
            let _ = stream.write_all(&script(SCRIPT));
        } else {
            let _ = stream.write_all(&answer("403 Forbidden", "", b""));
        }
    });
    let mut machine = Machine::new();
    machine.set("PROVISIONING_SCRIPT", "http://scripts.example/x.sh").set("http_proxy", proxy.url(""));
    let result = machine.run();
    assert_eq!((result.report.outcome, result.report.cause), (Ran, None));
    machine.set("PROVISIONING_SCRIPT", "https://scripts.example/x.sh").set("https_proxy", proxy.url(""));
    let cause = machine.run().report.cause.unwrap();
    assert!(cause.starts_with("the proxy cannot connect to scripts.example: "), "{cause}");
    machine.set("https_proxy", "http://127.0.0.1:1");
    let cause = machine.run().report.cause.unwrap();
    let refused = "Connection refused (os error 111), through the proxy 127.0.0.1:1 (tried 4 times)";
    assert_eq!(cause, format!("cannot fetch https://scripts.example/x.sh: {refused}"));
    machine.set("https_proxy", "http://");
    let cause = machine.run().report.cause;
    assert_eq!(cause.as_deref(), Some("https_proxy is not a proxy URL"));
}

#[test]
fn a_path_and_another_scheme_are_refused_with_the_way_out() {
    let mut machine = Machine::new();
    let mounted = machine.path("provisioning.sh").display().to_string();
    machine.mount(SCRIPT);
    machine.set("PROVISIONING_SCRIPT", "/root/x.sh");
    let result = machine.run();
    assert_eq!(
        (result.code, result.report.cause.as_deref()),
        (Some(1), Some("PROVISIONING_SCRIPT is a path, not a URL"))
    );
    let hint = format!("unset PROVISIONING_SCRIPT and mount the script at {mounted}");
    assert_eq!(result.report.hint, Some(hint));
    assert_eq!(machine.status()["asked for"], "PROVISIONING_SCRIPT is a path, not a URL");
    machine.set("PROVISIONING_SCRIPT", "ftp://h/x.sh");
    let cause = "PROVISIONING_SCRIPT begins with \"ftp\":, only http and https are supported";
    assert_eq!(machine.run().report.cause.as_deref(), Some(cause));
    assert_eq!(machine.read("work/ran"), "", "the mounted script is not a second choice");
}
