//! GPUs that Docker Swarm reserves for a service's task, in `DOCKER_RESOURCE_<KIND>`.
//!
//! The daemon of each node names its GPUs in `node-generic-resources`, often by the beginning of their UUIDs
//! (github.com/NVIDIA/nvidia-container-toolkit issue 57). A task gets the reserved ones, separated by commas.

use kit::{Env, Problem};

use crate::nvidia::NvidiaGpu;
use crate::visible_devices::is_named;

/// Returns the reserved GPUs in the order of the variables, by full UUID where that is known. A variable that names other
/// things than GPUs is ignored, and reported if its name promises GPUs.
pub fn names(env: &Env, gpus: &[NvidiaGpu]) -> (Vec<String>, Vec<Problem>) {
    let (mut names, mut problems) = (Vec::new(), Vec::new());
    for (variable, value) in env.iter() {
        let (Some(variable), value) = (variable.to_str(), value.to_string_lossy()) else { continue };
        let Some(kind) = variable.strip_prefix("DOCKER_RESOURCE_") else { continue };
        let mut problem = |entry: &str, reason: &str| {
            problems.push(Problem::new(
                variable.escape_debug().to_string(),
                format!("{entry:?} {reason}; ignored"),
            ));
        };
        let entries = || value.split(',').map(str::trim);
        if let Some(entry) = entries().find(|entry| !is_gpu(entry)) {
            if kind.to_ascii_lowercase().contains("gpu") {
                problem(entry, "names no GPU (GPU-… or MIG-…)");
            }
            continue;
        }
        for entry in entries() {
            match full_name(entry, gpus) {
                Ok(name) if names.contains(&name) => {}
                Ok(name) => names.push(name),
                Err(reason) => problem(entry, reason),
            }
        }
    }
    (names, problems)
}

fn is_gpu(entry: &str) -> bool {
    is_named(entry, "GPU-") || is_named(entry, "MIG-")
}

fn full_name(entry: &str, gpus: &[NvidiaGpu]) -> Result<String, &'static str> {
    let uuids: Option<Vec<&String>> =
        gpus.iter().filter(|gpu| gpu.mig.is_none()).map(|gpu| gpu.uuid.as_ref()).collect();
    let (true, Some(uuids)) = (is_named(entry, "GPU-"), uuids) else { return Ok(entry.to_owned()) };
    let mut matching = uuids.into_iter().filter(|uuid| uuid.starts_with(entry));
    match (matching.next(), matching.next()) {
        (Some(uuid), None) => Ok(uuid.clone()),
        (None, _) => Err("is not a whole GPU of this container"),
        (Some(_), Some(_)) => Err("is the beginning of several names"),
    }
}
