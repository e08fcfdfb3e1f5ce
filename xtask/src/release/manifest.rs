//! Manifests and indexes of a registry, as far as a release compares them.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::images::registry;

/// `docker buildx imagetools inspect --raw`.
fn inspect_raw(docker: &dyn Fn() -> Command, reference: &str) -> Result<String> {
    kit::cmd::stdout(docker().args(["buildx", "imagetools", "inspect", "--raw", reference]))
}

/// Version in the label of an image; `None` without the label, or if the registry does not have the image.
pub fn version(docker: &dyn Fn() -> Command, reference: &str) -> Result<Option<String>> {
    let mut inspect = docker();
    inspect.args(["buildx", "imagetools", "inspect", "--format", "{{json .Image}}", reference]);
    let text = match kit::cmd::stdout(&mut inspect) {
        Err(error) if registry::means_missing(&error.to_string()) => return Ok(None),
        text => text?,
    };
    let image: Value = serde_json::from_str(&text)
        .with_context(|| format!("the configuration of {reference} is not JSON"))?;
    let label = |image: &Value| image.pointer("/config/Labels/org.opencontainers.image.version").cloned();
    let label = label(&image).or_else(|| image.as_object()?.values().find_map(label));
    Ok(label.as_ref().and_then(Value::as_str).map(str::to_owned))
}

/// Digests of the configurations of a pushed image: one for each platform.
///
/// The configuration names every layer by its content, so images with the same one are the same.
pub fn configurations(docker: &dyn Fn() -> Command, repository: &str, digest: &str) -> Result<Vec<String>> {
    let raw = |digest: &str| -> Result<Manifest> {
        let reference = format!("{repository}@{digest}");
        serde_json::from_str(&inspect_raw(docker, &reference)?)
            .with_context(|| format!("the manifest of {reference} is not JSON"))
    };
    let top = raw(digest)?;
    if let Some(config) = top.config {
        return Ok(vec![config.digest]);
    }
    let mut found = Vec::new();
    for image in top.images() {
        match raw(&image.digest)?.config {
            Some(config) => found.push(config.digest),
            None => bail!("{repository}@{} has no configuration", image.digest),
        }
    }
    Ok(found)
}

#[derive(Debug, Deserialize)]
struct Manifest {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Descriptor {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    os: String,
}

impl Manifest {
    /// Entries of an index that are images: attestations have the platform `unknown/unknown`.
    fn images(&self) -> impl Iterator<Item = &Descriptor> {
        let is_attestation =
            |entry: &Descriptor| entry.platform.as_ref().is_some_and(|platform| platform.os == "unknown");
        self.manifests.iter().filter(move |entry| !is_attestation(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attestations_in_an_index_are_no_images() {
        let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
            {"digest":"sha256:a","size":1,"platform":{"architecture":"amd64","os":"linux"}},
            {"digest":"sha256:b","size":1,"annotations":{"vnd.docker.reference.type":"attestation-manifest"},
             "platform":{"architecture":"unknown","os":"unknown"}}]}"#;
        let index: Manifest = serde_json::from_str(index).unwrap();
        assert_eq!(index.images().map(|image| &*image.digest).collect::<Vec<_>>(), ["sha256:a"]);
        assert!(index.config.is_none());
    }
}
