//! Keys that log in, and an SSH server that accepts nothing else.

use std::path::Path;

use anyhow::Result;
use kit::{SettingsReader, listening_port, variables};
use sshd_run::key_sources::KeySources;

use crate::context::Context;
use crate::finding::Finding;

const RESTART: &str = "supervisorctl restart sshd";

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let (keys, problems) = KeySources::default().read();
    let warnings =
        problems.iter().map(|problem| Finding::warn(problem.to_string(), "sudo sshd-run --keys root"));
    let mut findings: Vec<Finding> = warnings.collect();
    let is_expected = context.env.text("LEONARDO_AUTOSTART_SSHD") == Some("true");
    let port = SettingsReader::new(&context.env).port(&variables::SSH_PORT);
    let server = listening_port::holder(port);
    if keys.is_empty() && server.is_none() && !is_expected {
        findings.push(Finding::skip("no public key was given (SSH_PUBKEY)"));
        return Ok(findings);
    }
    if let Some(path) = sshd_run::open_to_others(Path::new(sshd_run::KEYS_COMMAND))? {
        let path = path.display();
        findings.push(Finding::fail(
            format!("every login fails: users other than root can change {path}"),
            format!("chown root {path}; chmod go-w {path}"),
        ));
    }
    // While a session runs, its process has no listening socket.
    let title = server.as_ref().and_then(|holder| holder.processes.first()).map(|process| {
        let words = process.arguments();
        words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    });
    findings.push(server_finding(port, server.is_some(), title.as_deref()));
    findings.push(match (keys.render().lines().count(), is_expected) {
        (0, _) => Finding::fail("no key logs in", "docker run -e SSH_PUBKEY=…"),
        (count, true) => Finding::pass(format!("{count} public key(s) log in on port {port}")),
        (_, false) => Finding::warn("keys were added after the start", "supervisorctl start sshd"),
    });
    Ok(findings)
}

/// Decides about the program on sshd's port, by its command line.
fn server_finding(port: u16, has_listener: bool, title: Option<&str>) -> Finding {
    match title {
        _ if !has_listener => Finding::fail(format!("nothing listens on port {port}"), RESTART),
        Some(title) if title.contains("-f none") && title.contains("PasswordAuthentication=no") => {
            Finding::pass(format!("sshd on port {port} accepts public keys only"))
        }
        Some(title) if title.contains("sshd") => Finding::warn(
            format!(
                "sshd on port {port} was started by another program; its settings decide about passwords"
            ),
            "sshd -T | grep -i passwordauthentication",
        ),
        _ => Finding::fail(format!("another program than sshd listens on port {port}"), "ss -tlnp"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_judged_by_its_command_line() {
        let ours = "sshd: /usr/sbin/sshd -D -e -f none -o Port=22 -o PasswordAuthentication=no [listener]";
        for (has_listener, title, expected) in [
            (false, None, Finding::fail("nothing listens on port 22", RESTART)),
            (true, Some(ours), Finding::pass("sshd on port 22 accepts public keys only")),
            (
                true,
                Some("sshd: /usr/sbin/sshd -D [listener]"),
                Finding::warn(
                    "sshd on port 22 was started by another program; its settings decide about passwords",
                    "sshd -T | grep -i passwordauthentication",
                ),
            ),
            (
                true,
                Some("python3 x"),
                Finding::fail("another program than sshd listens on port 22", "ss -tlnp"),
            ),
        ] {
            assert_eq!(server_finding(22, has_listener, title), expected);
        }
    }
}
