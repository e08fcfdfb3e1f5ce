//! A second run with nothing to do, against a walk that looks at every entry of both trees.
use std::io::{self, Write};
use std::process::Command;

use anyhow::{Context, Result, bail};
use trees::Aspect;
use xtask::engine::packages;

use super::comparison::{self, Contender, Until};
use super::fixture::drop_caches;
use super::options::BenchOptions;
use crate::tools;

pub fn run(bench: &BenchOptions) -> Result<()> {
    packages::install(&[("rsync", "rsync"), ("find", "findutils")])?;
    let workspace_sync = tools::build(&bench.checkout, "workspace-sync")?;
    let (tree, copy) = (bench.fixture.path("tree"), bench.fixture.path("copy"));
    bench.fixture.clear("copy")?;
    kit::cmd::run(&mut tools::sync(&workspace_sync, &tree, &copy))?;
    // A copy that differs would make the measurement meaningless. The tool's own files in the copy's root do not count.
    let differ = trees::difference_except(&tree, &copy, &[Aspect::Content]);
    if let Some(line) = differ.iter().find(|line| !line.starts_with('.')) {
        bail!("the copy of workspace-sync differs in {} ways, such as {line}", differ.len());
    }
    // A time that no entry has, so that it prints no names.
    let walk = || kit::cmd::run(Command::new("find").args([&tree, &copy]).args(["-newermt", "2100-01-01"]));
    let contenders = |prepare: fn() -> Result<()>| {
        [
            Contender::new("workspace-sync copy", prepare, || {
                kit::cmd::run(&mut tools::sync(&workspace_sync, &tree, &copy))
            }),
            Contender::new("find -newermt, both trees", prepare, walk),
            Contender::new("rsync -aSH", prepare, || {
                kit::cmd::run(Command::new("rsync").arg("-aSH").arg(tree.join("")).arg(&copy))
            }),
        ]
    };
    let cold = comparison::run_rounds(
        "nothing to do, cold",
        "ours",
        bench.rounds,
        Until::Returned,
        &contenders(drop_caches),
    )?;
    walk()?;
    let warm = comparison::run_rounds(
        "nothing to do, warm",
        "ours",
        bench.rounds,
        Until::Returned,
        &contenders(|| Ok(())),
    )?;
    bench.fixture.remove("copy")?;
    writeln!(io::stdout(), "{cold}\n{warm}").context("cannot print")
}
