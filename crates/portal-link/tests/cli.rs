//! Runs the binary against a control socket with fixed responses.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::thread;

/// Runs the tool with these arguments; returns its exit code, stdout and stderr, and the request that it sent.
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
        String::from_utf8(request[..length].to_vec()).unwrap()
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_portal-link"));
    let output = command.env_clear().arg("--socket").arg(&socket).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr), server.join().unwrap())
}

const CREATED: &str = r#"{"path":"/leonardo/enter?code=abc","expires":4102444800}"#;

#[test]
fn the_link_alone_is_on_stdout() {
    let (code, stdout, stderr, request) =
        run(&["--expires", "1h", "--portal", "https://gpu.example/"], CREATED);
    assert_eq!((code, stdout.as_str()), (Some(0), "https://gpu.example/leonardo/enter?code=abc\n"));
    assert!(stderr.starts_with("portal-link: valid for one login within "), "{stderr}");
    assert!(
        request.starts_with("POST /login-codes ") && request.ends_with(r#"{"seconds":3600}"#),
        "{request}"
    );
}

#[test]
fn json_has_the_link_and_its_expiry() {
    let (code, stdout, _, _) = run(&["--json"], CREATED);
    let expected = r#"{"url":"http://localhost:1111/leonardo/enter?code=abc","expires":4102444800}"#;
    assert_eq!((code, stdout), (Some(0), format!("{expected}\n")));
}
