//! A first copy with cold caches.
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use xtask::cargo_tools;
use xtask::engine::packages;

use super::comparison::{self, Contender, Until};
use super::fixture::drop_caches;
use super::options::BenchOptions;
use crate::tools;

/// The fastest public copier; it loses hard links and the times of directories.
const XCP: (&str, &str) = ("xcp", "0.24.9");

pub fn run(bench: &BenchOptions) -> Result<()> {
    packages::install(&[("rsync", "rsync")])?;
    let workspace_sync = tools::build(&bench.checkout, "workspace-sync")?;
    let xcp = cargo_tools::ensure_installed(&bench.checkout, XCP.0, XCP.1)?;
    let (tree, copy) = (bench.fixture.path("tree"), bench.fixture.path("copy"));
    let bytes = bench.fixture.path("bytes");
    noise(&bytes, bench.shape.bytes)?;
    let fresh = || bench.fixture.clear("copy").and_then(|()| drop_caches());
    let contenders = [
        Contender::new("workspace-sync copy", fresh, || {
            kit::cmd::run(&mut tools::sync(&workspace_sync, &tree, &copy))
        }),
        Contender::new("rsync -aSH", fresh, || {
            kit::cmd::run(Command::new("rsync").arg("-aSH").arg(tree.join("")).arg(&copy))
        }),
        Contender::new("cp -a", fresh, || kit::cmd::run(Command::new("cp").arg("-a").args([&tree, &copy]))),
        Contender::new(
            "tar pipe",
            || fresh().and_then(|()| bench.fixture.directory("copy").map(drop)),
            || tar(&tree, &copy),
        ),
        Contender::new("xcp", fresh, || {
            let options = ["--recursive", "--no-progress", "--no-target-directory"];
            kit::cmd::run(Command::new(&xcp).args(options).args([&tree, &copy]))
        }),
        Contender::new("dd of the same bytes", fresh, || dd(&bytes, &copy)),
    ];
    let table = comparison::run_rounds("first copy, cold", "ours", bench.rounds, Until::OnDisk, &contenders)?;
    bench.fixture.clear("copy")?;
    bench.fixture.remove("bytes")?;
    writeln!(io::stdout(), "{table}").context("cannot print")
}

/// One file as large as all of the tree, of bytes that cannot be compressed.
fn noise(path: &Path, size: u64) -> Result<()> {
    let write = || -> io::Result<()> {
        let mut source = File::open("/dev/urandom")?.take(size);
        io::copy(&mut source, &mut File::create(path)?).map(drop)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn dd(from: &Path, to: &Path) -> Result<()> {
    let operand = |name: &str, path: &Path| {
        let mut operand = std::ffi::OsString::from(name);
        operand.push(path);
        operand
    };
    kit::cmd::run(Command::new("dd").arg(operand("if=", from)).arg(operand("of=", to)).arg("bs=4M"))
}

fn tar(from: &Path, to: &Path) -> Result<()> {
    let mut pack = Command::new("tar");
    pack.arg("--directory").arg(from).args(["--create", "--file", "-", "."]).stdout(Stdio::piped());
    let mut pack = pack.spawn().context("cannot run tar")?;
    let output = pack.stdout.take().context("tar has no output")?;
    let mut unpack = Command::new("tar");
    unpack.arg("--directory").arg(to).args(["--extract", "--preserve-permissions", "--file", "-"]);
    let unpacked = unpack.stdin(output).status().context("cannot run tar")?;
    let packed = pack.wait().context("cannot wait for tar")?;
    if !packed.success() || !unpacked.success() {
        bail!("tar ended with {packed} and {unpacked}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_pipe_copies_a_tree_and_a_missing_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("file"), "x").unwrap();
        tar(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("file")).unwrap(), b"x");
        assert!(tar(&dir.path().join("gone"), &to).is_err());
    }

    #[test]
    fn as_many_bytes_are_made_and_copied_as_were_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a file"), dir.path().join("to"));
        noise(&from, 100_001).unwrap();
        dd(&from, &to).unwrap();
        assert_eq!(fs::read(&from).unwrap(), fs::read(&to).unwrap());
        assert_eq!(fs::metadata(&to).unwrap().len(), 100_001);
    }
}
