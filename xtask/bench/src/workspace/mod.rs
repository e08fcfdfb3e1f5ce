//! Cost of syncing a workspace beside public tools, with the same tree in the same run.
//!
//! All trees come from a seed and lie below `target/bench`, on the file system of the checkout.

mod comparison;
mod copy;
mod fixture;
mod login_page;
mod million_entries;
mod options;
mod overlay;
mod permissions;
mod reflink;
mod repeated_run;

use anyhow::Result;
use clap::ValueEnum;
use trees::Shape;
use xtask::checkout::Checkout;
use xtask::engine::{self, Choice};

use fixture::Fixture;
use options::BenchOptions;

const EPILOGUE: &str = "\
Prints markdown tables for docs/design/measurements.md. A row's \"x ours\" says how many times as long as ours it takes; \"on disk\" \
is the time until nothing is left to be written. Copies begin with cold caches, which slows the whole machine for a moment, \
and file systems are mounted: it needs root. It also needs 17 GB below target/, which are free again afterwards.";

/// Time to copy a tree of 5.45 GB, to compare it again, to correct permissions, and to boot meanwhile
#[derive(Debug, clap::Args)]
#[command(after_help = EPILOGUE)]
pub struct Args {
    /// Measure only this part; can be repeated [default: all but `million`]
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// Number of measurements of each row; the median is printed
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Size of the trees, in percent; small ones for a quick test
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    percent: u8,
    /// Seed of the trees
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the trees afterwards
    #[arg(long)]
    keep: bool,
    /// Boot this variant instead of the machine's default
    #[arg(long)]
    variant: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A first copy with cold caches: rsync, cp, tar, xcp, dd
    Copy,
    /// A second run with nothing to do: find, rsync
    Again,
    /// A copy on a file system that shares blocks: cp --reflink
    Reflink,
    /// fix-perms: chown, chmod, setfacl, find, and what an overlay copies up
    Permissions,
    /// From `docker run` to the login page, with a tree to sync and without
    Page,
    /// The memory that a million entries take; takes long
    Million,
}

/// Measures and prints a table for each part.
pub fn run(args: &Args, choice: Choice) -> Result<()> {
    let checkout = Checkout::find()?;
    let percent = usize::from(args.percent);
    let shape = Shape::environment().scaled(percent, 100);
    // The tree, a file as large for dd, and one copy.
    let fixture = Fixture::make(&checkout.root().join("target/bench/workspace"), 3 * shape.bytes, args.keep)?;
    let bench =
        BenchOptions { checkout, fixture, shape, rounds: args.rounds.max(1), percent, seed: args.seed };
    let wanted = |part| args.only.contains(&part) || args.only.is_empty() && part != Part::Million;
    if wanted(Part::Copy) || wanted(Part::Again) || wanted(Part::Page) {
        bench.show(&format!("A tree of {} files and {} links", shape.files, shape.links))?;
        bench.fixture.tree("tree", &shape, bench.seed)?;
    }
    if wanted(Part::Copy) {
        copy::run(&bench)?;
    }
    if wanted(Part::Again) {
        repeated_run::run(&bench)?;
    }
    if wanted(Part::Page) {
        engine::with(choice, |_, engine| login_page::run(&bench, engine, args.variant.as_deref()))?;
    }
    bench.fixture.remove("tree")?;
    if wanted(Part::Reflink) {
        reflink::run(&bench)?;
    }
    if wanted(Part::Permissions) {
        permissions::run(&bench)?;
        overlay::run(&bench)?;
    }
    if wanted(Part::Million) {
        million_entries::run(&bench)?;
    }
    Ok(())
}
