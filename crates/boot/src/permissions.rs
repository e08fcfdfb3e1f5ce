//! The permissions stage: `fix-perms`, beside the other stages.

use std::path::Path;

use anyhow::{Context, Result};
use kit::cmd;

use crate::child;
use crate::ending::Ending;

/// Runs `fix-perms` to its end, for everything or for the `part` that copies have been put into.
pub fn run(part: Option<&str>, log: &Path) -> Result<Ending> {
    let mut command = cmd::killed_with_parent(cmd::image_program("fix-perms"));
    command.args(part.iter().flat_map(|part| ["--only", part]));
    let output = child::start(&mut command, log)?.wait_with_output().context("cannot wait for fix-perms")?;
    Ok(if output.status.success() {
        Ending::done()
    } else {
        Ending::failed(
            child::in_words("fix-perms", output.status),
            format!("read {}, then type: fix-perms", log.display()),
        )
    })
}
