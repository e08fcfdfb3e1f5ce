//! Space, inodes, memory and processes.

use anyhow::{Context as _, Result};
use system_metrics::{Monitor, Paths};

use crate::context::Context;
use crate::finding::Finding;

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let monitor = Monitor::default();
    monitor.start(&Paths::new(&context.workspace.path)).context("cannot measure")?;
    let found: Vec<Finding> = monitor
        .warnings()
        .into_iter()
        .map(|warning| {
            Finding::warn(
                format!("{}: {}", warning.source, warning.message),
                warning.remedy.unwrap_or_else(|| format!("df -h {}", warning.source)),
            )
        })
        .collect();
    Ok(if found.is_empty() { vec![Finding::pass("enough is free")] } else { found })
}
