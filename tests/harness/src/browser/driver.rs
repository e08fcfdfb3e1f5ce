//! chromedriver: its process and its requests.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Starts chromedriver on a free port. It chooses one for IPv4 and ends if another program has it for IPv6.
pub fn start() -> (Child, u16) {
    let started = (0..10).find_map(|_| {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver (package chromium-driver)");
        if let Some(port) = port_of(&mut driver) {
            return Some((driver, port));
        }
        driver.wait().expect("its end");
        None
    });
    started.expect("a started chromedriver")
}

/// Reads the port from chromedriver's output.
fn port_of(driver: &mut Child) -> Option<u16> {
    let stdout = BufReader::new(driver.stdout.take().expect("a pipe"));
    let mut lines = stdout.lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("started successfully on port"))?;
    let digits: String =
        line.chars().rev().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    Some(digits.chars().rev().collect::<String>().parse().expect("a port"))
}

/// Ends a session, which closes its browser.
pub fn delete(session: &str) {
    let _ = agent().delete(session).call();
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(60)))
        .build();
    config.into()
}

/// Sends a command and returns its value; a command that fails is a failed test.
#[track_caller]
pub fn call(method: &str, url: &str, body: &Value) -> Value {
    let agent = agent();
    let answer = if method == "GET" { agent.get(url).call() } else { agent.post(url).send_json(body) };
    let mut answer = answer.expect("a talking chromedriver");
    let whole: Value = answer.body_mut().with_config().limit(64 * 1024 * 1024).read_json().expect("JSON");
    let value = whole["value"].clone();
    assert!(value.get("error").is_none(), "{method} {url}: {value}");
    value
}
