//! Cloudflare tunnels.

use std::path::Path;

use anyhow::Result;
use tunnels::Tunnels;

use crate::context::Context;
use crate::finding::Finding;

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let directory = context.journal.path().parent().unwrap_or(Path::new("/"));
    let problems = Tunnels::read(directory).problems().into_iter();
    let found: Vec<Finding> = problems
        .map(|problem| Finding::warn(problem.to_string(), "logtail quicktunnel cloudflared"))
        .collect();
    Ok(if found.is_empty() { vec![Finding::pass("no problem")] } else { found })
}
