//! Runs the binary against a control socket with fixed responses.

use harness::control_socket;

const CREATED: &str = r#"{"path":"/leonardo/enter?code=abc","expires":4102444800}"#;

const TOOL: &str = env!("CARGO_BIN_EXE_portal-link");

#[test]
fn the_link_alone_is_on_stdout() {
    let args = ["--expires", "1h", "--portal", "https://gpu.example/"];
    let (output, request) = control_socket::run(TOOL, &args, CREATED);
    assert_eq!(output.text(), "https://gpu.example/leonardo/enter?code=abc");
    assert!(output.stderr.starts_with("portal-link: valid for one login within "), "{output:?}");
    assert!(
        request.starts_with("POST /login-codes ") && request.ends_with(r#"{"seconds":3600}"#),
        "{request}"
    );
}

#[test]
fn json_has_the_link_and_its_expiry() {
    let (output, _) = control_socket::run(TOOL, &["--json"], CREATED);
    let expected = r#"{"url":"http://localhost:1111/leonardo/enter?code=abc","expires":4102444800}"#;
    assert_eq!(output.text(), expected);
}
