//! A docker client, and the environment that points it at the right engine.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The docker command and its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// An absolute path: a container's `PATH` may travel through the client's environment.
    program: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    forgotten: &'static [&'static str],
}

/// Variables of the user's shell that would point a private client at another engine or builder.
const MISLEADING: &[&str] = &[
    "DOCKER_CONTEXT",
    "DOCKER_TLS",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "BUILDX_BUILDER",
    "BUILDX_CONFIG",
];

impl Client {
    /// The machine's own client, with the settings of the user's shell.
    #[must_use]
    pub fn of_system(program: PathBuf) -> Self {
        Self { program, environment: Vec::new(), forgotten: &[] }
    }

    /// The client from unpacked packages; it uses only `settings` and `host`.
    #[must_use]
    pub fn private(program: PathBuf, settings: &Path, host: &str) -> Self {
        Self {
            program,
            environment: vec![("DOCKER_HOST", host.into()), ("DOCKER_CONFIG", settings.into())],
            forgotten: MISLEADING,
        }
    }

    /// `docker`, to be completed with arguments.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for name in self.forgotten {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Lines that make a POSIX shell use this client, for `eval`.
    #[must_use]
    pub fn exports(&self, host: &str) -> String {
        let forgotten = self.forgotten.iter().map(|name| format!("unset {name}\n"));
        let others = self.environment.iter().filter(|(name, _)| *name != "DOCKER_HOST");
        let settings = others.map(|(name, value)| export(name, value));
        let directory = self.program.parent().map(|directory| quoted(directory.as_os_str()));
        let path = directory.map(|directory| format!("export PATH={directory}:\"$PATH\"\n"));
        forgotten.chain([export("DOCKER_HOST", OsStr::new(host))]).chain(settings).chain(path).collect()
    }
}

fn export(name: &str, value: &OsStr) -> String {
    format!("export {name}={}\n", quoted(value))
}

/// Quotes any text as one shell word.
fn quoted(value: &OsStr) -> String {
    format!("'{}'", value.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exports_survive_a_shell_and_its_quotes() {
        let client =
            Client::private("/it's/bin/docker".into(), Path::new("/it's/client"), "unix:///run/x.sock");
        let script = format!(
            "{}printf '%s|' \"$DOCKER_HOST\" \"$DOCKER_CONFIG\" \"${{PATH%%:*}}\"",
            client.exports("unix:///run/x.sock")
        );
        let mut shell = Command::new("/bin/sh");
        let said = kit::cmd::stdout(shell.args(["-c", &script])).unwrap();
        assert_eq!(said, "unix:///run/x.sock|/it's/client|/it's/bin|");
    }

    #[test]
    fn a_private_client_ignores_the_contexts_of_the_shell() {
        let command = Client::private("/d".into(), Path::new("/c"), "unix:///s").command();
        let removed: Vec<_> =
            command.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        assert!(removed.contains(&OsStr::new("DOCKER_CONTEXT")), "{removed:?}");
    }
}
