//! Host keys and state are this container's own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use env_store::ContainerRecord;
use kit::cmd;

use crate::context::Context;
use crate::finding::Finding;

/// Runs the check.
pub fn check(_: &Context) -> Result<Vec<Finding>> {
    let record = ContainerRecord::read(Path::new(ContainerRecord::PATH));
    let mut findings = vec![owner(kit::container_id::id().as_deref(), record.container.as_deref())];
    for (kind, path) in sshd_run::HOST_KEYS {
        let Ok(public) = fs::read_to_string(format!("{path}.pub")) else { continue };
        let public = key(&public);
        let mut keygen = Command::new("/usr/bin/ssh-keygen");
        let private = cmd::stdout(keygen.args(["-y", "-P", "", "-f", path])).ok();
        let mode = fs::metadata(path).map_or(0, |meta| meta.mode());
        findings.push(host_key(kind, path, public.as_deref(), private.as_deref(), mode));
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

/// Compares both halves of a host key.
fn host_key(kind: &str, path: &str, public: Option<&str>, private: Option<&str>, mode: u32) -> Finding {
    if mode & 0o077 != 0 {
        // ssh-keygen and sshd refuse it, and its clients know it.
        return Finding::fail(
            format!("{path} is open to other accounts (mode {:04o}): sshd refuses it", mode & 0o7777),
            format!("chmod 0600 {path}; supervisorctl restart sshd"),
        );
    }
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
    Finding::pass(format!("the {kind} host key is whole"))
}

/// Returns type and key of a line, without the comment.
fn key(line: &str) -> Option<String> {
    let mut words = line.split_ascii_whitespace();
    Some(format!("{} {}", words.next()?, words.next()?))
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
    fn both_halves_are_one_key() {
        let anew = "rm /k*; supervisorctl restart sshd";
        let (public, private) = (Some("ssh-ed25519 AA"), Some("ssh-ed25519 AA leonardo\n"));
        for (public, private, mode, expected) in [
            (None, private, 0o100_600, Finding::fail("/k.pub is not a public key", anew)),
            (public, None, 0o100_600, Finding::fail("/k cannot be read by ssh-keygen", anew)),
            (public, Some("ssh-ed25519 BB"), 0o100_600, Finding::fail("/k and /k.pub are not one key", anew)),
            (public, private, 0o100_600, Finding::pass("the ed25519 host key is whole")),
            (
                public,
                None,
                0o100_666,
                Finding::fail(
                    "/k is open to other accounts (mode 0666): sshd refuses it",
                    "chmod 0600 /k; supervisorctl restart sshd",
                ),
            ),
        ] {
            assert_eq!(host_key("ed25519", "/k", public, private, mode), expected);
        }
    }
}
