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
        let address = container.address(22);
        let port = address.rsplit(':').next().expect("a port");
        let mut command = Command::new("ssh");
        command
            .args([
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
                "-o",
                "LogLevel=ERROR",
            ])
            .args(["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-p", port, "-i"])
            .arg(self.path())
            .args(options)
            .arg(format!("{user}@127.0.0.1"))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("ssh");
        // A refused client ends before it reads.
        let _ = child.stdin.take().expect("a pipe").write_all(stdin.as_bytes());
        child.wait_with_output().expect("ssh").into()
    }
}
