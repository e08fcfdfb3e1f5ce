//! Host keys and state are this container's own.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use env_store::ContainerRecord;
use kit::{SettingsReader, cmd, listening_port, variables};

use crate::context::Context;
use crate::finding::Finding;

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let record = ContainerRecord::read(Path::new(ContainerRecord::PATH));
    let mut findings = vec![owner(kit::container_id::id().as_deref(), record.container.as_deref())];
    let port = SettingsReader::new(&context.env).port(&variables::SSH_PORT);
    let offered = listening_port::holder(port).and_then(|_| offered(port));
    for (kind, path) in sshd_run::HOST_KEYS {
        let Ok(public) = fs::read_to_string(format!("{path}.pub")) else { continue };
        let public = key(&public);
        let mut keygen = Command::new("/usr/bin/ssh-keygen");
        let private = cmd::stdout(keygen.args(["-y", "-P", "", "-f", path])).ok();
        findings.push(host_key(kind, path, public.as_deref(), private.as_deref(), offered.as_deref()));
    }
    Ok(findings)
}

/// Compares the container with the one that owns its state.
fn owner(container: Option<&str>, record: Option<&str>) -> Finding {
    match (container, record) {
        (None, _) => Finding::skip("the kernel does not show the container's name"),
        (Some(container), Some(record)) if container == record => {
            Finding::pass("state and keys belong to this container")
        }
        _ => Finding::fail(
            "the state in this container belongs to another one",
            "restart the container: docker restart NAME",
        ),
    }
}

/// Compares both halves of a host key with what sshd offers.
fn host_key(
    kind: &str,
    path: &str,
    public: Option<&str>,
    private: Option<&str>,
    offered: Option<&str>,
) -> Finding {
    let anew = format!("rm {path}*; supervisorctl restart sshd");
    let Some(public) = public else {
        return Finding::fail(format!("{path}.pub is not a public key"), anew);
    };
    let Some(private) = private.and_then(key) else {
        return Finding::fail(format!("{path} cannot be read by ssh-keygen"), anew);
    };
    if private != public {
        return Finding::fail(format!("{path} and {path}.pub are not one key"), anew);
    }
    let is_offered = |offered: &str| {
        let of_kind =
            offered.lines().filter_map(|line| line.split_once(' ')).filter_map(|(_, key_of)| key(key_of));
        let same_kind: Vec<String> =
            of_kind.filter(|offered| offered.split(' ').next() == public.split(' ').next()).collect();
        same_kind.is_empty() || same_kind.iter().any(|offered| offered == public)
    };
    if offered.is_some_and(|offered| !is_offered(offered)) {
        let seen = format!("sshd offers another {kind} key than {path}");
        return Finding::fail(seen, "supervisorctl restart sshd");
    }
    Finding::pass(format!("the {kind} host key is whole"))
}

/// Returns type and key of a line, without the comment.
fn key(line: &str) -> Option<String> {
    let mut words = line.split_ascii_whitespace();
    Some(format!("{} {}", words.next()?, words.next()?))
}

/// Returns the host keys that the server offers, one a line after the host.
fn offered(port: u16) -> Option<String> {
    let mut scan = Command::new("/usr/bin/ssh-keyscan");
    scan.args(["-T", "3", "-t", "ed25519,ecdsa", "-p", &port.to_string(), "127.0.0.1"]).env_clear();
    cmd::stdout(&mut scan).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_image_is_recognized_by_the_owner_of_its_state() {
        let other = Finding::fail(
            "the state in this container belongs to another one",
            "restart the container: docker restart NAME",
        );
        assert_eq!(owner(Some("a"), Some("a")), Finding::pass("state and keys belong to this container"));
        assert_eq!((owner(Some("a"), Some("b")), owner(Some("a"), None)), (other.clone(), other));
        assert_eq!(owner(None, None), Finding::skip("the kernel does not show the container's name"));
    }

    #[test]
    fn both_halves_and_what_sshd_offers_are_one_key() {
        let anew = "rm /k*; supervisorctl restart sshd";
        let (public, private) = (Some("ssh-ed25519 AA"), Some("ssh-ed25519 AA leonardo\n"));
        let whole = Finding::pass("the ed25519 host key is whole");
        let older = Finding::fail("sshd offers another ed25519 key than /k", "supervisorctl restart sshd");
        for (public, private, offered, expected) in [
            (None, private, None, Finding::fail("/k.pub is not a public key", anew)),
            (public, None, None, Finding::fail("/k cannot be read by ssh-keygen", anew)),
            (public, Some("ssh-ed25519 BB"), None, Finding::fail("/k and /k.pub are not one key", anew)),
            (public, private, None, whole.clone()),
            (public, private, Some("127.0.0.1 ecdsa XX\n127.0.0.1 ssh-ed25519 AA\n"), whole.clone()),
            (public, private, Some("127.0.0.1 ecdsa XX\n"), whole),
            (public, private, Some("127.0.0.1 ssh-ed25519 BB\n"), older),
        ] {
            assert_eq!(host_key("ed25519", "/k", public, private, offered), expected);
        }
    }
}
