//! Every kind of response: the message, the exit code, and that nothing ran.

use std::io::{Read, Write};

use nix::sys::socket::{setsockopt, sockopt};
use provision::ReportOutcome::{Failed, Ran, Unchanged};

use crate::fixture::Machine;
use crate::server::{Server, answer, script, stall, wait_a_moment};

/// Writes a file if it is run.
pub const SCRIPT: &str = "echo ran >> $WORKSPACE/ran\n";

pub fn fetch(server: &Server) -> (Machine, crate::fixture::RunOutput) {
    let mut machine = Machine::new();
    machine.set("PROVISIONING_SCRIPT", server.url("/x.sh"));
    let result = machine.run();
    (machine, result)
}

/// Asserts that the server's response makes provisioning fail with this message, in which `HOST` is the server.
#[track_caller]
pub fn refused(server: &Server, tries: usize, cause: &str, hint: &str) {
    refused_by(Machine::new(), server, tries, cause, hint);
}

#[track_caller]
fn refused_by(mut machine: Machine, server: &Server, tries: usize, cause: &str, hint: &str) {
    machine.set("PROVISIONING_SCRIPT", server.url("/x.sh"));
    let result = machine.run();
    assert_eq!(result.report.cause.as_deref(), Some(cause.replace("HOST", &server.host).as_str()));
    assert_eq!(result.report.hint.as_deref(), Some(hint));
    assert_eq!((result.report.outcome, result.code), (Failed, Some(1)));
    assert_eq!((server.heads().len(), machine.read("work/ran").as_str()), (tries, ""));
    let last: Vec<String> = machine.log().into_iter().rev().take(2).collect();
    assert_eq!(last[1], format!("provision: failed: {}", result.report.cause.unwrap()));
    assert_eq!(last[0], format!("provision: hint: {hint}"));
    assert_eq!(machine.status()["state"], "could not be run; it is retried at the next start");
    assert!(result.stderr.contains(&cause.replace("HOST", &server.host)), "{}", result.stderr);
}

const BROWSER: &str = "open the address in a private browser window: it must show the script";
const LATER: &str = "open the address in a browser; to retry: supervisorctl restart boot";
pub const NETWORK: &str =
    "check that the container can reach the internet, then run: supervisorctl restart boot";
const CLOSED: &str =
    "the connection to http://HOST/x.sh was closed before the response was complete (tried 4 times)";
const RAW: &str = "use the address of the plain text: look for a link or button named \"raw\"";

#[test]
fn a_404_with_a_script_in_it_is_not_run() {
    let server = Server::saying(answer("404 Not Found", "", SCRIPT.as_bytes()));
    refused(&server, 1, "http://HOST/x.sh returned 404 Not Found", BROWSER);
}

#[test]
fn a_server_that_asks_for_a_login_is_not_asked_again() {
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let server = Server::saying(answer(status, "WWW-Authenticate: Basic\r\n", b""));
        let cause = format!("http://HOST/x.sh returned {status}");
        refused(
            &server,
            1,
            &cause,
            "the script must be readable without a login, or with one in the address",
        );
    }
}

#[test]
fn a_server_that_is_not_well_is_asked_four_times() {
    for status in ["500 Internal Server Error", "503 Service Unavailable", "429 Too Many Requests"] {
        let server = Server::saying(answer(status, "", b"<html>"));
        refused(&server, 4, &format!("http://HOST/x.sh returned {status} (tried 4 times)"), LATER);
    }
}

#[test]
fn a_server_that_gets_well_is_believed() {
    let server = Server::new(|number, _, stream| {
        let bad = answer("503 Service Unavailable", "Retry-After: 0\r\n", b"");
        let _ = stream.write_all(if number < 2 { &bad } else { b"" });
        if number == 2 {
            let _ = stream.write_all(&script(SCRIPT));
        }
    });
    let (machine, result) = fetch(&server);
    assert_eq!((result.report.outcome, result.code, server.heads().len()), (Ran, Some(0), 3));
    assert_eq!(machine.read("work/ran"), "ran\n");
    let again =
        format!("provision: {} returned 503 Service Unavailable; trying again in 1 s", server.url("/x.sh"));
    assert_eq!(machine.log().iter().filter(|line| **line == again).count(), 2);
}

#[test]
fn pages_are_refused_by_what_they_are_called_and_by_what_they_are() {
    let page = answer("200 OK", "Content-Type: text/html; charset=utf-8\r\n", b"please log in");
    refused(&Server::saying(page), 1, "http://HOST/x.sh is an HTML page, not a script", RAW);
    let page = script("\n<!DOCTYPE html><html>");
    refused(&Server::saying(page), 1, "http://HOST/x.sh is an HTML page, not a script", RAW);
}

#[test]
fn content_that_is_not_text_is_named() {
    let utf16: Vec<u8> = "\u{feff}echo hello\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let empty = "add commands to it, or unset PROVISIONING_SCRIPT";
    let encoding = "save it as UTF-8: choose that encoding in the editor's \"Save as\", or in PowerShell Out-File -Encoding utf8";
    for (body, name, hint) in [
        (&b""[..], "empty", empty),
        (b" \r\n\n", "empty", empty),
        (b"\x7fELF\x02\x01\x01\0", "a program", RAW),
        (b"PK\x03\x04", "a zip archive", RAW),
        (b"echo\0hello, and this is long enough to be no UTF-16\n", "binary", RAW),
        (&utf16, "UTF-16 text", encoding),
    ] {
        let cause = format!("http://HOST/x.sh is {name}, not a script");
        refused(&Server::saying(script(body)), 1, &cause, hint);
    }
}

#[test]
fn a_204_is_no_script() {
    let server = Server::saying("HTTP/1.1 204 No Content\r\n\r\n");
    refused(&server, 1, "http://HOST/x.sh returned 204 No Content", LATER);
}

const TOO_LARGE: &str = "http://HOST/x.sh is larger than 1.0 MB, which is too large for a script";
const LARGE_HINT: &str = "download or unpack large files in the script instead";

#[test]
fn a_body_that_never_ends_is_cut_off() {
    let server = Server::new(|_, _, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'#'; 10_000]).is_ok() {}
    });
    refused(&server, 1, TOO_LARGE, LARGE_HINT);
}

#[test]
fn a_gzip_bomb_is_cut_off_where_its_content_is_too_large() {
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..100 {
        bomb.write_all(&vec![b'#'; 1_000_000]).unwrap();
    }
    let server = Server::saying(answer("200 OK", "Content-Encoding: gzip\r\n", &bomb.finish().unwrap()));
    refused(&server, 1, TOO_LARGE, LARGE_HINT);
}

#[test]
fn a_gzipped_script_runs_and_a_cut_one_does_not() {
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    zipped.write_all(SCRIPT.as_bytes()).unwrap();
    let zipped = zipped.finish().unwrap();
    let (machine, result) = fetch(&Server::saying(answer("200 OK", "Content-Encoding: gzip\r\n", &zipped)));
    assert_eq!((result.report.outcome, machine.read("work/ran").as_str()), (Ran, "ran\n"));
    let cut = &zipped[..zipped.len() - 10];
    let server = Server::saying(answer("200 OK", "Content-Encoding: gzip\r\n", cut));
    refused(&server, 4, CLOSED, NETWORK);
}

#[test]
fn a_body_that_breaks_off_is_never_half_a_script() {
    let whole = script("echo ran >> $WORKSPACE/ran\n# the rest\n");
    let half = whole[..whole.len() - 5].to_vec();
    refused(&Server::saying(half), 4, CLOSED, NETWORK);
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1b\r\necho ran >> $WORKSPACE/ran\n\r\n";
    let server = Server::saying(chunked);
    refused(&server, 4, CLOSED, NETWORK);
}

#[test]
fn a_connection_that_is_reset_in_the_middle_is_tried_again() {
    let reset = Server::over(
        |mut stream| {
            let _ = stream.read(&mut [0; 4_096]);
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\necho ran >> $WORKSPACE/ran\n");
            let abruptly = nix::libc::linger { l_onoff: 1, l_linger: 0 };
            setsockopt(&stream, sockopt::Linger, &abruptly).unwrap();
            None
        },
        |_, _, _| (),
    );
    let (machine, result) = fetch(&reset);
    let cause = CLOSED.replace("HOST", &reset.host);
    assert_eq!((result.report.cause, machine.read("work/ran").as_str()), (Some(cause), ""));
    assert_eq!(result.report.hint.as_deref(), Some(NETWORK));
}

#[test]
fn a_server_that_stops_in_the_middle_is_given_up() {
    let heads = Server::new(|_, _, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le");
        stall(stream);
    });
    // Four tries of 1.5 s have to fit into 6 s, also on a busy machine.
    let patient = || Machine::dividing_times_by("20");
    refused_by(patient(), &heads, 4, "HOST sent no data for 1.5 s (tried 4 times)", NETWORK);
    let bodies = Server::new(|_, _, stream| {
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\necho ran >> $WORKSPACE/ran\n");
        stall(stream);
    });
    refused_by(patient(), &bodies, 4, "HOST sent no data for 1.5 s (tried 4 times)", NETWORK);
}

#[test]
fn a_server_that_drips_is_given_up_in_the_end() {
    let server = Server::new(|_, _, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        while stream.write_all(b"#").and_then(|()| stream.flush()).is_ok() {
            wait_a_moment();
        }
    });
    refused(&server, 1, "http://HOST/x.sh was not received within 2.4 s", NETWORK);
}

#[test]
fn other_content_at_the_second_try_is_not_mixed_with_the_first() {
    let server = Server::new(|number, _, stream| {
        if number == 0 {
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 1000\r\n\r\necho one >> $WORKSPACE/ran\n",
            );
        } else {
            let body = b"echo two >> $WORKSPACE/ran\n";
            let _ = stream.write_all(&answer("200 OK", "ETag: \"2\"\r\n", body));
        }
    });
    let (machine, result) = fetch(&server);
    assert_eq!((result.report.outcome, machine.read("work/ran").as_str()), (Ran, "two\n"));
    let url = server.url("/x.sh");
    let digest = result.report.digest.unwrap();
    let steps = [
        format!("fetching {url}"),
        "warning: http is not encrypted; the script could be modified in transit (pin its SHA-256)"
            .to_owned(),
        format!("the connection to {url} was closed before the response was complete; trying again in 1 s"),
        format!("{url}: 27 bytes, sha256 {digest}"),
        "running, for the first time".to_owned(),
    ];
    assert_eq!(machine.log()[..5], steps.map(|step| format!("provision: {step}")));
}

#[test]
fn a_digest_decides_and_a_wrong_one_is_named() {
    let server = Server::saying(script(SCRIPT));
    let digest = "b5e3e5b5b2d0f5a3b1c0a7b4c2d9e6f1b5e3e5b5b2d0f5a3b1c0a7b4c2d9e6f1";
    let mut machine = Machine::new();
    machine.set("PROVISIONING_SCRIPT", server.url("/x.sh")).set("PROVISIONING_SCRIPT_SHA256", digest);
    let wrong = machine.run();
    let real = wrong
        .report
        .cause
        .as_ref()
        .unwrap()
        .split_whitespace()
        .rev()
        .nth(2)
        .unwrap()
        .trim_end_matches(',')
        .to_owned();
    let cause = format!(
        "SHA-256 of {} does not match PROVISIONING_SCRIPT_SHA256: got {real}, expected {digest}",
        server.url("/x.sh")
    );
    assert_eq!((wrong.report.outcome, wrong.report.cause), (Failed, Some(cause)));
    machine.set("PROVISIONING_SCRIPT_SHA256", "abc");
    let malformed = machine.run();
    let cause = "PROVISIONING_SCRIPT_SHA256 is not 64 hexadecimal digits";
    assert_eq!((malformed.report.outcome, malformed.report.cause.as_deref()), (Failed, Some(cause)));
    assert_eq!(machine.read("work/ran"), "");
    machine.set("PROVISIONING_SCRIPT_SHA256", format!("SHA256:{}", real.to_uppercase()));
    let right = machine.run();
    assert_eq!((right.report.outcome, right.report.digest), (Ran, Some(real.clone())));
    assert_eq!(machine.read("work/ran"), "ran\n");
    // A script with a known digest that succeeded is not fetched again.
    let asked = server.heads().len();
    assert_eq!((machine.run().report.outcome, server.heads().len()), (Unchanged, asked));
}

#[test]
fn windows_line_ends_of_a_script_are_corrected_and_reported() {
    let server =
        Server::saying(script("\u{feff}\r\n#!/bin/bash\r\nfor i in 1 2\r\ndo echo \"[$i]\"\r\ndone\r\n"));
    let (machine, result) = fetch(&server);
    assert_eq!((result.report.outcome, machine.output()), (Ran, vec!["[1]".to_owned(), "[2]".to_owned()]));
    let mended = "provision: mended: a byte order mark was removed, and blanks before its #! were removed, and 4 line ends of Windows were changed";
    assert!(machine.log().contains(&mended.to_owned()), "{:?}", machine.log());
}

#[test]
fn an_unreachable_host_does_not_matter_after_a_success() {
    let server = Server::saying(script(SCRIPT));
    let (mut machine, result) = fetch(&server);
    assert_eq!(result.report.outcome, Ran);
    assert_eq!(machine.run().report.outcome, Unchanged);
    drop(server);
    let gone = machine.run();
    assert_eq!((gone.report.outcome, gone.code), (Unchanged, Some(0)));
    let cause = gone.report.cause.unwrap();
    assert!(cause.starts_with("cannot check for changes: cannot fetch http://127.0.0.1:"), "{cause}");
    assert_eq!(machine.run_with(&["--force"]).report.outcome, Failed);
    machine.set("PROVISIONING_SCRIPT", "http://127.0.0.1:1/other.sh");
    assert_eq!(machine.run().report.outcome, Failed, "another script was asked for");
    assert_eq!(machine.read("work/ran"), "ran\n");
}

#[test]
fn a_changed_script_runs_and_an_unchanged_one_does_not() {
    let server = Server::new(|number, _, stream| {
        let name = ["one", "one", "two", "two"][number];
        let _ = stream.write_all(&script(format!("echo {name} >> $WORKSPACE/ran\n")));
    });
    let (machine, first) = fetch(&server);
    let outcomes: Vec<_> = (0..3).map(|_| machine.run().report.outcome).collect();
    assert_eq!((first.report.outcome, outcomes), (Ran, vec![Unchanged, Ran, Unchanged]));
    assert_eq!(machine.read("work/ran"), "one\ntwo\n");
}
