//! Preflight hooks, judged as `boot` does before it runs them.

use std::path::Path;

use anyhow::Result;

use crate::finding::Finding;

/// Directory of `preflight.d` and `preflight.sh`.
const HOOKS: &str = "/opt/leonardo/bin";

/// Checks the hooks without running them.
pub fn check() -> Result<Vec<Finding>> {
    let fault = |(path, problem): (std::path::PathBuf, String)| {
        let (problem, fix) = match problem.split_once("; run ") {
            Some((problem, fix)) => (problem.to_owned(), fix.to_owned()),
            None => (problem, "correct the file".to_owned()),
        };
        Finding::fault("hooks", path.display(), problem, "the hook does not run", fix)
    };
    Ok(boot::hook_problems(Path::new(HOOKS))?.into_iter().map(fault).collect())
}
