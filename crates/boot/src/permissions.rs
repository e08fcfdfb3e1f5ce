//! The permissions stage: `fix-perms`, beside the other stages.

use std::path::Path;

use anyhow::{Context, Result};
use kit::cmd;

use crate::stage_outcome::StageOutcome;
use crate::stage_process;

/// Runs `fix-perms` for everything, or only for the `part` that got new copies.
pub fn run(part: Option<&str>, log: &Path) -> Result<StageOutcome> {
    let mut command = cmd::killed_with_parent(cmd::image_program("fix-perms"));
    command.args(part.iter().flat_map(|part| ["--only", part]));
    let output = stage_process::spawn_logged(&mut command, log)?
        .wait_with_output()
        .context("cannot wait for fix-perms")?;
    Ok(if output.status.success() {
        StageOutcome::done()
    } else {
        StageOutcome::failed(
            stage_process::describe_exit("fix-perms", output.status),
            format!("read {}, then run: fix-perms", log.display()),
        )
    })
}
