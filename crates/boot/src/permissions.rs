//! The permissions stage: `fix-perms`, beside the other stages, because nothing waits for it but the end.

use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use anyhow::{Context, Result};

use crate::child;
use crate::ending::Ending;

/// Owners, modes and access lists, being made right.
#[derive(Debug)]
pub struct Permissions<'a> {
    log: &'a Path,
    running: Child,
    /// How an earlier one ended that did not end well.
    failed: Option<ExitStatus>,
}

impl<'a> Permissions<'a> {
    /// Starts with everything.
    pub fn start(log: &'a Path) -> Result<Self> {
        Ok(Self { log, running: child::start(&mut Command::new("fix-perms"), log)?, failed: None })
    }

    /// Starts again with the workspace, because copies have been put there.
    pub fn again(self) -> Result<Self> {
        // What it says is taken from it: a full pipe would stop it.
        let first = self.running.wait_with_output().context("cannot wait for fix-perms")?;
        let running = child::start(Command::new("fix-perms").args(["--only", "workspace"]), self.log)?;
        Ok(Self {
            running,
            failed: self.failed.or((!first.status.success()).then_some(first.status)),
            ..self
        })
    }

    /// Waits for its end.
    pub fn end(self) -> Result<Ending> {
        let output = self.running.wait_with_output().context("cannot wait for fix-perms")?;
        let failed = self.failed.or((!output.status.success()).then_some(output.status));
        Ok(failed.map_or_else(Ending::done, |status| {
            Ending::failed(
                child::in_words("fix-perms", status),
                format!("read {}, then type: fix-perms", self.log.display()),
            )
        }))
    }
}
