//! Capabilities that the container lacks, and the consequences.
//!
//! Docker grants 14 capabilities (capabilities(7)), podman and CRI-O fewer, clusters sometimes none. Unused ones are
//! not listed: `NET_RAW`, `MKNOD`, `SETFCAP`, `SETPCAP`.

use std::fs;

use anyhow::{Result, anyhow};
use kit::capabilities::{self, CapabilitySet};
use kit::{HintExt, Problem};
use nix::sys::prctl::get_no_new_privs;
use nix::sys::statvfs::{FsFlags, statvfs};

/// Required: without these, files cannot be given to the accounts that need them.
const INDISPENSABLE: CapabilitySet = CapabilitySet::CHOWN.union(CapabilitySet::FOWNER);

/// Consequence of each missing capability.
const CONSEQUENCES: [(CapabilitySet, &str); 7] = [
    (
        CapabilitySet::DAC_OVERRIDE,
        "root cannot read or change files of other accounts: without WEB_PASSWORD and WEB_TOKEN, the web login changes with each \
         start; homes, links into the storage and trees on the workspace may be incomplete",
    ),
    (
        CapabilitySet::FSETID,
        "new files in shared directories get the group of their maker, and other accounts may not be able to change \
         them",
    ),
    (
        CapabilitySet::KILL,
        "the portal, Caddy, cloudflared and a provisioning script cannot be stopped or restarted; stopping the container \
         kills them",
    ),
    (CapabilitySet::SETGID, NO_ACCOUNTS),
    (CapabilitySet::SETUID, NO_ACCOUNTS),
    (CapabilitySet::SYS_CHROOT, "SSH is not started, because sshd needs chroot for every login"),
    (
        CapabilitySet::AUDIT_WRITE,
        "SSH gives no terminal, because sshd ends a session that it cannot report to the kernel's audit; commands, scp, sftp, \
         editors and port forwarding work",
    ),
];
const NO_ACCOUNTS: &str =
    "programs cannot switch accounts: the web services, SSH, sudo and provisioning are unavailable";

/// Rights of this process.
#[derive(Debug)]
pub struct Rights {
    effective: CapabilitySet,
    no_new_privileges: bool,
    /// First port that needs no capability in this network namespace.
    first_free_port: u16,
}

impl Rights {
    /// Reads the rights of this process.
    pub fn of_process() -> Result<Self> {
        let first_free_port = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
        Ok(Self {
            effective: capabilities::effective()?,
            no_new_privileges: get_no_new_privs()?,
            // Older kernels have no such file, and reserve the ports below 1024.
            first_free_port: first_free_port.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024),
        })
    }

    /// Refuses a start that cannot succeed; the hint names the engine's option.
    pub fn check() -> Result<()> {
        let uid = nix::unistd::geteuid();
        if !uid.is_root() {
            return Err(anyhow!("the container runs as user {uid} (--user), but init must be root")).hint(|| {
                "remove --user (compose: user; Kubernetes: runAsUser, runAsNonRoot); sessions and scripts run as the system \
                 user anyway, see USER_NAME"
                    .to_owned()
            });
        }
        if statvfs("/")?.flags().contains(FsFlags::ST_RDONLY) {
            return Err(anyhow!("the container's root file system is read-only (--read-only)")).hint(|| {
                "remove --read-only (compose: read_only; Kubernetes: readOnlyRootFilesystem); with tmpfs mounts it does not work \
                 either, because accounts in /etc, homes and trees in /opt are written"
                    .to_owned()
            });
        }
        let effective = capabilities::effective()?;
        let missing = INDISPENSABLE.difference(effective);
        if missing.is_empty() {
            return Ok(());
        }
        // Lists all missing capabilities: one at a time would cost a start each.
        let wanted = CONSEQUENCES.iter().fold(missing, |all, (capability, _)| all.union(*capability));
        let options = options(&names(wanted.difference(effective)));
        let names = names(missing).join(" and ");
        Err(anyhow!("the container lacks {names}: files cannot be given to the accounts that need them"))
            .hint(|| format!("start it with {options} (Kubernetes: securityContext.capabilities.add)"))
    }

    /// Returns the restrictions of this container; `ssh_port` is sshd's port.
    pub fn problems(&self, ssh_port: u16) -> Vec<Problem> {
        let mut problems: Vec<Problem> = CONSEQUENCES
            .into_iter()
            .filter(|(capability, _)| !self.effective.contains(*capability))
            .map(|(capability, consequence)| lacking(capability, consequence))
            .collect();
        if ssh_port < self.first_free_port && !self.effective.contains(CapabilitySet::NET_BIND_SERVICE) {
            let consequence = format!(
                "no program can listen below port {}, and sshd is to listen on {ssh_port}; set SSH_PORT",
                self.first_free_port
            );
            problems.push(lacking(CapabilitySet::NET_BIND_SERVICE, &consequence));
        }
        if self.no_new_privileges {
            let message = "sudo and su do not work; log in as root, or start the container without --security-opt \
                           no-new-privileges (Kubernetes: allowPrivilegeEscalation: true)";
            problems.push(Problem::new("no-new-privileges", message));
        }
        problems
    }

    /// True if sshd has the capabilities that a login needs.
    pub fn sshd_works(&self) -> bool {
        self.effective.contains(sshd_run::REQUIRED_CAPABILITIES)
    }
}

fn lacking(capability: CapabilitySet, consequence: &str) -> Problem {
    let names = names(capability);
    Problem::new(
        names.join(" "),
        format!("the container lacks this capability: {consequence}; to give it: {}", options(&names)),
    )
}

fn names(capabilities: CapabilitySet) -> Vec<&'static str> {
    capabilities.iter_names().map(|(name, _)| name).collect()
}

fn options(names: &[&str]) -> String {
    names.iter().map(|name| format!("--cap-add {name}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacking_only(missing: CapabilitySet) -> Rights {
        Rights {
            effective: CapabilitySet::all().difference(missing),
            no_new_privileges: false,
            first_free_port: 0,
        }
    }

    #[test]
    fn each_missing_capability_is_named_with_its_consequence_and_its_option() {
        assert_eq!(lacking_only(CapabilitySet::NET_RAW).problems(22), []);
        for (capability, name) in [
            (CapabilitySet::DAC_OVERRIDE, "DAC_OVERRIDE"),
            (CapabilitySet::FSETID, "FSETID"),
            (CapabilitySet::KILL, "KILL"),
            (CapabilitySet::SETGID, "SETGID"),
            (CapabilitySet::SETUID, "SETUID"),
            (CapabilitySet::SYS_CHROOT, "SYS_CHROOT"),
            (CapabilitySet::AUDIT_WRITE, "AUDIT_WRITE"),
        ] {
            let problems = lacking_only(capability).problems(22);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!(problems[0].setting, name);
            assert!(
                problems[0].message.ends_with(&format!("; to give it: --cap-add {name}")),
                "{problems:?}"
            );
        }
        for (missing, works) in [
            (CapabilitySet::AUDIT_WRITE, true),
            (CapabilitySet::SYS_CHROOT, false),
            (CapabilitySet::SETGID, false),
        ] {
            assert_eq!(lacking_only(missing).sshd_works(), works);
        }
    }

    #[test]
    fn a_port_needs_the_capability_only_where_the_kernel_asks_for_it() {
        let rights =
            |first_free_port| Rights { first_free_port, ..lacking_only(CapabilitySet::NET_BIND_SERVICE) };
        let settings = |rights: Rights, port| {
            rights.problems(port).into_iter().map(|problem| problem.setting).collect::<Vec<_>>()
        };
        assert_eq!(settings(rights(0), 22), [""; 0]);
        assert_eq!(settings(rights(1024), 2222), [""; 0]);
        assert_eq!(settings(rights(1024), 22), ["NET_BIND_SERVICE"]);
        let none = Rights { no_new_privileges: true, ..rights(0) };
        assert_eq!(settings(none, 22), ["no-new-privileges"]);
    }
}
