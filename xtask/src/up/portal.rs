//! The portal as seen from this machine: its health and its login.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

use crate::engine::Engine;
use crate::health;

const DEADLINE: Duration = Duration::from_secs(150);
const HEALTH_CHECK: &str = "/leonardo/health-check";
const CREDENTIALS: &str = "/opt/leonardo/etc/web_credentials.json";
const LOG_LINES: &str = "30";

/// Login of the portal. There is no `Debug`: these are secrets.
#[derive(Deserialize)]
pub struct Credentials {
    /// The name for the login page.
    #[serde(rename = "web_user")]
    pub user: String,
    /// The password for it.
    #[serde(rename = "web_password")]
    pub password: String,
    /// Bearer token for programs.
    #[serde(rename = "web_token")]
    pub token: String,
}

/// Address at which the portal is reached from this machine.
pub fn address(bind: IpAddr, port: u16) -> SocketAddr {
    let address = match bind {
        // "All addresses" cannot be opened in a browser.
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    };
    SocketAddr::new(address, port)
}

/// Waits until the portal is healthy and returns its address, with https if plain http is redirected; fails with
/// the end of the container's log if the container exits.
pub fn wait(engine: &Engine, name: &str, address: SocketAddr) -> Result<String> {
    let mut end = Reaped(watch(engine, name)?);
    let healthy = || match health::status(address, HEALTH_CHECK) {
        Ok(200) => Some(format!("http://{address}")),
        Ok(308) => Some(format!("https://{address}")),
        _ => None,
    };
    let outcome = kit::wait::until(DEADLINE, &format!("the portal of {name} at {address}"), || {
        if let Some(url) = healthy() {
            return Some(Ok(url));
        }
        let ended = end.0.try_wait().ok().flatten();
        ended.map(|_| Err(anyhow!("the container {name} has ended")))
    });
    let outcome = outcome.and_then(|answer| answer);
    outcome.map_err(|error| anyhow!("{error}; its log ends with:\n{}", log_end(engine, name)))
}

/// `docker wait` exits with the container; checking it is cheaper than the container's state.
fn watch(engine: &Engine, name: &str) -> Result<Child> {
    let mut command = engine.docker();
    command.args(["wait", name]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().with_context(|| format!("cannot run {}", kit::cmd::describe(&command)))
}

/// A child process that is killed when dropped.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // Both fail only if the child has exited already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn log_end(engine: &Engine, name: &str) -> String {
    let mut command: Command = engine.docker();
    let output = command.args(["logs", "--tail", LOG_LINES, name]).stdin(Stdio::null()).output();
    match output {
        Ok(output) => {
            let both = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&both).trim_end().to_owned()
        }
        Err(error) => format!("(cannot read it: {error})"),
    }
}

/// Reads the login from the container.
pub fn credentials(engine: &Engine, name: &str) -> Result<Credentials> {
    let text = kit::cmd::stdout(engine.docker().args(["exec", name, "cat", CREDENTIALS]))?;
    read(&text)
}

fn read(text: &str) -> Result<Credentials> {
    // The parser's own message would repeat a part of the text.
    serde_json::from_str(text)
        .map_err(|error| anyhow!("{CREDENTIALS} is malformed at column {}", error.column()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_one_that_a_browser_can_open() {
        let address = |bind: &str| address(bind.parse().unwrap(), 1111).to_string();
        assert_eq!(address("127.0.0.1"), "127.0.0.1:1111");
        assert_eq!(address("0.0.0.0"), "127.0.0.1:1111");
        assert_eq!(address("::"), "[::1]:1111");
        assert_eq!(address("192.0.2.7"), "192.0.2.7:1111");
    }

    #[test]
    fn malformed_credentials_are_not_repeated() {
        let error = read(r#"{"web_user":"u","web_password":"hunter2""#).err().unwrap();
        assert!(!format!("{error:#}").contains("hunter2"), "{error:#}");
        let good =
            read(r#"{"web_user":"u","web_password":"p","web_token":"t","web_password_b64":"x"}"#).unwrap();
        assert_eq!((good.user, good.password, good.token), ("u".into(), "p".into(), "t".into()));
    }
}
