//! Keys that log in, and an SSH server that accepts nothing else.

use std::path::Path;

use anyhow::Result;
use journal::Phase;
use kit::capabilities::{self, CapabilitySet};
use kit::listening_port::Holder;
use kit::{Problem, SettingsReader, listening_port, variables};
use sshd_run::key_sources::KeySources;

use crate::context::Context;
use crate::finding::Finding;

const RESTART: &str = "supervisorctl restart sshd";
const ADD_KEY: &str = "add a public key to /root/.ssh/authorized_keys; then: supervisorctl start sshd";
/// Variables with public keys.
const KEYS: [&str; 3] = ["SSH_PUBKEY", "PUBLIC_KEY", "SSH_PUBLIC_KEY"];

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let (keys, problems) = KeySources::default().read();
    let mut findings: Vec<Finding> = problems.iter().map(unusable_file).collect();
    let port = SettingsReader::new(&context.env).port(&variables::SSH_PORT);
    let server = listening_port::holder(port);
    let seen = Seen {
        keys: keys.render().lines().count(),
        // An earlier start has stored what it decided.
        is_started: match context.env.text("LEONARDO_AUTOSTART_SSHD") {
            Some(text) if context.phase() != Some(Phase::Starting) => Some(text == "true"),
            _ => None,
        },
        // While a session runs, its process has no listening socket.
        server: server.as_ref().map(command_line),
        missing: sshd_run::REQUIRED_CAPABILITIES.difference(capabilities::effective()?),
    };
    if seen.keys == 0 && seen.server.is_none() && seen.is_started != Some(true) {
        findings.extend(unusable_variables(context));
        if findings.is_empty() {
            findings.push(Finding::skip("no public key was given (SSH_PUBKEY)"));
        }
        return Ok(findings);
    }
    if let Some(path) = sshd_run::open_to_others(Path::new(sshd_run::KEYS_COMMAND))? {
        let path = path.display();
        findings.push(Finding::fail(
            format!("every login fails: users other than root can change {path}"),
            format!("chown root {path}; chmod go-w {path}"),
        ));
    }
    findings.extend(judge(port, &seen));
    Ok(findings)
}

/// What decides about logins.
#[derive(Debug)]
struct Seen {
    /// Number of keys that log in.
    keys: usize,
    /// Whether `init` had sshd started; `None` if that is unknown.
    is_started: Option<bool>,
    /// Command line of the program on sshd's port.
    server: Option<String>,
    /// Capabilities that sshd needs and the container lacks.
    missing: CapabilitySet,
}

fn judge(port: u16, seen: &Seen) -> Vec<Finding> {
    if seen.server.is_none() && !seen.missing.is_empty() {
        let names: Vec<&str> = seen.missing.iter_names().map(|(name, _)| name).collect();
        return vec![Finding::fail(
            format!("sshd cannot run: the container lacks the capability {}", names.join(", ")),
            capability_remedy(seen.missing),
        )];
    }
    if seen.server.is_none() && seen.is_started == Some(false) {
        let added = "keys were added after the start, and sshd does not run";
        return vec![Finding::warn(added, "supervisorctl start sshd")];
    }
    let keys = match seen.keys {
        0 => Finding::fail("no key logs in", ADD_KEY),
        count => Finding::pass(format!("{count} public key(s) log in on port {port}")),
    };
    vec![server_finding(port, seen.server.as_deref()), keys]
}

/// Returns how the container gets capabilities that it lacks.
pub fn capability_remedy(missing: CapabilitySet) -> String {
    let options: Vec<String> = missing.iter_names().map(|(name, _)| format!("--cap-add {name}")).collect();
    format!("create the container anew with: {}", options.join(" "))
}

/// Returns what is wrong with a file of keys.
fn unusable_file(problem: &Problem) -> Finding {
    let path = &problem.setting;
    let remedy = match &problem.message {
        message if message.contains("can write") => format!("chmod go-w {path}"),
        message if message.contains("belongs to uid") => format!("chown root {path}"),
        _ => format!("correct {path}; it counts at the next login"),
    };
    Finding::warn(problem.to_string(), remedy)
}

/// Returns why the variables contain no key.
fn unusable_variables(context: &Context) -> impl Iterator<Item = Finding> {
    let problems = context.timeline.iter().flat_map(|timeline| &timeline.problems);
    let about_keys = problems.filter(|problem| KEYS.contains(&problem.setting.as_str()));
    about_keys.map(|problem| {
        Finding::fail(format!("no key logs in: {}: {}", problem.setting, problem.message), ADD_KEY)
    })
}

/// Returns the command line of the first process that holds a port.
pub fn command_line(holder: &Holder) -> String {
    let words = holder.processes.first().map(kit::process::Process::arguments).unwrap_or_default();
    words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// True for the image's sshd, whose settings are all on its command line.
pub fn is_own_server(command_line: &str) -> bool {
    command_line.contains("-f none") && command_line.contains("PasswordAuthentication=no")
}

/// Decides about the program on sshd's port, by its command line.
fn server_finding(port: u16, command_line: Option<&str>) -> Finding {
    match command_line {
        None => Finding::fail(format!("nothing listens on port {port}"), RESTART),
        Some(line) if is_own_server(line) => {
            Finding::pass(format!("sshd on port {port} accepts public keys only"))
        }
        Some(line) if line.contains("sshd") => Finding::warn(
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
    fn logins_are_judged_by_keys_capabilities_and_the_server() {
        let ours = "sshd: /usr/sbin/sshd -D -e -f none -o Port=22 -o PasswordAuthentication=no [listener]";
        let other = "sshd: /usr/sbin/sshd -D [listener]";
        let key = Finding::pass("1 public key(s) log in on port 22");
        let nothing = Finding::fail("nothing listens on port 22", RESTART);
        let own = Finding::pass("sshd on port 22 accepts public keys only");
        let of_others = Finding::warn(
            "sshd on port 22 was started by another program; its settings decide about passwords",
            "sshd -T | grep -i passwordauthentication",
        );
        let taken = Finding::fail("another program than sshd listens on port 22", "ss -tlnp");
        let added = Finding::warn(
            "keys were added after the start, and sshd does not run",
            "supervisorctl start sshd",
        );
        let lacking = Finding::fail(
            "sshd cannot run: the container lacks the capability SYS_CHROOT",
            "create the container anew with: --cap-add SYS_CHROOT",
        );
        let (all, none) = (CapabilitySet::empty(), CapabilitySet::SYS_CHROOT);
        for (keys, is_started, server, missing, expected) in [
            (1, Some(true), Some(ours), all, vec![own.clone(), key.clone()]),
            (1, Some(true), None, all, vec![nothing.clone(), key.clone()]),
            (1, None, None, all, vec![nothing, key.clone()]),
            (1, Some(false), None, all, vec![added]),
            (1, Some(false), Some(ours), all, vec![own.clone(), key.clone()]),
            (0, Some(false), Some(ours), all, vec![own, Finding::fail("no key logs in", ADD_KEY)]),
            (1, Some(false), None, none, vec![lacking]),
            (1, Some(true), Some(other), none, vec![of_others, key.clone()]),
            (1, Some(true), Some("python3 x"), all, vec![taken, key]),
        ] {
            let seen = Seen { keys, is_started, server: server.map(str::to_owned), missing };
            assert_eq!(judge(22, &seen), expected, "{seen:?}");
        }
    }

    #[test]
    fn a_file_of_keys_has_the_remedy_for_its_fault() {
        for (message, remedy) in [
            ("other accounts can write to it; ignored", "chmod go-w /k"),
            ("it belongs to uid 1000; ignored", "chown root /k"),
            ("line 3 is no key; ignored", "correct /k; it counts at the next login"),
        ] {
            let found = unusable_file(&Problem::new("/k", message));
            assert_eq!(found, Finding::warn(format!("/k: {message}"), remedy));
        }
    }
}
