//! Runs the binary against a control socket with fixed responses.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::thread;

/// Runs the tool with these arguments; returns its exit code, stdout and stderr, and the first line of its request.
fn run(args: &[&str], body: &str) -> (Option<i32>, String, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let response = format!("HTTP/1.0 200 OK\r\n\r\n{body}");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; 1_000];
        let length = stream.read(&mut request).unwrap();
        stream.write_all(response.as_bytes()).unwrap();
        String::from_utf8_lossy(&request[..length]).lines().next().unwrap().to_owned()
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_share"));
    let output = command.env_clear().arg("--socket").arg(&socket).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr), server.join().unwrap())
}

fn result(code: i32, stdout: &str, stderr: &str, request: &str) -> (Option<i32>, String, String, String) {
    (Some(code), stdout.to_owned(), stderr.to_owned(), format!("{request} HTTP/1.0"))
}

#[test]
fn revoking_prints_nothing_or_the_number_as_json() {
    let request = "DELETE /shares/3f9c01ab";
    assert_eq!(run(&["--revoke", "3f9c01ab"], r#"{"ended":1}"#), result(0, "", "", request));
    let json = "{\"ended\":1}\n";
    assert_eq!(run(&["--revoke", "3f9c01ab", "--json"], r#"{"ended":1}"#), result(0, json, "", request));
    let (json, message) = ("{\"ended\":0}\n", "share: error: no such link: 3f/9c\n");
    let request = "DELETE /shares/3f9c";
    assert_eq!(run(&["--revoke", "3f/9c", "--json"], r#"{"ended":0}"#), result(1, json, message, request));
}

#[test]
fn json_of_a_new_link_has_its_url_and_its_fields() {
    let body = r#"{"share":{"id":"3f9c01ab","service":"Echo","port":8080,"created":1,"expires":61,"max_uses":null,"uses":0},"path":"/leonardo/share?link=x"}"#;
    let (code, stdout, _, request) = run(&["Echo", "--json"], body);
    let expected = r#"{"url":"http://localhost:8080/leonardo/share?link=x","id":"3f9c01ab","service":"Echo","port":8080,"created":1,"expires":61,"max_uses":null,"uses":0}"#;
    assert_eq!((code, stdout, request.as_str()), (Some(0), format!("{expected}\n"), "POST /shares HTTP/1.0"));
}
