//! chromedriver: its process and its requests.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use serde_json::Value;

/// Starts chromedriver on a free port. It chooses one for IPv4 and ends if another program has it for IPv6.
pub fn start() -> (Child, u16) {
    let started = (0..10).find_map(|_| {
        let mut driver = std::thread::spawn(spawn).join().expect("a started chromedriver");
        if let Some(port) = port_of(&mut driver) {
            return Some((driver, port));
        }
        driver.wait().expect("its end");
        None
    });
    started.expect("a started chromedriver")
}

/// Starts chromedriver without a view of the machine's network interfaces: Chromium interrupts each page, or never finishes it,
/// when one comes or goes, as with every container. The thread ends with the filter, which its child keeps.
fn spawn() -> Child {
    let family = u64::from(nix::libc::AF_NETLINK.unsigned_abs());
    let is_netlink = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, family);
    let rule = SeccompRule::new(vec![is_netlink.expect("a condition")]).expect("a rule");
    let filter = SeccompFilter::new(
        [(nix::libc::SYS_socket, vec![rule])].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(nix::libc::EAFNOSUPPORT.unsigned_abs()),
        std::env::consts::ARCH.try_into().expect("an architecture of seccomp"),
    );
    let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
    seccompiler::apply_filter(&program).expect("a filtered thread");
    let mut driver = Command::new("chromedriver");
    driver.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null());
    driver.spawn().expect("chromedriver (package chromium-driver)")
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
