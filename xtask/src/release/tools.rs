//! The image's tools, built once for all images of a release.

use std::ffi::OsString;
use std::fs;

use anyhow::{Context, Result, anyhow};
use kit::HintExt;

use super::Runner;
use crate::checkout::Checkout;
use crate::image::Builder;
use crate::images::{LOCK_FILE, LockFile};

const DOCKERFILE: &str = "images/base/Dockerfile";

/// Build the image's tools into target/image/tools, for all images of a release
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Compile with the Rust image whose digest is in docker-bake.lock.hcl; fail without one
    #[arg(long)]
    locked: bool,
}

/// Builds the stage `tools` of the Dockerfile into the directory that every image takes them from; without a registry, the
/// host's cargo compiles them, except for a locked release.
pub fn make(args: &Args, runner: Runner) -> Result<()> {
    let checkout = Checkout::find()?;
    let compiler = args.locked.then(|| locked_compiler(&checkout)).transpose()?;
    let docker = runner.docker()?;
    let builder = Builder::new(checkout.clone(), &docker);
    if compiler.is_none() && !runner.dry_run && !builder.registry() {
        return builder.compile_tools();
    }
    let mut build = docker();
    build.current_dir(checkout.root());
    build.args(["buildx", "build", "--file", DOCKERFILE, "--target", "tools"]);
    if let Some(compiler) = compiler {
        build.args(["--build-arg", &format!("RUST_IMAGE={compiler}")]);
    }
    let mut output = OsString::from("type=local,dest=");
    output.push(builder.tools());
    runner.run("build the image's tools", build.arg("--output").arg(output).arg("."))
}

/// Reference of the compiler's image with its digest; fails if the lock file has none.
pub fn locked_compiler(checkout: &Checkout) -> Result<String> {
    let path = checkout.root().join(DOCKERFILE);
    let dockerfile = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    with_digest(&dockerfile, &LockFile::read(checkout.root())?)
}

fn with_digest(dockerfile: &str, lock: &LockFile) -> Result<String> {
    let image = dockerfile
        .lines()
        .find_map(|line| line.strip_prefix("ARG RUST_IMAGE="))
        .with_context(|| format!("{DOCKERFILE} does not set RUST_IMAGE"))?;
    match lock.0.get(image) {
        Some(digest) => Ok(format!("{image}@{digest}")),
        None => Err(anyhow!("no digest in {LOCK_FILE} for the compiler's image {image}"))
            .hint(|| "run: cargo xtask images update".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_release_compiles_with_the_image_of_the_lock_file() {
        let dockerfile = "ARG IMAGE_BASE=ubuntu:22.04\nARG RUST_IMAGE=rust:1\nFROM ${RUST_IMAGE}\n";
        let mut lock = LockFile::default();
        let error = with_digest(dockerfile, &lock).unwrap_err().to_string();
        assert_eq!(error, "no digest in docker-bake.lock.hcl for the compiler's image rust:1");
        lock.0.insert("rust:1".to_owned(), "sha256:a".to_owned());
        assert_eq!(with_digest(dockerfile, &lock).unwrap(), "rust:1@sha256:a");
    }
}
