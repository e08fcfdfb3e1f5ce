//! `fix-perms` over a tree like `/opt` and one like a workspace, against the commands that shell systems use.
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use kit::HintExt;
use trees::Shape;
use xtask::engine::packages;

use super::comparison::{self, Contender, Until};
use super::fixture::Mounted;
use super::options::BenchOptions;
use crate::tools;

/// In each of the two trees.
const ENTRIES: usize = 101_000;
/// The volume's owner.
const USER: &str = "1000";
/// A group of every distribution; the image's own group does not exist here.
pub const GROUP: &str = "users";

pub fn run(bench: &BenchOptions) -> Result<()> {
    packages::install(&[("setfacl", "acl"), ("find", "findutils")])?;
    let fix_perms = tools::build(&bench.checkout, "fix-perms")?;
    let shape = shape(bench);
    let (opt, workspace) = (bench.fixture.path("opt"), bench.fixture.directory("workspace")?);
    // fix-perms skips a directory that is not a volume.
    let mounted = Mounted::new(&["--bind"], &bench.fixture.directory("volume")?, &workspace)
        .hint(|| "mounting needs root; --only leaves this part out".to_owned())?;
    let fresh = || -> Result<()> {
        for name in ["opt", "workspace/tree"] {
            bench.fixture.clear(name)?;
            bench.fixture.tree(name, &shape, bench.seed)?;
            // fix-perms would skip private directories, so all are opened.
            let everything = bench.fixture.path(name);
            kit::cmd::run(Command::new("chmod").args(["-R", "u+rwX,go+rX"]).arg(everything))?;
        }
        Ok(())
    };
    let find =
        || kit::cmd::run(Command::new("find").args([&opt, &workspace]).args(["-newermt", "2100-01-01"]));
    let ours = || kit::cmd::run(fix(&fix_perms, &opt).env("WORKSPACE", &workspace));
    let first = comparison::run_rounds(
        "first run",
        "ours",
        bench.rounds,
        Until::Returned,
        &[
            Contender::new("fix-perms", fresh, ours),
            Contender::new("chown -R, chmod -R, 2 x setfacl -R", fresh, || shell(&opt, &workspace)),
        ],
    )?;
    fresh()?;
    ours()?;
    let nothing = comparison::run_rounds(
        "nothing to fix, warm",
        "ours",
        bench.rounds,
        Until::Returned,
        &[
            // Undo the changes of the shell's commands in the previous round.
            Contender::new("fix-perms", ours, ours),
            Contender::new("find -newermt", || Ok(()), find),
            Contender::new("chown -R, chmod -R, 2 x setfacl -R", || Ok(()), || shell(&opt, &workspace)),
        ],
    )?;
    drop(mounted);
    bench.fixture.remove("opt")?;
    bench.fixture.remove("volume")?;
    writeln!(io::stdout(), "{} entries\n\n{first}\n{nothing}", 2 * shape.entries()).context("cannot print")
}

/// One of the two trees.
pub fn shape(bench: &BenchOptions) -> Shape {
    Shape::many(ENTRIES * bench.percent / 100)
}

/// `fix-perms` for `opt` in the place of `/opt`, with a mounted workspace.
pub fn fix(fix_perms: &Path, opt: &Path) -> Command {
    let mut command = Command::new(fix_perms);
    command.arg("--opt").arg(opt).args(["--group", GROUP]);
    command.env("WORKSPACE_UID", USER).env("WORKSPACE_MOUNTED", "true");
    command
}

fn shell(opt: &Path, workspace: &Path) -> Result<()> {
    share(opt)?;
    let entry = format!("u:{USER}:rwX");
    kit::cmd::run(Command::new("setfacl").args(["-R", "-m", &entry]).arg(workspace))?;
    kit::cmd::run(Command::new("setfacl").args(["-R", "-d", "-m", &entry]).arg(workspace))
}

/// Shares `/opt` as shell systems do.
pub fn share(opt: &Path) -> Result<()> {
    kit::cmd::run(Command::new("chown").args(["-R", &format!("root:{GROUP}")]).arg(opt))?;
    kit::cmd::run(Command::new("chmod").args(["-R", "g+rwX"]).arg(opt))
}
