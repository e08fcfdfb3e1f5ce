//! Bytes that correcting permissions copies into a container's layer.
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use kit::HintExt;

use super::fixture::Mounted;
use super::options::BenchOptions;
use super::permissions;
use crate::tools;

pub fn run(bench: &BenchOptions) -> Result<()> {
    let fix_perms = tools::build(&bench.checkout, "fix-perms")?;
    let ours = |opt: &Path| kit::cmd::run(permissions::fix(&fix_perms, opt).args(["--only", "container"]));
    bench.fixture.clear("lower")?;
    let lower = bench.fixture.tree("lower", &permissions::shape(bench), bench.seed)?;
    let first = [copied(bench, ours)?, copied(bench, permissions::share)?];
    ours(&lower)?;
    let nothing = [copied(bench, ours)?, copied(bench, permissions::share)?];
    bench.fixture.remove("lower")?;
    let mut out = io::stdout().lock();
    writeln!(out, "| copied into the upper layer | first run | nothing to fix |\n|---|---|---|")?;
    for (number, name) in ["fix-perms", "chown -R, chmod -R"].into_iter().enumerate() {
        let show = |(entries, bytes): (u64, u64)| format!("{entries} entries, {} MB", bytes / 1_000_000);
        writeln!(out, "| {name} | {} | {} |", show(first[number]), show(nothing[number]))?;
    }
    writeln!(out).context("cannot print")
}

/// Entries and allocated bytes in the upper layer after a task.
fn copied(bench: &BenchOptions, task: impl Fn(&Path) -> Result<()>) -> Result<(u64, u64)> {
    for name in ["upper", "work", "merged"] {
        bench.fixture.clear(name)?;
        bench.fixture.directory(name)?;
    }
    let mut options = std::ffi::OsString::from("lowerdir=");
    options.push(bench.fixture.path("lower"));
    for (option, name) in [(",upperdir=", "upper"), (",workdir=", "work")] {
        options.push(option);
        options.push(bench.fixture.path(name));
    }
    let merged = bench.fixture.path("merged");
    let options = options.to_str().context("the path of the checkout is not text")?;
    let mounted = Mounted::new(&["-t", "overlay", "-o", options], Path::new("overlay"), &merged)
        .hint(|| "mounting needs root; --only leaves this part out".to_owned())?;
    task(&merged)?;
    drop(mounted);
    let counted = count(&bench.fixture.path("upper"))?;
    for name in ["upper", "work", "merged"] {
        bench.fixture.clear(name)?;
    }
    Ok(counted)
}

/// Entries below a directory, and the bytes that their files take on disk.
fn count(directory: &Path) -> Result<(u64, u64)> {
    let context = || format!("cannot read {}", directory.display());
    let (mut entries, mut bytes) = (0, 0);
    for entry in fs::read_dir(directory).with_context(context)? {
        let entry = entry.with_context(context)?;
        let metadata = entry.metadata().with_context(context)?;
        entries += 1;
        if metadata.is_dir() {
            let below = count(&entry.path())?;
            (entries, bytes) = (entries + below.0, bytes + below.1);
        } else {
            bytes += metadata.blocks() * 512;
        }
    }
    Ok((entries, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_at_any_depth_are_counted_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink("/usr", dir.path().join("link")).unwrap();
        assert_eq!(count(dir.path()).unwrap().0, 4);
    }
}
