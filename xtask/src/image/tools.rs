//! The image's own binaries, compiled on the host and linked statically, so that they run on any base.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use kit::atomic::{self, WriteOptions};
use serde::Deserialize;

use super::cross_compiler;
use crate::bake::Platform;
use crate::cargo::cargo;
use crate::checkout::Checkout;
use crate::{step, system_packages};

/// Compiles every package below `crates/` that has a binary, and leaves exactly those binaries in `into`.
pub fn make(checkout: &Checkout, platform: Platform, into: &Path) -> Result<()> {
    system_packages::for_compiling()?;
    let metadata =
        kit::cmd::stdout(cargo(checkout).args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let packages =
        packages(&metadata, &checkout.root().join("crates")).context("cannot read cargo's metadata")?;
    if packages.is_empty() {
        bail!("no package below {} has a binary", checkout.root().join("crates").display());
    }
    let mut build = Command::new(checkout.root().join("images/base/steps/compile.sh"));
    build.current_dir(checkout.root());
    let target = if platform == Platform::of_this_machine() {
        host(&kit::cmd::stdout(Command::new("rustc").arg("-vV"))?)?
    } else {
        cross_compiler::prepare(&mut build, platform)?;
        cross_compiler::target(platform)
    };
    build.arg(checkout.image_dir()).arg(&target).args(packages.iter().map(|package| &package.name));
    step::run("compile the image's tools", &mut build)?;
    let made = checkout.image_dir().join(&target).join("release");
    let binaries: BTreeSet<&str> = packages.iter().flat_map(Package::binaries).collect();
    collect(&made, &binaries, into)
}

/// Copies changed programs and removes those that are no longer built.
fn collect(from: &Path, binaries: &BTreeSet<&str>, into: &Path) -> Result<()> {
    fs::create_dir_all(into).with_context(|| format!("cannot create {}", into.display()))?;
    for name in binaries {
        let binary = from.join(name);
        let content = fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
        atomic::write_if_changed(&into.join(name), &content, WriteOptions::volatile(0o755))?;
    }
    for entry in fs::read_dir(into).with_context(|| format!("cannot read {}", into.display()))? {
        let entry = entry.with_context(|| format!("cannot read {}", into.display()))?;
        if !entry.file_name().to_str().is_some_and(|name| binaries.contains(name)) {
            fs::remove_file(entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// Fields of a package's metadata that are used.
#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Package {
    fn binaries(&self) -> impl Iterator<Item = &str> {
        let binaries = self.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "bin"));
        binaries.map(|target| target.name.as_str())
    }
}

fn packages(metadata: &str, below: &Path) -> serde_json::Result<Vec<Package>> {
    let metadata: Metadata = serde_json::from_str(metadata)?;
    let ours =
        |package: &Package| package.manifest_path.starts_with(below) && package.binaries().next().is_some();
    Ok(metadata.packages.into_iter().filter(ours).collect())
}

fn host(rustc_version: &str) -> Result<String> {
    let host = rustc_version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say for which machine it compiles")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_below_crates_with_a_binary_are_compiled() {
        let metadata = r#"{"packages":[
            {"name":"kit","manifest_path":"/w/crates/kit/Cargo.toml","targets":[{"name":"kit","kind":["lib"]}]},
            {"name":"boot","manifest_path":"/w/crates/boot/Cargo.toml","targets":[
                {"name":"boot","kind":["lib"]},{"name":"boot","kind":["bin"]},{"name":"cli","kind":["test"]}]},
            {"name":"xtask","manifest_path":"/w/xtask/Cargo.toml","targets":[{"name":"xtask","kind":["bin"]}]}]}"#;
        let packages = packages(metadata, Path::new("/w/crates")).unwrap();
        let binaries: Vec<_> = packages.iter().flat_map(Package::binaries).collect();
        assert_eq!(binaries, ["boot"]);
    }

    #[test]
    fn the_folder_holds_exactly_the_binaries_and_unchanged_ones_stay() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let (from, into) = (dir.path().join("release"), dir.path().join("tools"));
        fs::create_dir_all(&from).unwrap();
        fs::create_dir_all(&into).unwrap();
        fs::write(from.join("boot"), "1").unwrap();
        fs::write(from.join("boot.d"), "not a program").unwrap();
        fs::write(into.join("gone"), "of yesterday").unwrap();
        let binaries = BTreeSet::from(["boot"]);
        collect(&from, &binaries, &into).unwrap();
        let inode = fs::metadata(into.join("boot")).unwrap().ino();
        collect(&from, &binaries, &into).unwrap();
        assert_eq!(fs::metadata(into.join("boot")).unwrap().ino(), inode);
        assert_eq!(fs::metadata(into.join("boot")).unwrap().mode() & 0o777, 0o755);
        let names: Vec<_> = fs::read_dir(&into).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["boot"]);
    }

    #[test]
    fn the_hosts_triple_is_read_from_rustc() {
        assert_eq!(
            host("rustc 1.95.0\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n").unwrap(),
            "x86_64-unknown-linux-gnu"
        );
        assert!(host("rustc 1.95.0\n").is_err());
    }
}
