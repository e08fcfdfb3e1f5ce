//! Software of GitHub's hosted runners that takes the space of a large image: one of CUDA's with compilers has 9 GB, and exists
//! twice while it is tested.

use std::path::Path;
use std::process::Command;

use anyhow::anyhow;
use kit::{Exit, HintExt, Outcome};

use super::Runner;

/// Android, .NET, Haskell, Swift, Julia and `CodeQL`: about 30 GB.
const UNUSED: &[&str] = &[
    "/usr/local/lib/android",
    "/usr/share/dotnet",
    "/usr/local/.ghcup",
    "/opt/ghc",
    "/usr/share/swift",
    "/usr/local/julia",
    "/opt/hostedtoolcache/CodeQL",
];

/// Removes it; refuses any other machine.
pub fn run(runner: Runner) -> Outcome {
    let hosted = std::env::var_os("RUNNER_ENVIRONMENT").is_some_and(|value| value == "github-hosted");
    if !hosted && !runner.dry_run {
        return Err(anyhow!("this is not one of GitHub's hosted runners"))
            .hint(|| "only there may the software of the machine be removed".to_owned());
    }
    let present = UNUSED.iter().filter(|path| runner.dry_run || Path::new(path).exists());
    runner.run("free disk space", Command::new("sudo").args(["rm", "-rf", "--"]).args(present))?;
    Ok(Exit::Done)
}
