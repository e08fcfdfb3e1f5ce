//! Variables and files that could not be used as given.

use anyhow::Result;

use crate::context::Context;
use crate::finding::Finding;

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let problems = context.timeline.iter().flat_map(|timeline| &timeline.problems);
    let found: Vec<Finding> = problems
        .map(|problem| Finding::warn(format!("{}: {}", problem.setting, problem.message), "boot report"))
        .collect();
    Ok(if found.is_empty() { vec![Finding::pass("used as given")] } else { found })
}
