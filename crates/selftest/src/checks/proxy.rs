//! Caddy's configuration, and edits of its templates.

use std::path::Path;

use anyhow::Result;

use crate::context::Context;
use crate::finding::Finding;

/// Runs the check.
pub fn check(_: &Context) -> Result<Vec<Finding>> {
    Ok(vec![match journal::proxy_problem(Path::new(journal::PROXY_PROBLEM_FILE)) {
        None => Finding::pass("in use as written"),
        Some(problem) => Finding::fail(
            problem.message,
            "correct the file in /opt/caddy/share, then: supervisorctl restart caddy",
        ),
    }])
}
