//! Caddy's templates, checked by `caddy-run`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use kit::cmd;

use crate::finding::Finding;

const CHECK: &str = "caddy";
const TEMPLATES: &str = "/opt/caddy/share";
/// The templates that `caddy-run --check` saved in the image.
const SHIPPED: &str = "/opt/leonardo/share/caddy-templates.json";
const FIX: &str = "add the line: RUN caddy-run --check";

/// Checks the templates, and that the saved ones are the same.
pub fn check() -> Result<Vec<Finding>> {
    let scratch = tempfile::tempdir().context("cannot create a temporary directory")?;
    let saved = scratch.path().join("templates.json");
    let checked = Command::new(cmd::image_program("caddy-run"))
        .args(["--check", "--shipped"])
        .arg(&saved)
        .output()
        .context("cannot run caddy-run --check")?;
    if !checked.status.success() {
        let stderr = String::from_utf8_lossy(&checked.stderr);
        let problem = stderr.trim().trim_start_matches("caddy-run: ");
        let effect = "Caddy starts with other templates, and reports this one";
        return Ok(vec![Finding::fault(CHECK, TEMPLATES, problem, effect, "correct the template")]);
    }
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let is_saved = read(&saved)? == read(Path::new(SHIPPED)).unwrap_or_default();
    let fault = || {
        let effect = "after a faulty edit, Caddy returns to the templates of the base image";
        Finding::fault(CHECK, TEMPLATES, "the templates are not saved as the image's", effect, FIX)
    };
    Ok(if is_saved { Vec::new() } else { vec![fault()] })
}
