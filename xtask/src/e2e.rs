//! `cargo xtask e2e`: tests of containers of a built image.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use kit::{Exit, Outcome};

use crate::checkout::Checkout;
use crate::engine::{self, Choice, Engine, packages};
use crate::image;
use crate::nextest::{self, TestCounts};
use crate::variants_page;

/// The browser and its driver, and their packages.
pub const BROWSER: &[(&str, &str)] = &[("chromedriver", "chromium-driver"), ("chromium", "chromium")];
/// Other programs that the tests use, and their packages.
const CLIENTS: &[(&str, &str)] = &[("ssh", "openssh-client"), ("bindfs", "bindfs")];

/// Build an image, and test containers made from it with a real browser and a real SSH client
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Test this variant instead of the machine's default
    #[arg(long)]
    variant: Option<String>,
    /// Engine to use
    #[arg(long = "engine", value_enum, default_value_t)]
    choice: Choice,
    /// Run only tests whose name contains this
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
}

/// Runs the tests and prints their totals.
pub fn run(args: &Args) -> Outcome {
    let counts = engine::with(args.choice, |checkout, engine| {
        tests(checkout, engine, args.variant.as_deref(), args.filter.as_deref())
    })?;
    counts.print()?;
    Ok(if counts.all_passed() { Exit::Done } else { Exit::No })
}

/// Builds the image and runs the tests against it.
pub fn tests(
    checkout: &Checkout,
    engine: &Engine,
    variant: Option<&str>,
    filter: Option<&str>,
) -> Result<TestCounts> {
    packages::install(BROWSER)?;
    packages::install(CLIENTS)?;
    // Here, because bake needs a docker client.
    variants_page::check_sample(checkout, engine.docker())?;
    let built = image::build(engine, variant)?;
    nextest::run(checkout, "run container tests", "e2e", |command| {
        talk_to(engine, command);
        command.args(["--package", "e2e"]).args(filter).env("LEONARDO_TEST_IMAGE", &built.image);
    })
}

/// Points `docker` at this engine, in a command and its children.
pub fn talk_to(engine: &Engine, command: &mut Command) {
    let docker = engine.docker();
    for (name, value) in docker.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let own = PathBuf::from(docker.get_program()).parent().map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = own.into_iter().filter(|own| own.is_absolute()).chain(env::split_paths(&path));
    if let Ok(path) = env::join_paths(directories) {
        command.env("PATH", path);
    }
}
