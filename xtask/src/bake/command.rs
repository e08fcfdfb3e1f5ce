//! The arguments of `docker buildx bake`.

use std::process::Command;

use super::catalogue::Variant;

/// The bake file, relative to the project's root, in which every docker command of this task runs.
pub const FILE: &str = "docker-bake.hcl";

/// Completes `docker` to the command that bakes `targets`, with `sets` as its `--set` overrides.
///
/// The file is always named: without that, bake would also read the compose files.
#[must_use]
pub fn command(mut docker: Command, targets: &[&Variant], sets: &[String]) -> Command {
    docker.args(["buildx", "bake", "--file", FILE]);
    for set in sets {
        docker.arg("--set").arg(set);
    }
    docker.args(targets.iter().map(|variant| &variant.target));
    docker
}
