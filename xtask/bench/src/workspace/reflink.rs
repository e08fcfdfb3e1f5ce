//! A copy on a file system that shares blocks.
use std::fs::File;
use std::io::{self, Write};
use std::process::Command;

use anyhow::{Context, Result};
use kit::HintExt;
use xtask::engine::packages;

use super::comparison::{self, Contender, Until};
use super::fixture::{Mounted, drop_caches};
use super::options::BenchOptions;
use crate::tools;

/// Room for the file system's own structures, in bytes.
const OWN: u64 = 1_500_000_000;

pub fn run(bench: &BenchOptions) -> Result<()> {
    packages::install(&[("mkfs.xfs", "xfsprogs")])?;
    let workspace_sync = tools::build(&bench.checkout, "workspace-sync")?;
    let (image, at) = (bench.fixture.path("xfs"), bench.fixture.directory("mounted")?);
    File::create(&image)
        .and_then(|file| file.set_len(bench.shape.bytes * 5 / 4 + OWN))
        .with_context(|| format!("cannot write {}", image.display()))?;
    kit::cmd::run(Command::new("mkfs.xfs").args(["-q", "-m", "reflink=1"]).arg(&image))?;
    let mounted = Mounted::new(&["-o", "loop"], &image, &at)
        .hint(|| "mounting needs root; --only leaves this part out".to_owned())?;
    let tree = bench.fixture.tree("mounted/tree", &bench.shape, bench.seed)?;
    let copy = bench.fixture.path("mounted/copy");
    let fresh = || bench.fixture.clear("mounted/copy").and_then(|()| drop_caches());
    let contenders = [
        Contender::new("workspace-sync copy", fresh, || {
            kit::cmd::run(&mut tools::sync(&workspace_sync, &tree, &copy))
        }),
        Contender::new("cp -a --reflink=always", fresh, || {
            kit::cmd::run(Command::new("cp").args(["-a", "--reflink=always"]).args([&tree, &copy]))
        }),
    ];
    let table = comparison::run_rounds(
        "shared blocks (xfs), cold",
        "ours",
        bench.rounds,
        Until::OnDisk,
        &contenders,
    )?;
    drop(mounted);
    bench.fixture.remove("xfs")?;
    writeln!(io::stdout(), "{table}").context("cannot print")
}
