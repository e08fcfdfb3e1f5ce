//! Storage mappings, evaluated as the storage monitor does.

use std::path::Path;

use kit::{Env, exit};

use crate::finding::Finding;

const CHECK: &str = "storage";
/// The mapping.
const FILE: &str = "/opt/leonardo/storage_monitor/etc/mappings.sh";

/// Returns the path of the volume in containers of the image.
pub fn workspace(env: &Env) -> &Path {
    Path::new(env.text("WORKSPACE").unwrap_or("/workspace"))
}

/// Checks the mapping; also returns the number of its keys.
pub fn check(env: &Env) -> (Vec<Finding>, usize) {
    let workspace = workspace(env);
    let fault = |problem: String, effect: &str, fix: &str| {
        // The place has the path already.
        let problem = problem.strip_prefix(FILE).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&problem);
        Finding::fault(CHECK, FILE, problem, effect, fix)
    };
    let checked = match storage_monitor::check_mapping(Path::new(FILE), workspace) {
        Ok(checked) => checked,
        Err(error) => {
            let fix = exit::hint(&error).unwrap_or_else(|| "correct the file".to_owned());
            return (vec![fault(format!("{error:#}"), "no file of the storage is linked", &fix)], 0);
        }
    };
    let failed = checked.failed.into_iter().map(|failed| {
        fault(failed, "entries after it may be missing", "correct the command, or add: || true")
    });
    // The volume has its directories later.
    let here = checked.waiting.into_iter().filter(|(directory, _)| !directory.starts_with(workspace));
    let waiting = here.map(|(directory, reason)| {
        let fix = "correct the path, unless provisioning installs the application";
        fault(format!("{}: {reason}", directory.display()), "no file is linked into it", fix).as_warning()
    });
    (failed.chain(waiting).collect(), checked.keys)
}
