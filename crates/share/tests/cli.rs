//! Runs the binary against a control socket with fixed responses.

use harness::control_socket;

/// Runs the tool; returns its exit code, stdout and stderr, and the first line of its request.
fn run(args: &[&str], body: &str) -> (Option<i32>, String, String, String) {
    let (output, request) = control_socket::run(env!("CARGO_BIN_EXE_share"), args, body);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.code, stdout, output.stderr, request.lines().take(1).collect())
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
