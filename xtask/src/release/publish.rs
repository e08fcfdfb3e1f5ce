//! Signs the images of a release and sets their tags, once all of them are in the registry.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, anyhow, ensure};
use kit::{Exit, HintExt, Outcome};

use super::pushed_image::{self, PushedImage};
use super::{Runner, manifest};
use crate::bake;
use crate::checkout::Checkout;
use crate::images::registry;

const EPILOGUE: &str = "\
Examples:
  cargo xtask release publish all extended
  cargo xtask release publish cpu-24.04 --key cosign.key";

/// Sign the images that `release image --push` pushed, then set their tags
///
/// Does nothing unless every variant was pushed. A tag is set only after all signatures, so no tag leads to an image without
/// one. Can be repeated after an interruption.
#[derive(Debug, clap::Args)]
#[command(after_help = EPILOGUE)]
pub struct Args {
    /// Variants of the release, as for `cargo xtask bake`
    #[arg(value_name = "VARIANT", required = true)]
    variants: Vec<String>,
    /// Sign with this private key of cosign and without a transparency log, instead of the workflow's identity
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Set the tags even if one of them leads to a newer version
    #[arg(long)]
    force: bool,
}

/// Runs the task.
pub fn run(args: &Args, runner: Runner) -> Outcome {
    let checkout = Checkout::find()?;
    let docker = super::docker_client()?;
    let catalogue = super::catalogue(&checkout, docker(), false)?;
    let variants = bake::into_anyhow(bake::select(&catalogue, &args.variants))?;
    let expected = variants.iter().map(|variant| variant.image.as_str()).collect();
    let directory = checkout.root().join(pushed_image::DIRECTORY);
    let images = complete(&expected, pushed_image::read_all(&directory)?)
        .hint(|| "cargo xtask release image VARIANT --push".to_owned())?;
    if !args.force && !runner.dry_run {
        images.iter().try_for_each(|image| refuse_older(&*docker, image))?;
    }
    for image in &images {
        runner.run(&format!("sign {}", image.by_tag()), &mut sign(image, args.key.as_deref()))?;
    }
    for image in &images {
        let mut tag = docker();
        tag.args(["buildx", "imagetools", "create", "--tag", &image.by_tag(), &image.by_digest()]);
        runner.run(&format!("set the tag {}", image.by_tag()), &mut tag)?;
        if !runner.dry_run {
            let digest = registry::digest(&*docker, &image.by_tag())?;
            ensure!(
                digest == image.digest,
                "{} leads to {digest} instead of {}",
                image.by_tag(),
                image.digest
            );
        }
    }
    Ok(Exit::Done)
}

/// Returns the images if they are exactly the expected ones.
fn complete(expected: &BTreeSet<&str>, images: Vec<PushedImage>) -> Result<Vec<PushedImage>> {
    let pushed: BTreeSet<String> = images.iter().map(PushedImage::by_tag).collect();
    let pushed: BTreeSet<&str> = pushed.iter().map(String::as_str).collect();
    let list = |images: &BTreeSet<&str>, others: &BTreeSet<&str>| {
        images.difference(others).copied().collect::<Vec<_>>().join(", ")
    };
    let (missing, foreign) = (list(expected, &pushed), list(&pushed, expected));
    ensure!(missing.is_empty(), "no tag is set, because these images were not pushed: {missing}");
    if !foreign.is_empty() {
        return Err(anyhow!("no tag is set, because these images are not part of the release: {foreign}"));
    }
    Ok(images)
}

/// Fails if the image's tag leads to a newer version, as when an old release is run again.
fn refuse_older(docker: &dyn Fn() -> Command, image: &PushedImage) -> Result<()> {
    let present = manifest::version(docker, &image.by_tag())?;
    let new = manifest::version(docker, &image.by_digest())?;
    if !is_newer(present.as_deref(), new.as_deref()) {
        return Ok(());
    }
    let (present, new) = (present.unwrap_or_default(), new.unwrap_or_else(|| "without a version".to_owned()));
    Err(anyhow!("no tag is set, because {} is {present}, and this release is {new}", image.by_tag()))
        .hint(|| "--force sets it back".to_owned())
}

/// Compares versions such as `v1.2.0`; other texts count as no version, which is older than any.
fn is_newer(present: Option<&str>, new: Option<&str>) -> bool {
    let parse = |text: &str| semver::Version::parse(text.strip_prefix('v').unwrap_or(text)).ok();
    present.and_then(parse) > new.and_then(parse)
}

fn sign(image: &PushedImage, key: Option<&Path>) -> Command {
    let mut sign = Command::new("cosign");
    sign.args(["sign", "--yes"]);
    if let Some(key) = key {
        sign.arg("--key").arg(key).arg("--tlog-upload=false");
    }
    sign.arg(image.by_digest());
    sign
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_not_set_back() {
        for (present, new, newer) in [
            (Some("v1.10.0"), Some("v1.9.0"), true),
            (Some("v1.10.0"), Some("v1.10.0"), false),
            (Some("v1.10.0-rc.1"), Some("v1.10.0"), false),
            (Some("v1.0.0"), None, true),
            (None, None, false),
            (Some("nightly"), Some("v1.0.0"), false),
        ] {
            assert_eq!(is_newer(present, new), newer, "{present:?} {new:?}");
        }
    }

    #[test]
    fn a_release_is_complete_or_nothing() {
        let image = |tag: &str| PushedImage {
            tag: tag.to_owned(),
            repository: "r.example/i".to_owned(),
            digest: format!("sha256:{}", "0".repeat(64)),
        };
        let expected = BTreeSet::from(["r.example/i:a", "r.example/i:b"]);
        let result =
            |images: &[PushedImage]| complete(&expected, images.to_vec()).map_err(|error| error.to_string());
        let (a, b, c) = (image("a"), image("b"), image("c"));
        assert_eq!(result(&[a.clone(), b.clone()]), Ok(vec![a.clone(), b.clone()]));
        assert_eq!(
            result(std::slice::from_ref(&a)),
            Err("no tag is set, because these images were not pushed: r.example/i:b".to_owned())
        );
        assert_eq!(
            result(&[a.clone(), b, c]),
            Err("no tag is set, because these images are not part of the release: r.example/i:c".to_owned())
        );
        let elsewhere = PushedImage { repository: "other.example/i".to_owned(), ..image("b") };
        assert!(result(&[a, elsewhere]).is_err());
    }
}
