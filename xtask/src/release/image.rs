//! One image of a release: built, started, checked, and only then pushed, without a tag.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail, ensure};
use kit::{Exit, HintExt, Outcome};
use serde::Deserialize;

use super::pushed_image::{self, PushedImage};
use super::{Runner, manifest, smoke};
use crate::bake::{self, Variant, source_date};
use crate::checkout::Checkout;
use crate::image::{Builder, SeparateBuilder};
use crate::images::{LOCK_FILE, is_digest};

const EPILOGUE: &str = "\
Examples:
  cargo xtask release image cpu-24.04
  cargo xtask release image cpu-24.04 --locked --push --dry-run";

/// Build one variant with the tools of `release tools`, start it and check it
///
/// Optional downloads must succeed. If the builder is not the engine itself, no file is newer than the commit. With --push,
/// the image that was checked is pushed by its digest, without a tag, with its list of packages (SBOM) and its provenance;
/// `release publish` sets the tag.
#[derive(Debug, clap::Args)]
#[command(after_help = EPILOGUE)]
pub struct Args {
    /// Variant, as for `cargo xtask bake`
    variant: String,
    /// Build on the digest of the base in docker-bake.lock.hcl
    #[arg(long)]
    locked: bool,
    /// Push the image by digest and write a record of it; needs a builder that can attest
    #[arg(long)]
    push: bool,
    /// Override a value of a target, as in '*.args.NAME=VALUE'; passed on to bake
    #[arg(long = "set", value_name = "TARGET.KEY=VALUE")]
    sets: Vec<String>,
}

/// Runs the task.
pub fn run(args: &Args, runner: Runner) -> Outcome {
    let checkout = Checkout::find()?;
    let docker = runner.docker()?;
    let catalogue = super::catalogue(&checkout, docker(), args.locked)?;
    let sets: Vec<_> = args.sets.iter().map(|set| catalogue.address(set)).collect();
    let catalogue = catalogue.with_bases(&sets);
    let variant = bake::into_anyhow(bake::resolve(&catalogue, &args.variant))?;
    if args.locked {
        bake::check_locked(&[variant])?;
    }
    let directory = checkout.root().join(pushed_image::DIRECTORY);
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let metadata = directory.join(format!("{}.bake", variant.name));
    let builder = Builder::new(checkout.clone(), &docker);
    if !runner.dry_run {
        if args.push {
            pushed_image::remove(&directory, &variant.name)?;
        }
        prepare(&builder, variant, args.push)?;
    }
    let rewrite = SeparateBuilder::find(docker(), None)?.is_some();
    let time = source_date::set(checkout.root(), &kit::Env::from_process())?;
    let bake = |title: &str, output: Vec<String>| {
        let sets = [always(&builder.tools()), vec![time.clone()], output, sets.clone()].concat();
        let mut bake = builder.command(variant, &sets)?;
        if args.locked {
            bake.args(["--file", LOCK_FILE]);
        }
        runner.run(&format!("{title} {}", variant.image), bake.arg("--metadata-file").arg(&metadata))
    };
    bake("build", load(variant, rewrite))?;
    smoke::test(runner, &*docker, &variant.image)?;
    if !args.push {
        return Ok(Exit::Done);
    }
    let checked = if runner.dry_run { String::new() } else { built(&metadata, variant)?.configuration()? };
    let repository = variant.repository();
    bake("push", push(variant, repository, rewrite))?;
    if runner.dry_run {
        return Ok(Exit::Done);
    }
    let digest = built(&metadata, variant)?.digest;
    let pushed = manifest::configurations(&*docker, repository, &digest)?;
    ensure!(
        pushed == [checked.as_str()],
        "the pushed image {repository}@{digest} is not the one that was checked"
    );
    let image = PushedImage { tag: variant.tag.clone(), repository: repository.to_owned(), digest };
    image.save(&directory, &variant.name)?;
    log::info!("pushed {}", image.by_digest());
    Ok(Exit::Done)
}

/// Makes a base where no registry has it, except for an image that is going to be published.
fn prepare<F: Fn() -> Command>(builder: &Builder<F>, variant: &Variant, push: bool) -> Result<()> {
    if !builder.tools().is_dir() {
        return Err(anyhow!("{} is missing", builder.tools().display()))
            .hint(|| "run: cargo xtask release tools".to_owned());
    }
    if builder.prepare_base(variant)? && push {
        return Err(anyhow!("{} is not pushed, because no registry has {}", variant.image, variant.base))
            .hint(|| format!("--set {}.args.IMAGE_BASE=IMAGE names another base", variant.base_target()));
    }
    Ok(())
}

/// Overrides of every build of a release: nothing is left out, and the tools are the ones of all images.
fn always(tools: &Path) -> Vec<String> {
    vec![
        "*.args.STRICT_DOWNLOADS=true".to_owned(),
        format!("*.contexts.tools={}", tools.display()),
        // BuildKit looks up the compiler's image even though the stage that uses it is replaced.
        "*.args.RUST_IMAGE=scratch".to_owned(),
    ]
}

/// Overrides that load the image. Without the default attestation, bake writes the digest of the configuration.
fn load(variant: &Variant, rewrite: bool) -> Vec<String> {
    let of_target = [output("type=docker", rewrite), "attest=type=provenance,disabled=true".to_owned()];
    of_target.iter().map(|set| format!("{}.{set}", variant.target)).collect()
}

/// Overrides that push by digest; only a name without a tag can be pushed that way.
fn push(variant: &Variant, repository: &str, rewrite: bool) -> Vec<String> {
    let of_target = [
        format!("tags={repository}"),
        output("type=image,push-by-digest=true,name-canonical=true,push=true", rewrite),
        "attest=type=provenance,mode=max".to_owned(),
        "attest=type=sbom".to_owned(),
    ];
    of_target.iter().map(|set| format!("{}.{set}", variant.target)).collect()
}

/// Both outputs rewrite the times of files or neither does: their configurations are compared.
fn output(attributes: &str, rewrite: bool) -> String {
    let rewrite = if rewrite { format!(",{}", source_date::REWRITE) } else { String::new() };
    format!("output={attributes}{rewrite}")
}

/// Bake's metadata of one target.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Built {
    #[serde(rename = "containerimage.digest")]
    digest: String,
    #[serde(rename = "containerimage.config.digest")]
    configuration: Option<String>,
}

impl Built {
    fn configuration(self) -> Result<String> {
        self.configuration.context("bake did not write the digest of the image's configuration")
    }
}

fn built(metadata: &Path, variant: &Variant) -> Result<Built> {
    let text = fs::read_to_string(metadata).with_context(|| format!("cannot read {}", metadata.display()))?;
    parse(&text, &variant.target).with_context(|| format!("cannot use {}", metadata.display()))
}

fn parse(metadata: &str, target: &str) -> Result<Built> {
    let mut targets: BTreeMap<String, serde_json::Value> = serde_json::from_str(metadata)?;
    let built = targets.remove(target).with_context(|| format!("it does not name {target}"))?;
    let built: Built = serde_json::from_value(built)?;
    if !is_digest(&built.digest) {
        bail!("{:?} is not a SHA-256 digest", built.digest);
    }
    Ok(built)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bake::Catalogue;

    #[test]
    fn an_image_is_pushed_without_a_tag_and_with_its_attestations() {
        let catalogue = Catalogue::from_print_json(include_str!("../bake/fixtures/print.json")).unwrap();
        let variant = bake::resolve(&catalogue, "cuda-12.1-runtime-22.04").unwrap();
        let repository = variant.repository();
        assert_eq!(repository, "leonardo/base-image");
        assert_eq!(
            push(variant, repository, true),
            [
                "cuda-12_1_1-runtime-22_04.tags=leonardo/base-image",
                "cuda-12_1_1-runtime-22_04.output=type=image,push-by-digest=true,name-canonical=true,push=true,\
                 rewrite-timestamp=true",
                "cuda-12_1_1-runtime-22_04.attest=type=provenance,mode=max",
                "cuda-12_1_1-runtime-22_04.attest=type=sbom",
            ]
        );
    }

    #[test]
    fn bakes_metadata_is_read_by_target_and_digests_are_checked() {
        let (image, config) = ("a".repeat(64), "b".repeat(64));
        let text = format!(
            r#"{{"buildx.build.warnings":[],"cpu-22_04":{{"buildx.build.ref":"x/y/z","containerimage.config.digest":
               "sha256:{config}","containerimage.digest":"sha256:{image}","image.name":"i"}}}}"#
        );
        let built = parse(&text, "cpu-22_04").unwrap();
        assert_eq!(built.digest, format!("sha256:{image}"));
        assert_eq!(built.configuration().unwrap(), format!("sha256:{config}"));
        assert!(parse(&text, "cpu-24_04").unwrap_err().to_string().contains("cpu-24_04"));
        let error = parse(&text.replace(&image, "$(id)"), "cpu-22_04").unwrap_err();
        assert!(error.to_string().ends_with("is not a SHA-256 digest"), "{error}");
    }
}
