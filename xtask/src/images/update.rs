//! `cargo xtask images update`: asks the registry for the digests of the base images.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use kit::atomic::{self, WriteOptions};
use kit::{Exit, HintExt, Outcome};
use serde::Deserialize;

use super::lock_file::{self, LockFile};
use crate::bake;
use crate::checkout::Checkout;
use crate::engine;

/// Write the digests of all base images to docker-bake.lock.hcl, and print what changed
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print what would change and write nothing; exit code 1 if anything would
    #[arg(long)]
    check: bool,
    /// Ask this mirror of Docker Hub, such as mirror.example:5000
    #[arg(long, value_name = "HOST")]
    mirror: Option<String>,
}

/// Images without an answer after which no registry counts as reachable, unless one has answered.
const UNREACHABLE_AFTER: usize = 3;

/// Runs the task; exit code 1 also if the registry did not answer for every image.
pub fn run(args: &Args) -> Outcome {
    let checkout = Checkout::find()?;
    let client = engine::client()?;
    let docker = || {
        let mut docker = client.command();
        docker.current_dir(checkout.root());
        docker
    };
    let old = LockFile::read(checkout.root())?;
    let used = used_images(&docker)?;
    let mut answers = BTreeMap::new();
    let mut failures = Vec::new();
    for image in &used {
        match ask(docker(), &mirrored(image, args.mirror.as_deref())) {
            Ok(digest) => drop(answers.insert(image.clone(), digest)),
            Err(error) => failures.push(format!("{image}: {}", reason(&format!("{error:#}")))),
        }
        if answers.is_empty() && failures.len() == UNREACHABLE_AFTER {
            break;
        }
    }
    if answers.is_empty() {
        return Err(anyhow!("no container registry answers: {}", failures.first().map_or("", |line| line)))
            .hint(|| {
                "behind a proxy, set HTTPS_PROXY; a mirror of Docker Hub is given with --mirror".to_owned()
            });
    }
    let (new, changes) = old.updated(&used, &answers);
    for line in &changes {
        writeln!(io::stdout(), "{line}")?;
    }
    for failure in &failures {
        log::warn!("no answer for {failure}");
    }
    if !args.check {
        atomic::write_if_changed(
            &checkout.root().join(lock_file::FILE),
            new.text().as_bytes(),
            WriteOptions::volatile(0o644),
        )?;
        log::info!("{}: {} images, {} changes", lock_file::FILE, new.0.len(), changes.len());
    }
    let differs = args.check && !changes.is_empty();
    Ok(if differs || !failures.is_empty() { Exit::No } else { Exit::Done })
}

/// The part of buildx's message that says why.
fn reason(error: &str) -> &str {
    error.rsplit_once("ERROR: ").map_or(error, |(_, reason)| reason.trim())
}

/// Every image that a target of the bake file is built from, also the compiler's.
fn used_images(docker: &impl Fn() -> Command) -> Result<BTreeSet<String>> {
    let mut print = bake::command(docker(), &[], &[]);
    images_of(&kit::cmd::stdout(print.arg("--print").args(bake::EVERYTHING))?)
}

fn images_of(printed: &str) -> Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Printed {
        target: BTreeMap<String, Target>,
    }
    #[derive(Deserialize)]
    struct Target {
        #[serde(default)]
        args: BTreeMap<String, Option<String>>,
    }
    let printed: Printed = serde_json::from_str(printed).context("bake did not print its targets as JSON")?;
    let arguments = printed.target.into_values().flat_map(|target| target.args);
    let images = arguments.filter(|(name, _)| ["IMAGE_BASE", "RUST_IMAGE"].contains(&name.as_str()));
    Ok(images.filter_map(|(_, image)| image).collect())
}

/// Reference of an image of Docker Hub at a mirror, which keeps official images in `library`.
#[must_use]
pub fn mirrored(image: &str, mirror: Option<&str>) -> String {
    match mirror {
        None => image.to_owned(),
        Some(host) if image.contains('/') => format!("{host}/{image}"),
        Some(host) => format!("{host}/library/{image}"),
    }
}

/// Returns the digest of an image, for all its platforms together.
fn ask(mut docker: Command, image: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Manifest {
        digest: String,
    }
    let answer = kit::cmd::stdout(docker.args([
        "buildx",
        "imagetools",
        "inspect",
        "--format",
        "{{json .Manifest}}",
        image,
    ]))?;
    let Manifest { digest } = serde_json::from_str(&answer).context("the answer has no digest")?;
    if !lock_file::is_digest(&digest) {
        bail!("{digest:?} is not a SHA-256 digest");
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_base_and_the_compilers_image_are_asked_for() {
        let images = images_of(include_str!("../bake/fixtures/print.json")).unwrap();
        for image in ["ubuntu:24.04", "debian:12-slim", "nvidia/cuda:12.1.1-base-ubuntu22.04"] {
            assert!(images.contains(image), "{image}");
        }
        let compiler =
            r#"{"target": {"x": {"args": {"RUST_IMAGE": "rust:1", "OTHER": "y", "IMAGE_BASE": null}}}}"#;
        assert_eq!(images_of(compiler).unwrap(), ["rust:1".to_owned()].into());
    }

    #[test]
    fn a_mirror_has_the_official_images_below_library() {
        assert_eq!(mirrored("ubuntu:22.04", Some("m.example:5000")), "m.example:5000/library/ubuntu:22.04");
        assert_eq!(mirrored("nvidia/cuda:12", Some("m.example")), "m.example/nvidia/cuda:12");
        assert_eq!(mirrored("ubuntu:22.04", None), "ubuntu:22.04");
    }
}
