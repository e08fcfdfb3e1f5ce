//! Starts an image as a user does, waits until it is ready, and lets it check itself.

use std::process::{self, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use kit::{Exit, Outcome};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

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

/// Fails with the end of the container's log if the image does not work; removes the container, also after SIGINT or SIGTERM.
pub fn test(runner: Runner, docker: &dyn Fn() -> Command, image: &str) -> Result<()> {
    let name = format!("leonardo-smoke-{}", process::id());
    let remove = || {
        let mut remove = docker();
        remove.args(["rm", "--force", "--volumes", &name]);
        remove
    };
    // Held to start the container or to remove it; for ever, once a signal ends this process.
    let container = Arc::new(Mutex::new(()));
    let lock = || container.lock().unwrap_or_else(PoisonError::into_inner);
    if !runner.dry_run {
        remove_on_signal(remove(), Arc::clone(&container))?;
    }
    let start = || {
        let _lock = lock();
        runner.run(&format!("start {image}"), docker().args(["run", "--detach", "--name", &name, image]))
    };
    let exec = |title: &str, words: &[&str]| runner.run(title, docker().args(["exec", &name]).args(words));
    let tested = start()
        .and_then(|()| exec("wait until it is ready", READY))
        .and_then(|()| exec("let it check itself", CHECK));
    let _lock = lock();
    let tested = tested
        .with_context(|| format!("{image} does not work; its log ends with:\n{}", log_end(docker, &name)));
    let removed = runner.run("remove the container", &mut remove());
    tested.and(removed)
}

/// Ends this process on a signal as usual, but runs `remove` before.
fn remove_on_signal(mut remove: Command, container: Arc<Mutex<()>>) -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot receive signals")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            let _lock = container.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = kit::cmd::run(&mut remove) {
                log::error!("{error:#}");
            }
            // Ends the process.
            let _ = emulate_default_handler(signal);
        }
    });
    Ok(())
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
