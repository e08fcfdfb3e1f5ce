//! A real SSH client with a key of its own.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::{Container, Output};

/// A fresh key pair.
pub struct KeyPair {
    directory: TempDir,
}

impl KeyPair {
    pub fn generate() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        let mut keygen = Command::new("ssh-keygen");
        Output::from(
            keygen.args(["-q", "-N", "", "-t", "ed25519", "-f"]).arg(&path).output().expect("ssh-keygen"),
        )
        .text();
        Self { directory }
    }

    /// The line for `authorized_keys`.
    pub fn public(&self) -> String {
        std::fs::read_to_string(self.path().with_extension("pub")).expect("a public key").trim().to_owned()
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("key")
    }

    /// `ssh user@container words…`, with more options before the address.
    pub fn ssh(
        &self,
        container: &Container,
        user: &str,
        options: &[&str],
        words: &[&str],
        stdin: &str,
    ) -> Output {
        let mut command = self.client("ssh", container, "-p");
        command.args(options).arg(format!("{user}@127.0.0.1")).args(words);
        fed(command, stdin)
    }

    /// `sftp user@container` with a batch of commands.
    pub fn sftp(&self, container: &Container, user: &str, batch: &str) -> Output {
        let mut command = self.client("sftp", container, "-P");
        command.args(["-q", "-b", "-"]).arg(format!("{user}@127.0.0.1"));
        fed(command, batch)
    }

    /// ssh with this key and port, and without the settings of any user.
    fn client(&self, program: &str, container: &Container, port_option: &str) -> Command {
        let address = container.address(22);
        let port = address.rsplit(':').next().expect("a port");
        let mut command = Command::new(program);
        command
            .args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"])
            .args([port_option, port, "-i"])
            .arg(self.path());
        command
    }
}

fn fed(mut command: Command, stdin: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("an SSH client");
    // A refused client ends before it reads.
    let _ = child.stdin.take().expect("a pipe").write_all(stdin.as_bytes());
    child.wait_with_output().expect("an SSH client").into()
}
