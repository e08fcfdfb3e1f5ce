//! A copy on a file system that shares blocks.
use std::fs::File;
use std::io::{self, Write};
use std::process::Command;

use anyhow::{Context, Result};
use kit::HintExt;
use xtask::engine::packages;

use super::comparison::{self, Contender, Until};
use super::fixture::{Mounted, cool_down};
use super::plan::Plan;
use crate::tools;

/// Room for the file system's own structures, in bytes.
const OWN: u64 = 1_500_000_000;

pub fn run(plan: &Plan) -> Result<()> {
    packages::install(&[("mkfs.xfs", "xfsprogs")])?;
    let workspace_sync = tools::build(&plan.checkout, "workspace-sync")?;
    let (image, at) = (plan.fixture.at("xfs"), plan.fixture.directory("mounted")?);
    File::create(&image)
        .and_then(|file| file.set_len(plan.shape.bytes * 5 / 4 + OWN))
        .with_context(|| format!("cannot write {}", image.display()))?;
    kit::cmd::run(Command::new("mkfs.xfs").args(["-q", "-m", "reflink=1"]).arg(&image))?;
    let mounted = Mounted::new(&["-o", "loop"], &image, &at)
        .hint(|| "mounting needs root; --only leaves this part out".to_owned())?;
    let tree = plan.fixture.tree("mounted/tree", &plan.shape, plan.seed)?;
    let copy = plan.fixture.at("mounted/copy");
    let fresh = || plan.fixture.clear("mounted/copy").and_then(|()| cool_down());
    let contenders = [
        Contender::new("workspace-sync copy", fresh, || {
            kit::cmd::run(&mut tools::sync(&workspace_sync, &tree, &copy))
        }),
        Contender::new("cp -a --reflink=always", fresh, || {
            kit::cmd::run(Command::new("cp").args(["-a", "--reflink=always"]).args([&tree, &copy]))
        }),
    ];
    let table =
        comparison::run_rounds("shared blocks (xfs), cold", "ours", plan.rounds, Until::OnDisk, &contenders)?;
    drop(mounted);
    plan.fixture.remove("xfs")?;
    writeln!(io::stdout(), "{table}").context("cannot print")
}
