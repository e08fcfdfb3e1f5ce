//! From `docker run` to the login page, with a tree to sync and without.
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xtask::engine::Engine;
use xtask::image;

use super::comparison::{self, Contender, Until};
use super::fixture::drop_caches;
use super::options::BenchOptions;
use crate::boot;

const NAME: &str = "leonardo-bench-workspace";
/// The synced tree's name, below `/opt`.
const TREE: &str = "big";
const DEADLINE: Duration = Duration::from_mins(15);

pub fn run(bench: &BenchOptions, engine: &Engine, variant: Option<&str>) -> Result<()> {
    let built = image::build(engine, variant)?;
    let image = format!("{NAME}:latest");
    // A link since build time, as in extended images; the tree itself is mounted, so no image has to be built.
    let recipe = format!(
        "FROM {}\nRUN mkdir /opt/.image/{TREE} && ln -s /opt/.image/{TREE} /opt/{TREE}\n",
        built.image
    );
    kit::cmd::run_with_input(engine.docker().args(["build", "--tag", &image, "-"]), recipe.as_bytes())?;
    let measured = measure(bench, engine, &image);
    remove(engine)?;
    kit::cmd::run(engine.docker().args(["rmi", &image]))?;
    bench.fixture.clear("volume")?;
    measured
}

fn measure(bench: &BenchOptions, engine: &Engine, image: &str) -> Result<()> {
    let tree = mount(&bench.fixture.path("tree"), &format!("/opt/.image/{TREE}:ro"))?;
    let volume = mount(&bench.fixture.path("volume"), "/workspace")?;
    let names = format!("OPT_SYNC={TREE}");
    let prepare = || -> Result<()> {
        remove(engine)?;
        bench.fixture.clear("volume")?;
        bench.fixture.directory("volume")?;
        drop_caches()
    };
    let boot = |sync: &str| {
        let sync = format!("WORKSPACE_SYNC={sync}");
        let options = ["--volume", &tree, "--volume", &volume, "--env", &names, "--env", &sync];
        boot::until_login_page(engine, NAME, image, &options).map(drop)
    };
    let contenders = [
        Contender::new("nothing to sync", prepare, || boot("false")),
        Contender::new("a tree to sync", prepare, || boot("true")),
    ];
    let title = "docker run until the login page, cold";
    let table = comparison::run_rounds(title, "without", bench.rounds, Until::Returned, &contenders)?;
    prepare()?;
    let started = Instant::now();
    boot("true")?;
    synced(engine)?;
    let seconds = started.elapsed().as_secs_f64();
    writeln!(io::stdout(), "{table}\nThe copy was in use after {seconds:.1} s.\n").context("cannot print")
}

/// Waits for the end of the sync; fails if the tree is not the copy then.
fn synced(engine: &Engine) -> Result<()> {
    let run = |command: &[&str]| kit::cmd::stdout(engine.docker().args(["exec", NAME]).args(command));
    let ended = || run(&["test", "!", "-e", "/run/workspace_sync"]).is_ok().then_some(());
    kit::wait::until(DEADLINE, "the sync to end", ended)?;
    let tree = run(&["readlink", "--canonicalize", &format!("/opt/{TREE}")])?;
    if !tree.starts_with("/workspace/") {
        let log = run(&["tail", "--lines", "5", "/var/log/sync.log"])?;
        bail!("/opt/{TREE} is still {}, not a copy in the workspace: {}", tree.trim(), log.trim());
    }
    Ok(())
}

fn mount(host: &Path, inside: &str) -> Result<String> {
    let host = host.to_str().context("the path of the checkout is not text")?;
    Ok(format!("{host}:{inside}"))
}

fn remove(engine: &Engine) -> Result<()> {
    kit::cmd::run(engine.docker().args(["rm", "--force", "--volumes", NAME]))
}
