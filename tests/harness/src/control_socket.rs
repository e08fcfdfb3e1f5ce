//! Control socket of the portal with a fixed response, for the commands that use it.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::thread;

use crate::Output;

/// Runs a program with `--socket` and these arguments; returns its output, and the request that it sent.
pub fn run(program: &str, args: &[&str], body: &str) -> (Output, String) {
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
    let mut command = Command::new(program);
    let output = command.env_clear().arg("--socket").arg(&socket).args(args).output().unwrap();
    (output.into(), server.join().unwrap())
}
