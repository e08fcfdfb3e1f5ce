//! Starts an image as a user does, waits until it is ready, and lets it check itself.

use std::process::{self, Command, Stdio};

use anyhow::{Context, Result};
use kit::{Exit, Outcome};

use super::Runner;

const READY: &[&str] = &["boot", "wait", "ready", "--timeout", "5m"];
const CHECK: &[&str] = &["selftest"];
const LOG_LINES: &str = "50";

/// Start a container of an image, wait until it is ready, and let it check itself
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Image in the engine
    image: String,
}

/// Runs the task.
pub fn run(args: &Args, runner: Runner) -> Outcome {
    test(runner, &*runner.docker()?, &args.image)?;
    Ok(Exit::Done)
}

/// Fails with the end of the container's log if the image does not work; always removes the container.
pub fn test(runner: Runner, docker: &dyn Fn() -> Command, image: &str) -> Result<()> {
    let name = format!("leonardo-smoke-{}", process::id());
    let start =
        || runner.run(&format!("start {image}"), docker().args(["run", "--detach", "--name", &name, image]));
    let exec = |title: &str, words: &[&str]| runner.run(title, docker().args(["exec", &name]).args(words));
    let tested = start()
        .and_then(|()| exec("wait until it is ready", READY))
        .and_then(|()| exec("let it check itself", CHECK))
        .with_context(|| format!("{image} does not work; its log ends with:\n{}", log_end(docker, &name)));
    let removed = runner.run("remove the container", docker().args(["rm", "--force", "--volumes", &name]));
    tested.and(removed)
}

fn log_end(docker: &dyn Fn() -> Command, name: &str) -> String {
    let output = docker().args(["logs", "--tail", LOG_LINES, name]).stdin(Stdio::null()).output();
    match output {
        Ok(output) => {
            let both = [output.stdout, output.stderr].concat();
            kit::quote::escape_control(String::from_utf8_lossy(&both).trim_end())
        }
        Err(error) => format!("(cannot read it: {error})"),
    }
}
