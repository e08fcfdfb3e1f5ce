//! The permissions stage: `fix-perms`, beside the other stages, because nothing waits for it but the end.

use std::path::Path;
use std::process::{Child, Command};

use anyhow::{Context, Result};

use crate::child;
use crate::ending::Ending;

/// Owners, modes and access lists, being made right.
#[derive(Debug)]
pub struct Permissions<'a> {
    log: &'a Path,
    running: Child,
}

impl<'a> Permissions<'a> {
    /// Starts with everything.
    pub fn start(log: &'a Path) -> Result<Self> {
        Ok(Self { log, running: child::start(&mut Command::new("fix-perms"), log)? })
    }

    /// Starts again with the workspace, because copies have been put there.
    pub fn again(&mut self) -> Result<()> {
        self.running.wait().context("cannot wait for fix-perms")?;
        self.running = child::start(Command::new("fix-perms").args(["--only", "workspace"]), self.log)?;
        Ok(())
    }

    /// Waits for its end.
    pub fn end(self) -> Result<Ending> {
        let output = self.running.wait_with_output().context("cannot wait for fix-perms")?;
        Ok(if output.status.success() {
            Ending::done()
        } else {
            Ending::failed(
                child::in_words("fix-perms", output.status),
                format!("read {}, then type: fix-perms", self.log.display()),
            )
        })
    }
}
