//! `cargo xtask images reproduce`: builds an image twice and compares the results.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use kit::{Exit, Outcome, missing_ok};

use super::image_difference;
use super::oci_layout::OciImage;
use crate::bake::{self, Variant, source_date};
use crate::checkout::Checkout;
use crate::engine::{self, Engine, Store};
use crate::image::Builder;
use crate::step;

/// Directory of the two results, below the checkout.
const DIRECTORY: &str = "target/reproduce";
/// What the tools are compiled from.
const SOURCES: &[&str] =
    &["Cargo.toml", "Cargo.lock", ".cargo", "xtask", "tests", "crates", "images/base/steps"];

const EPILOGUE: &str = "\
Examples:
  cargo xtask images reproduce cpu-debian-12
  cargo xtask images reproduce cpu-debian-12 --tools
  cargo xtask images reproduce jupyter-cpu-24.04";

/// Build an image twice without a cache and compare the results: one digest, or the files that differ
///
/// No file is newer than the commit, or than `SOURCE_DATE_EPOCH`. Builds on the private engine with containerd's image store, which
/// needs root, minutes and 4 GB. Exit code 1 if the digests differ; both results are then kept in target/reproduce.
#[derive(Debug, clap::Args)]
#[command(after_help = EPILOGUE)]
pub struct Args {
    /// Variant, as for `cargo xtask bake`
    variant: String,
    /// Compile the tools twice too, the second time from a copy of the checkout in another directory
    #[arg(long)]
    tools: bool,
    /// Override a value of a target, as in '*.args.NAME=VALUE'; passed on to bake
    #[arg(long = "set", value_name = "TARGET.KEY=VALUE")]
    sets: Vec<String>,
}

/// Runs the task.
pub fn run(args: &Args) -> Outcome {
    engine::with_engine(&engine::private(Store::Containerd)?, |checkout, engine| {
        reproduce(args, checkout, engine)
    })
}

fn reproduce(args: &Args, checkout: &Checkout, engine: &Engine) -> Outcome {
    let docker = || engine.docker();
    let builder = Builder::new(checkout.clone(), docker);
    let list = || {
        let mut list = docker();
        list.current_dir(checkout.root());
        list
    };
    let catalogue = bake::read(list(), bake::EVERYTHING)?;
    let sets: Vec<_> = args.sets.iter().map(|set| catalogue.address(set)).collect();
    let catalogue = catalogue.with_bases(&sets);
    let variant = bake::into_anyhow(bake::resolve(&catalogue, &args.variant))?;
    // Finds a wrong override before anything is compiled.
    kit::cmd::stdout(bake::command(list(), &[variant], &sets).arg("--print"))?;
    let time = source_date::set(checkout.root(), &kit::Env::from_process())?;
    let directory = checkout.root().join(DIRECTORY);
    remove(&directory)?;
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;

    builder.prepare_base(variant)?;
    if args.tools || !builder.registry() {
        builder.compile_tools()?;
    }
    let copied = if args.tools { Some(copy(checkout, &directory.join("checkout"))?) } else { None };
    let copied = copied.map(|copy| Builder::new(copy, docker));
    if let Some(copied) = &copied {
        copied.compile_tools()?;
    }
    let build = |name: &str, builder_of_tools: &Builder<_>| -> Result<_> {
        let sets = [overrides(variant, name, &time), sets.clone()].concat();
        let mut bake = builder.command(variant, &sets)?;
        bake.arg("--no-cache");
        if args.tools {
            bake.args(["--set", &format!("*.contexts.tools={}", builder_of_tools.tools().display())]);
            bake.args(["--set", "*.args.RUST_IMAGE=scratch"]);
        }
        let started = Instant::now();
        step::run(&format!("build {}, the {name} of two", variant.name), &mut bake)?;
        Ok((OciImage::open(&directory.join(name))?, step::elapsed(started.elapsed())))
    };
    let (first, first_time) = build("first", &builder)?;
    let (second, second_time) = build("second", copied.as_ref().unwrap_or(&builder))?;
    // A compiled copy is larger than both images.
    remove(&directory.join("checkout"))?;
    let differences = image_difference::find(&first, &second)?;
    let mut out = io::stdout();
    if first.digest == second.digest {
        remove(&directory)?;
        writeln!(out, "{}: {} in both builds ({first_time} and {second_time})", variant.name, first.digest)?;
        return Ok(Exit::Done);
    }
    out.write_all(image_difference::listing(&differences).as_bytes())?;
    writeln!(out, "{}: {} and {}, kept in {DIRECTORY}", variant.name, first.digest, second.digest)?;
    Ok(Exit::No)
}

/// Overrides of a build whose result goes into a directory of [`DIRECTORY`]. An attestation would contain the time of the build.
fn overrides(variant: &Variant, name: &str, time: &str) -> Vec<String> {
    let target = &variant.target;
    vec![
        time.to_owned(),
        format!("{target}.output=type=oci,tar=false,dest={DIRECTORY}/{name},{}", source_date::REWRITE),
        format!("{target}.attest=type=provenance,disabled=true"),
    ]
}

/// Copies what the tools are compiled from.
fn copy(checkout: &Checkout, into: &Path) -> Result<Checkout> {
    fs::create_dir_all(into).with_context(|| format!("cannot create {}", into.display()))?;
    let mut copy = Command::new("cp");
    copy.current_dir(checkout.root()).args(["--archive", "--parents"]).args(SOURCES).arg(into);
    kit::cmd::run(&mut copy)?;
    Checkout::at(into)
}

fn remove(directory: &Path) -> Result<()> {
    let removed = missing_ok(fs::remove_dir_all(directory));
    removed.map(drop).with_context(|| format!("cannot remove {}", directory.display()))
}
