//! The table of checks.

use anyhow::Result;

use crate::checks::{
    boot, environment, gate, gpu, identity, login, logs, permissions, programs, provisioning, proxy,
    public_ports, resources, secret_files, services, settings, ssh, storage, sync, tunnels, versions, volume,
};
use crate::context::Context;
use crate::finding::{Finding, Verdict};

/// One check.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Stable name.
    pub name: &'static str,
    /// What it checks, as a phrase.
    pub about: &'static str,
    needs_root: bool,
    /// True if it makes no sense in a container that `init` has not started.
    needs_start: bool,
    run: fn(&Context) -> Result<Vec<Finding>>,
}

const fn check(name: &'static str, about: &'static str, run: fn(&Context) -> Result<Vec<Finding>>) -> Check {
    Check { name, about, needs_root: false, needs_start: true, run }
}

const fn as_root(check: Check) -> Check {
    Check { needs_root: true, ..check }
}

const fn always(check: Check) -> Check {
    Check { needs_start: false, ..check }
}

/// All checks, in the order of the output.
pub const CHECKS: &[Check] = &[
    always(check("boot", "the start: its stages and markers", boot::check)),
    check("settings", "variables and files given at the start", settings::check),
    check("provisioning", "the user's script", provisioning::check),
    check("programs", "states of supervisord's programs", programs::check),
    check("login", "the login of the web services", login::check),
    check("gate", "web ports refuse visitors without the login, and admit the token", gate::check),
    check("proxy", "Caddy's configuration and edits of its templates", proxy::check),
    check("services", "registered services have a program that listens", services::check),
    as_root(check("ports", "nothing but Caddy and sshd listens on public addresses", public_ports::check)),
    as_root(check("ssh", "keys that log in, and no passwords", ssh::check)),
    as_root(check("identity", "host keys and state are this container's own", identity::check)),
    check("secrets", "owners and modes of files with secrets", secret_files::check),
    check(
        "permissions",
        "/opt is shared with the group, and has no set-user-ID programs",
        permissions::check,
    ),
    check("environment", "the store of variables for sessions", environment::check),
    check("workspace", "the volume: mounted, writable, with links and modes", volume::check),
    as_root(check("sync", "copies of environments on the workspace", sync::check)),
    check("storage", "links of the storage into applications", storage::check),
    always(check("resources", "space, inodes, memory and processes", resources::check)),
    always(check("gpu", "GPUs, driver and settings agree", gpu::check)),
    check("tunnels", "Cloudflare tunnels", tunnels::check),
    check("logs", "all logs are collected", logs::check),
    always(check("versions", "all programs are of one build", versions::check)),
];

impl Check {
    /// Runs the check in this process.
    pub fn findings(&self, context: &Context) -> Result<Vec<Finding>> {
        if self.needs_start && context.timeline.is_none() {
            return Ok(vec![Finding::skip("the container was not started by init")]);
        }
        if self.needs_root && !context.is_root {
            return Ok(vec![Finding::skip("needs root: sudo selftest")]);
        }
        let mut findings = (self.run)(context)?;
        if context.is_settling() {
            // Programs need a second to start, more on a busy machine; the check of the start says so.
            findings.iter_mut().for_each(|finding| finding.verdict = finding.verdict.min(Verdict::Warn));
        }
        Ok(findings)
    }
}

/// Returns the check of this name.
pub fn find(name: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_and_unique() {
        let names: std::collections::BTreeSet<_> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len());
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase())));
    }
}
