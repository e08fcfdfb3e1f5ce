//! Health check of the engine: the portal answers through Caddy.
//!
//! Other programs that are down are listed, and do not make the container unhealthy: an orchestrator would restart it,
//! and with it everything that works.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use journal::SettingProblem;
use kit::{Exit, Outcome};

/// Options of curl. No proxy: a container with `http_proxy` set must not query the proxy about itself. With
/// `WEB_ENABLE_HTTPS=true` the answer is a redirect to https, with a self-signed certificate or one for another name.
///
/// `--disable` only works as the first option: without it, curl reads `.curlrc` in its `HOME`, which may be on a
/// volume.
const ARGUMENTS: [&str; 12] = [
    "--disable",
    "--fail",
    "--silent",
    "--show-error",
    "--output",
    "/dev/null",
    "--noproxy",
    "*",
    "--max-time",
    "4",
    "--location",
    "--insecure",
];
const ADDRESS: &str = "http://127.0.0.1:1111/leonardo/health-check";

/// Runs the subcommand: exit code 0 if the portal answers through Caddy.
pub fn check(down: &[SettingProblem]) -> Outcome {
    let failure = query()?;
    io::stdout().write_all(text(failure.as_deref(), down).as_bytes())?;
    Ok(if failure.is_none() { Exit::Done } else { Exit::No })
}

/// Asks the portal; returns why it did not answer.
fn query() -> Result<Option<String>> {
    let mut curl = Command::new("/usr/bin/curl");
    curl.args(ARGUMENTS).arg(ADDRESS).env_clear().stdin(Stdio::null());
    let answer = curl.output().context("cannot run curl")?;
    let stderr = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
    Ok((!answer.status.success()).then_some(stderr))
}

fn text(failure: Option<&str>, down: &[SettingProblem]) -> String {
    let mut text = match failure {
        None => "the portal answers\n".to_owned(),
        Some(why) => format!("the portal does not answer: {why}\n"),
    };
    for SettingProblem { setting, message } in down {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{setting}: {message}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_and_what_is_down_are_named() {
        let down = [SettingProblem { setting: "caddy".into(), message: "is down".into() }];
        assert_eq!(text(None, &[]), "the portal answers\n");
        assert_eq!(
            text(Some("curl: (7) no"), &down),
            "the portal does not answer: curl: (7) no\ncaddy: is down\n"
        );
    }
}
