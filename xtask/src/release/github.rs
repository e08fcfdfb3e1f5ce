//! GitHub's interfaces to a step: outputs in a file, and its command line client.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

/// Appends an output of one line to the file of a workflow's step; does nothing outside of a workflow.
pub fn set_output(name: &str, value: &str) -> Result<()> {
    let Some(path) = env::var_os("GITHUB_OUTPUT").filter(|path| !path.is_empty()).map(PathBuf::from) else {
        return Ok(());
    };
    let open = OpenOptions::new().append(true).create(true).open(&path);
    open.and_then(|mut file| writeln!(file, "{name}={value}"))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// GitHub's client, which reads its token from `GH_TOKEN`.
pub fn client() -> Command {
    Command::new("gh")
}
