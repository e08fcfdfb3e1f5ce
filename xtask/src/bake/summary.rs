//! Lines at the end of a build: size of each image, what it adds to its base, and how much of it the build cache had.

use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::catalogue::Variant;

/// Label with the image's base; the Dockerfile and the bake file set it.
const BASE_LABEL: &str = "org.opencontainers.image.base.name";

/// An image in the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    size: u64,
    layers: Vec<String>,
    base: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    size: u64,
    #[serde(rename = "RootFS")]
    root: Layers,
    config: Config,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Layers {
    #[serde(default)]
    layers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    labels: Option<std::collections::BTreeMap<String, String>>,
}

impl Image {
    /// Asks the engine for an image; none if it does not have it.
    pub fn find(mut docker: Command, reference: &str) -> Option<Self> {
        let printed =
            kit::cmd::stdout(docker.args(["image", "inspect", "--format", "{{json .}}", reference])).ok()?;
        Self::read(&printed).inspect_err(|error| log::debug!("{reference}: {error:#}")).ok()
    }

    fn read(printed: &str) -> Result<Self> {
        let image: Inspected = serde_json::from_str(printed).context("docker did not print an image")?;
        let base = image.config.labels.and_then(|mut labels| labels.remove(BASE_LABEL));
        Ok(Self { size: image.size, layers: image.root.layers, base })
    }
}

/// Returns the line about a built image; `before` is the image of that name before the build.
pub fn line(docker: &impl Fn() -> Command, variant: &Variant, before: Option<&Image>) -> Option<String> {
    let image = Image::find(docker(), &variant.image)?;
    let base = image.base.as_ref().and_then(|base| Some((base.as_str(), Image::find(docker(), base)?)));
    Some(format!(
        "{}: {}",
        variant.image,
        describe(&image, base.as_ref().map(|(name, base)| (*name, base)), before)
    ))
}

fn describe(image: &Image, base: Option<(&str, &Image)>, before: Option<&Image>) -> String {
    let mut parts = vec![format!("{} MB", megabytes(image.size))];
    // A base that was fetched again since is another image of that name.
    if let Some((name, base)) = base.filter(|(_, base)| image.layers.starts_with(&base.layers)) {
        parts.push(format!("{} MB over {name}", megabytes(image.size.saturating_sub(base.size))));
    }
    let layers = image.layers.len();
    parts.push(match before {
        None => format!("{layers} layers"),
        Some(before) => {
            let same = image.layers.iter().zip(&before.layers).take_while(|(new, old)| new == old).count();
            format!("{same} of {layers} layers unchanged")
        }
    });
    parts.join(", ")
}

fn megabytes(bytes: u64) -> u64 {
    (bytes + 500_000) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(size: u64, layers: &[&str]) -> Image {
        Image { size, layers: layers.iter().map(ToString::to_string).collect(), base: None }
    }

    #[test]
    fn the_answer_of_docker_has_size_layers_and_base() {
        let printed = r#"{"Id":"x","Size":617000000,"RootFS":{"Type":"layers","Layers":["a","b"]},
            "Config":{"Labels":{"org.opencontainers.image.base.name":"debian:12-slim"}}}"#;
        let expected = Image { base: Some("debian:12-slim".to_owned()), ..image(617_000_000, &["a", "b"]) };
        assert_eq!(Image::read(printed).unwrap(), expected);
        let bare = r#"{"Size":1,"RootFS":{"Type":"layers"},"Config":{"Labels":null}}"#;
        assert_eq!(Image::read(bare).unwrap(), image(1, &[]));
    }

    #[test]
    fn an_image_is_compared_with_its_base_and_with_itself_before() {
        let now = image(617_400_000, &["base", "packages", "tools 2", "files 2"]);
        let base = image(164_000_000, &["base"]);
        let before = image(617_000_000, &["base", "packages", "tools 1", "files 2"]);
        assert_eq!(
            describe(&now, Some(("debian:12-slim", &base)), Some(&before)),
            "617 MB, 453 MB over debian:12-slim, 2 of 4 layers unchanged"
        );
        let other_base = image(150_000_000, &["newer"]);
        assert_eq!(describe(&now, Some(("debian:12-slim", &other_base)), None), "617 MB, 4 layers");
    }
}
