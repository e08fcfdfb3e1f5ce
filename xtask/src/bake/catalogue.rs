//! Variants that can be built, read from `docker buildx bake --print`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::pattern;
use super::tag_parts::Parts;
use crate::images::LockFile;
use crate::repository;

/// One image that can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// The name in requests and lists: the tag, behind the name of an extended image (`jupyter-cpu-22.04`).
    pub name: String,
    /// The name in the bake file: the name with underscores for dots.
    pub target: String,
    /// The part of the image reference behind the colon, such as `cuda-12.1.1-runtime-22.04`.
    pub tag: String,
    /// The full image reference.
    pub image: String,
    /// The published image below it, also below the variant that an extended image is built on.
    pub base: String,
    /// True if an override replaced `base`.
    pub base_is_override: bool,
    /// The extended image, such as `jupyter`; nothing for the base image.
    pub extended: Option<String>,
    /// The image that it is built from: `base`, or the variant of the base image.
    pub from: String,
    pub(super) parts: Parts,
}

impl Variant {
    /// The target whose argument `IMAGE_BASE` is the base: its own, or that of the variant below an extended image.
    #[must_use]
    pub fn base_target(&self) -> String {
        self.tag.replace('.', "_")
    }

    /// Repository of the image, with its registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        split_tag(&self.image).map_or(&self.image, |(repository, _)| repository)
    }
}

/// Groups of the bake file that together contain every image.
pub const EVERYTHING: &[&str] = &["all", "extended"];

/// All variants, in a fixed order, each with a name of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue(Vec<Variant>);

/// Fields of bake's output that are used. Others (`attest`, `cache-to`, `output`) are texts in older versions and objects
/// since buildx 0.19.
#[derive(Deserialize)]
struct Printed {
    target: BTreeMap<String, Target>,
}

#[derive(Deserialize)]
struct Target {
    #[serde(default)]
    args: BTreeMap<String, Option<String>>,
    #[serde(default)]
    contexts: BTreeMap<String, String>,
    #[serde(default)]
    tags: Vec<String>,
}

impl Printed {
    fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).context("bake did not print its targets as JSON")
    }

    /// Repositories of the base image's variants.
    fn repositories(&self) -> impl Iterator<Item = &str> {
        let of_base = self.target.values().filter(|target| !target.contexts.contains_key("base"));
        of_base.flat_map(|target| &target.tags).filter_map(|image| Some(split_tag(image)?.0))
    }
}

/// Returns every image that a target of bake's answer is built from, also the compiler's.
pub fn source_images(text: &str) -> Result<BTreeSet<String>> {
    let arguments = Printed::parse(text)?.target.into_values().flat_map(|target| target.args);
    let images = arguments.filter(|(name, _)| ["IMAGE_BASE", "RUST_IMAGE"].contains(&name.as_str()));
    Ok(images.filter_map(|(_, image)| image).collect())
}

impl Catalogue {
    /// Reads bake's answer; fails on a target that breaks the rules of the bake file, and names it.
    ///
    /// Each target is named after its one tag, so no two variants share a name. Targets without a tag are not
    /// variants: bake also prints the contexts of others. An extended image is a target whose context `base` is the target
    /// of a variant.
    pub fn from_print_json(text: &str) -> Result<Self> {
        let printed = Printed::parse(text)?;
        // Before the rows: a bad value is not the fault of the first of them.
        printed.repositories().try_for_each(repository::check)?;
        let mut variants = Vec::new();
        for (name, target) in &printed.target {
            if !target.tags.is_empty() {
                let below = target.contexts.get("base").and_then(|base| base.strip_prefix("target:"));
                let variant = match below {
                    None => variant(name, target),
                    Some(below) => extended(name, target, below, &printed.target),
                };
                variants.push(variant.with_context(|| format!("target {name}"))?);
            }
        }
        variants.sort_by(|a, b| order(a).cmp(&order(b)));
        Ok(Self(variants))
    }

    /// Every variant: the base image's, then each extended image's; families by name, then versions from old to new.
    pub fn variants(&self) -> impl Iterator<Item = &Variant> {
        self.0.iter()
    }

    /// Names of the extended images.
    #[must_use]
    pub fn extended_images(&self) -> BTreeSet<&str> {
        self.0.iter().filter_map(|variant| variant.extended.as_deref()).collect()
    }

    /// Last parts of the images' repositories, such as `base-image` and `jupyter`.
    #[must_use]
    pub fn images(&self) -> BTreeSet<&str> {
        self.0.iter().map(|variant| repository::last_part(variant.repository())).collect()
    }

    /// Applies overrides of `IMAGE_BASE` (`TARGET.args.IMAGE_BASE=IMAGE`; the target may be a pattern) to the variants' bases.
    #[must_use]
    pub fn with_bases(mut self, sets: &[String]) -> Self {
        for set in sets {
            let Some((targets, base)) = set.split_once(".args.IMAGE_BASE=") else { continue };
            for variant in self.0.iter_mut().filter(|v| pattern::matches(targets, &v.base_target())) {
                base.clone_into(&mut variant.base);
                variant.base_is_override = true;
                if variant.extended.is_none() {
                    base.clone_into(&mut variant.from);
                }
            }
        }
        self
    }

    /// Adds the digests of the lock file to the bases that it lists.
    #[must_use]
    pub fn locked(mut self, lock: &LockFile) -> Self {
        for variant in &mut self.0 {
            if let Some(digest) = lock.0.get(&variant.base) {
                variant.base = format!("{}@{digest}", variant.base);
                if variant.extended.is_none() {
                    variant.base.clone_into(&mut variant.from);
                }
            }
        }
        self
    }

    /// A `--set` override whose target may be written as a variant's name.
    ///
    /// Bake splits an override at its first dot, so it would look for a target `cuda-12`.
    #[must_use]
    pub fn address(&self, set: &str) -> String {
        self.0
            .iter()
            .find_map(|variant| {
                let key = set.strip_prefix(&variant.name)?.strip_prefix('.')?;
                Some(format!("{}.{key}", variant.target))
            })
            .unwrap_or_else(|| set.to_owned())
    }
}

/// Repository and tag of a reference; a colon before a slash is that of a registry's port.
fn split_tag(image: &str) -> Option<(&str, &str)> {
    image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))
}

fn variant(name: &str, target: &Target) -> Result<Variant> {
    let [image] = target.tags.as_slice() else { bail!("it has {} tags instead of one", target.tags.len()) };
    let (_, tag) = split_tag(image).context("its image has no tag")?;
    let parts = Parts::of_tag(tag).with_context(|| format!("the tag {tag} follows no known pattern"))?;
    ensure!(name == tag.replace('.', "_"), "its name does not match its tag {tag}");
    let base = target.args.get("IMAGE_BASE").cloned().flatten().context("it has no argument IMAGE_BASE")?;
    Ok(Variant {
        name: tag.to_owned(),
        target: name.to_owned(),
        tag: tag.to_owned(),
        image: image.clone(),
        from: base.clone(),
        base,
        base_is_override: false,
        extended: None,
        parts,
    })
}

/// An extended image on the variant whose target is `below`.
fn extended(name: &str, target: &Target, below: &str, all: &BTreeMap<String, Target>) -> Result<Variant> {
    let context = || format!("its base, target {below}");
    let on = all.get(below).with_context(context)?;
    let on = variant(below, on).with_context(context)?;
    let image = name.strip_suffix(below).and_then(|rest| rest.strip_suffix('-'));
    // In a request, underscores are dots.
    let image =
        image.filter(|image| !image.contains('_')).context("it is not named IMAGE-VARIANT after its base")?;
    let reference = match target.tags.as_slice() {
        [reference]
            if split_tag(reference)
                .is_some_and(|(of, tag)| repository::last_part(of) == image && tag == on.tag) =>
        {
            reference
        }
        tags => bail!("its tags are not REPOSITORY/{image}:{} alone: {}", on.tag, tags.join(" ")),
    };
    ensure!(*reference != on.image, "LEONARDO_IMAGE names the repository of the extended image {image}");
    Ok(Variant {
        name: format!("{image}-{}", on.tag),
        target: name.to_owned(),
        image: reference.clone(),
        from: on.image,
        extended: Some(image.to_owned()),
        ..on
    })
}

/// Compares versions as numbers, not as text.
fn order(variant: &Variant) -> impl Ord + use<'_> {
    let Parts { family, version, cudnn, flavour, release } = &variant.parts;
    (&variant.extended, family, version, release, cudnn, flavour)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `--print` of buildx 0.13: attestations, caches and outputs are texts.
    const OLD: &str = r#"{
      "group": {"default": {"targets": ["cuda-12_1_1-base-22_04"]}},
      "target": {"cuda-12_1_1-base-22_04": {
        "context": ".", "dockerfile": "images/base/Dockerfile",
        "args": {"ACCELERATOR": "cuda", "IMAGE_BASE": "nvidia/cuda:12.1.1-base-ubuntu22.04"},
        "tags": ["host.example:5000/team/image:cuda-12.1.1-base-22.04"],
        "attest": ["type=provenance,mode=max"], "cache-to": ["type=inline"], "output": ["type=docker"]}}}"#;

    /// `--print` of buildx 0.20 and later: the same as objects.
    const NEW: &str = r#"{
      "group": {"default": {"targets": ["cuda-12_1_1-base-22_04"]}},
      "target": {"tools": {"context": "."}, "cuda-12_1_1-base-22_04": {
        "context": ".", "dockerfile": "images/base/Dockerfile", "description": "x",
        "args": {"ACCELERATOR": "cuda", "IMAGE_BASE": "nvidia/cuda:12.1.1-base-ubuntu22.04"},
        "tags": ["host.example:5000/team/image:cuda-12.1.1-base-22.04"],
        "attest": [{"type": "provenance", "mode": "max"}], "cache-to": [{"type": "inline"}], "output": [{"type": "docker"}]}}}"#;

    fn error(text: &str) -> String {
        format!("{:#}", Catalogue::from_print_json(text).unwrap_err())
    }

    #[test]
    fn older_and_newer_answers_say_the_same() {
        let expected = Variant {
            name: "cuda-12.1.1-base-22.04".to_owned(),
            target: "cuda-12_1_1-base-22_04".to_owned(),
            tag: "cuda-12.1.1-base-22.04".to_owned(),
            image: "host.example:5000/team/image:cuda-12.1.1-base-22.04".to_owned(),
            base: "nvidia/cuda:12.1.1-base-ubuntu22.04".to_owned(),
            base_is_override: false,
            extended: None,
            from: "nvidia/cuda:12.1.1-base-ubuntu22.04".to_owned(),
            parts: Parts::of_tag("cuda-12.1.1-base-22.04").unwrap(),
        };
        assert_eq!(Catalogue::from_print_json(OLD).unwrap(), Catalogue(vec![expected]));
        assert_eq!(Catalogue::from_print_json(NEW).unwrap(), Catalogue::from_print_json(OLD).unwrap());
    }

    #[test]
    fn the_images_below_are_every_base_and_the_compilers() {
        let images = source_images(include_str!("fixtures/print.json")).unwrap();
        for image in ["ubuntu:24.04", "debian:12-slim", "nvidia/cuda:12.1.1-base-ubuntu22.04"] {
            assert!(images.contains(image), "{image}");
        }
        let compiler =
            r#"{"target": {"x": {"args": {"RUST_IMAGE": "rust:1", "OTHER": "y", "IMAGE_BASE": null}}}}"#;
        assert_eq!(source_images(compiler).unwrap(), ["rust:1".to_owned()].into());
    }

    #[test]
    fn a_bake_file_that_breaks_its_rules_is_refused_by_target() {
        assert_eq!(
            error(&OLD.replace(r#"{"cuda-12_1_1-"#, r#"{"cuda-12_1-"#)),
            "target cuda-12_1-base-22_04: its name does not match its tag cuda-12.1.1-base-22.04"
        );
        assert_eq!(
            error(&OLD.replace("image:cuda-12.1.1-base-22.04", "image:latest")),
            "target cuda-12_1_1-base-22_04: the tag latest follows no known pattern"
        );
        assert_eq!(
            error(&OLD.replace("image:cuda-12.1.1-base-22.04", "image")),
            "target cuda-12_1_1-base-22_04: its image has no tag",
            "the colon is the registry's"
        );
        assert_eq!(
            error(&OLD.replace("IMAGE_BASE", "BASE")),
            "target cuda-12_1_1-base-22_04: it has no argument IMAGE_BASE"
        );
    }

    #[test]
    fn an_extended_image_has_the_parts_of_the_variant_that_it_is_built_on() {
        let row = |context: &str, tag: &str| {
            OLD.replace(
                r#""target": {"#,
                &format!(
                    r#""target": {{"jupyter-cuda-12_1_1-base-22_04": {{"context": "images/jupyter",
                    "contexts": {{"base": "target:{context}"}}, "tags": ["{tag}"]}}, "#
                ),
            )
        };
        let image = "host.example:5000/team/jupyter:cuda-12.1.1-base-22.04";
        let catalogue = Catalogue::from_print_json(&row("cuda-12_1_1-base-22_04", image)).unwrap();
        let [on, jupyter] = &catalogue.0[..] else { panic!("{catalogue:?}") };
        let expected = Variant {
            name: "jupyter-cuda-12.1.1-base-22.04".to_owned(),
            target: "jupyter-cuda-12_1_1-base-22_04".to_owned(),
            image: image.to_owned(),
            extended: Some("jupyter".to_owned()),
            from: on.image.clone(),
            ..on.clone()
        };
        assert_eq!(*jupyter, expected);
        assert_eq!(catalogue.extended_images(), BTreeSet::from(["jupyter"]));
        assert_eq!(
            error(&row("cpu-22_04", image)),
            "target jupyter-cuda-12_1_1-base-22_04: its base, target cpu-22_04"
        );
        assert_eq!(
            error(&row("cuda-12_1_1-base-22_04", "x/jupyter:latest")),
            "target jupyter-cuda-12_1_1-base-22_04: its tags are not REPOSITORY/jupyter:cuda-12.1.1-base-22.04 alone: \
             x/jupyter:latest"
        );
    }

    #[test]
    fn the_base_images_repository_is_any_name_but_an_extended_images() {
        let named = |base: &str, jupyter: &str| {
            let text = include_str!("fixtures/print.json");
            text.replace("leonardo/base-image:", base).replace("leonardo/jupyter:", jupyter)
        };
        for base in ["myimage:", "localhost:5000/myimage:"] {
            let catalogue =
                Catalogue::from_print_json(&named(base, &base.replace("myimage", "jupyter"))).unwrap();
            assert_eq!(catalogue.variants().count(), 97);
        }
        assert_eq!(error(&named(":", ":")), "LEONARDO_IMAGE=\"\" is not the name of a repository");
        assert_eq!(
            error(&named("Bad Name:", "jupyter:")),
            "LEONARDO_IMAGE=\"Bad Name\" is not the name of a repository"
        );
        assert_eq!(
            error(&named("leonardo/jupyter:", "leonardo/jupyter:")),
            "target jupyter-cpu-22_04: LEONARDO_IMAGE names the repository of the extended image jupyter"
        );
    }

    #[test]
    fn the_list_is_sorted_by_numbers() {
        let one = |target: &str, tag: &str| {
            format!(r#""{target}": {{"args": {{"IMAGE_BASE": "b"}}, "tags": ["i:{tag}"]}}"#)
        };
        let text = format!(
            r#"{{"target": {{{}, {}}}}}"#,
            one("cuda-12_10_0-base-22_04", "cuda-12.10.0-base-22.04"),
            one("cuda-12_9_0-base-22_04", "cuda-12.9.0-base-22.04")
        );
        let catalogue = Catalogue::from_print_json(&text).unwrap();
        let tags: Vec<_> = catalogue.variants().map(|variant| variant.tag.as_str()).collect();
        assert_eq!(tags, ["cuda-12.9.0-base-22.04", "cuda-12.10.0-base-22.04"]);
    }

    #[test]
    fn an_override_may_name_its_target_by_tag() {
        let catalogue = Catalogue::from_print_json(OLD).unwrap();
        assert_eq!(
            catalogue.address("cuda-12.1.1-base-22.04.args.A=1.2"),
            "cuda-12_1_1-base-22_04.args.A=1.2"
        );
        assert_eq!(catalogue.address("*.args.A=1.2"), "*.args.A=1.2");
    }

    #[test]
    fn an_override_replaces_the_base_of_the_variants_that_it_matches() {
        let base = |set: &str| {
            let catalogue = Catalogue::from_print_json(OLD).unwrap();
            let sets = [catalogue.address(set)];
            catalogue.with_bases(&sets).0[0].base.clone()
        };
        assert_eq!(base("*.args.IMAGE_BASE=x:1"), "x:1");
        assert_eq!(base("cuda-12.1.1-base-22.04.args.IMAGE_BASE=x:1"), "x:1");
        assert_eq!(base("cpu-*.args.IMAGE_BASE=x:1"), "nvidia/cuda:12.1.1-base-ubuntu22.04");
    }

    #[test]
    fn the_fixture_has_the_rows_of_the_bake_file() {
        // Bake itself needs docker; this fails when the sample that the tests resolve against is out of date.
        let row = |line: &str| {
            let (version, rest) =
                line.trim().strip_prefix("{ version = \"")?.split_once("\", release = \"")?;
            Some((version.to_owned(), rest.split_once('"')?.0.to_owned()))
        };
        let file = include_str!("../../../docker-bake.hcl");
        let rows: BTreeSet<_> = file.lines().filter_map(row).collect();
        let fixture = Catalogue::from_print_json(include_str!("fixtures/print.json")).unwrap();
        let listed: BTreeSet<_> = fixture
            .variants()
            .filter(|variant| variant.extended.is_none())
            .filter_map(|variant| {
                Some((variant.parts.version.as_ref()?.to_string(), variant.parts.release.clone()))
            })
            .collect();
        assert_eq!(rows, listed);
        assert_eq!(rows.len(), 19);
        let extended = |line: &str| {
            let (name, rest) = line.trim().strip_prefix("{ name = \"")?.split_once('"')?;
            let on = rest.split_once(", on = [")?.1.split(']').next()?;
            Some(on.split('"').skip(1).step_by(2).map(|tag| format!("{name}-{tag}")).collect::<Vec<_>>())
        };
        let rows: BTreeSet<_> = file.lines().filter_map(extended).flatten().collect();
        let listed = fixture.variants().filter(|variant| variant.extended.is_some());
        assert_eq!(rows, listed.map(|variant| variant.name.clone()).collect());
    }
}
