//! `cargo xtask release`: the steps of `.github/workflows`, which also run on any machine.
//!
//! A release is built in many jobs and must appear as one: images are pushed by digest, without a tag, and each job leaves
//! a [record](pushed_image). Only when all records are there, `publish` signs the images and sets their tags.

mod base_images;
mod bases;
mod disk_space;
mod github;
mod image;
mod manifest;
mod notes;
mod publish;
mod pushed_image;
mod sbom;
mod smoke;
mod tools;

use std::io::{self, Write};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Subcommand;
use kit::{Exit, HintExt, Outcome};

use crate::bake::{self, Catalogue, Variant, shell_line};
use crate::checkout::Checkout;
use crate::engine::{self, Choice};
use crate::images::LockFile;
use crate::step;

const EPILOGUE: &str = "\
Examples:
  cargo xtask release matrix cpu
  cargo xtask release image cpu-22.04 --dry-run
  cargo xtask release bases";

/// Build, test, publish and sign a release's images: the steps of the workflows
#[derive(Debug, clap::Args)]
#[command(after_help = EPILOGUE)]
pub struct Args {
    /// Print the commands of a real run instead of running them
    #[arg(long, global = true)]
    dry_run: bool,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Print variants as the matrix of a job, also into the outputs of a step
    Matrix {
        /// Variants, patterns or groups, as for `cargo xtask bake`
        #[arg(value_name = "VARIANT", required = true)]
        variants: Vec<String>,
        /// Fail if docker-bake.lock.hcl lacks the digest of a base or of the compiler's image, or if the commit is not on
        /// origin/main
        #[arg(long)]
        locked: bool,
    },
    /// Free disk space: remove software of GitHub's runner that no build uses
    FreeDisk,
    Tools(tools::Args),
    Image(image::Args),
    Smoke(smoke::Args),
    Sbom(sbom::Args),
    Publish(publish::Args),
    Notes(notes::Args),
    Bases(bases::Args),
}

/// Runs one step of a release.
pub fn run(args: &Args) -> Outcome {
    let runner = Runner { dry_run: args.dry_run };
    match &args.task {
        Task::Matrix { variants, locked } => matrix(variants, *locked, runner),
        Task::FreeDisk => disk_space::run(runner),
        Task::Tools(args) => tools::make(args, runner).map(|()| Exit::Done),
        Task::Image(args) => image::run(args, runner),
        Task::Smoke(args) => smoke::run(args, runner),
        Task::Sbom(args) => sbom::run(args, runner),
        Task::Publish(args) => publish::run(args, runner),
        Task::Notes(args) => notes::run(args, runner),
        Task::Bases(args) => bases::run(args, runner),
    }
}

/// Runs the commands of a step, or prints them.
#[derive(Debug, Clone, Copy)]
struct Runner {
    dry_run: bool,
}

impl Runner {
    fn run(self, title: &str, command: &mut Command) -> Result<()> {
        if self.dry_run {
            writeln!(io::stdout(), "{}", shell_line::line(command))?;
            return Ok(());
        }
        step::run(title, command)
    }

    /// Returns `docker`, of an engine only where something is built or started.
    fn docker(self) -> Result<Box<dyn Fn() -> Command>> {
        if self.dry_run {
            return docker_client();
        }
        let engine = engine::find(Choice::Auto)?;
        Ok(Box::new(move || engine.docker()))
    }
}

/// Returns `docker` for commands that need no engine, such as those that talk to a registry.
fn docker_client() -> Result<Box<dyn Fn() -> Command>> {
    let client = engine::client()?;
    Ok(Box::new(move || client.command()))
}

fn catalogue(checkout: &Checkout, mut docker: Command, locked: bool) -> Result<Catalogue> {
    docker.current_dir(checkout.root());
    let catalogue = bake::read(docker, bake::EVERYTHING)?;
    Ok(if locked { catalogue.locked(&LockFile::read(checkout.root())?) } else { catalogue })
}

fn matrix(requests: &[String], locked: bool, runner: Runner) -> Outcome {
    let checkout = Checkout::find()?;
    if locked {
        is_on_main(&checkout, runner)?;
    }
    let catalogue = catalogue(&checkout, docker_client()?(), locked)?;
    let variants = bake::into_anyhow(bake::select(&catalogue, requests))?;
    if locked {
        bake::check_locked(&variants)?;
        tools::locked_compiler(&checkout)?;
    }
    let json = matrix_of(&variants).to_string();
    github::set_output("matrix", &json)?;
    writeln!(io::stdout(), "{json}")?;
    Ok(Exit::Done)
}

/// Refuses a release of a commit that was never on the main branch.
fn is_on_main(checkout: &Checkout, runner: Runner) -> Result<()> {
    let mut git = Command::new("git");
    git.current_dir(checkout.root()).args(["merge-base", "--is-ancestor", "HEAD", "origin/main"]);
    runner
        .run("check that the commit is on origin/main", &mut git)
        .context("the commit is not released")
        .hint(|| "set the tag on a commit of main; the checkout needs main's whole history".to_owned())
}

fn matrix_of(variants: &[&Variant]) -> serde_json::Value {
    let names: Vec<_> = variants.iter().map(|variant| &variant.name).collect();
    serde_json::json!({ "variant": names })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_has_one_job_for_each_selected_variant() {
        let catalogue = Catalogue::from_print_json(include_str!("../bake/fixtures/print.json")).unwrap();
        let requests = ["cpu-2*", "rocm-7.2-core-24.04", "jupyter-cpu-24.04"].map(str::to_owned);
        let selected = bake::select(&catalogue, &requests).unwrap();
        let expected = r#"{"variant":["cpu-22.04","cpu-24.04","rocm-7.2.4-core-24.04","jupyter-cpu-24.04"]}"#;
        assert_eq!(matrix_of(&selected).to_string(), expected);
        assert!(catalogue.variants().count() <= 256, "GitHub's limit of jobs in a matrix");
    }
}
