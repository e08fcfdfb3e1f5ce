//! Destinations of the results, from bake's resolved options.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use kit::HintExt;
use serde::Deserialize;

use super::catalogue::Variant;

/// Exporters of BuildKit, which bake names only when the build begins.
const TYPES: &[&str] = &["cacheonly", "docker", "image", "local", "oci", "registry", "tar"];
/// Exporters that write a file or a directory; without a name, the archive is standard output.
const WRITTEN: &[&str] = &["docker", "local", "oci", "tar"];

#[derive(Deserialize)]
struct Printed {
    target: BTreeMap<String, Target>,
}

#[derive(Deserialize)]
struct Target {
    #[serde(default)]
    output: Vec<Output>,
}

/// A text until buildx 0.18, later an object.
#[derive(Deserialize)]
#[serde(untagged)]
enum Output {
    Text(String),
    Fields(BTreeMap<String, String>),
}

/// Fails if an output has an unknown type, or if two of the variants are written to the same file.
///
/// `printed` is the answer of `bake --print` in the directory `root`. Targets below the variants have no output of their own.
pub fn check(printed: &str, root: &Path, variants: &[&Variant]) -> Result<()> {
    let printed: Printed = serde_json::from_str(printed).context("bake did not print its targets as JSON")?;
    let mut written = BTreeMap::new();
    for variant in variants {
        for output in printed.target.get(&variant.target).iter().flat_map(|target| &target.output) {
            let (kind, file) = output.read();
            if !TYPES.contains(&kind.as_str()) {
                return Err(anyhow!("{} has an output of unknown type {kind:?}", variant.name))
                    .hint(|| format!("types are: {}", TYPES.join(", ")));
            }
            let Some(file) = file else { continue };
            if let Some(other) = written.insert(root.join(&file), &variant.name) {
                let target = if file == "-" { "standard output" } else { &file };
                return Err(anyhow!("{other} and {} would both be written to {target}", variant.name)).hint(|| {
                    format!(
                        "build one at a time, or name a file for each: --set '{}.output=type={kind},dest=FILE'",
                        variant.name
                    )
                });
            }
        }
    }
    Ok(())
}

impl Output {
    /// Returns the type, and the file or directory that is written.
    fn read(&self) -> (String, Option<String>) {
        let fields = match self {
            Self::Fields(fields) => fields.clone(),
            Self::Text(text) if text == "-" => return ("tar".to_owned(), Some(text.clone())),
            Self::Text(text) if !text.contains('=') => return ("local".to_owned(), Some(text.clone())),
            Self::Text(text) => text
                .split(',')
                .filter_map(|field| field.trim_matches('"').split_once('='))
                .map(|(key, value)| (key.trim().to_lowercase(), value.to_owned()))
                .collect(),
        };
        let kind = fields.get("type").cloned().unwrap_or_default();
        let file = match fields.get("dest") {
            Some(file) if WRITTEN.contains(&kind.as_str()) => Some(file.clone()),
            None if ["oci", "tar"].contains(&kind.as_str()) => Some("-".to_owned()),
            _ => None,
        };
        (kind, file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bake::{Catalogue, select};

    #[test]
    fn two_results_in_one_file_and_unknown_types_are_refused() {
        let catalogue = Catalogue::from_print_json(include_str!("fixtures/print.json")).unwrap();
        let requests = ["cpu-22.04", "cpu-24.04"].map(str::to_owned);
        let variants = select(&catalogue, &requests).unwrap();
        let both = |first: &str, second: &str| {
            let printed = format!(
                r#"{{"target": {{"cpu-22_04": {{"output": [{first}]}}, "cpu-24_04": {{"output": [{second}]}},
                    "below": {{"output": [{first}]}}}}}}"#
            );
            check(&printed, Path::new("/root"), &variants).map_err(|error| error.to_string())
        };
        let to = |file: &str| Err(format!("cpu-22.04 and cpu-24.04 would both be written to {file}"));
        for (first, second, expected) in [
            (r#""type=oci,dest=x.tar""#, r#""type=oci,dest=x.tar""#, to("x.tar")),
            (r#""type=docker,Dest=./x.tar""#, r#"{"type": "tar", "dest": "/root/x.tar"}"#, to("/root/x.tar")),
            (r#""out""#, r#""type=local,dest=out""#, to("out")),
            (r#""-""#, r#""type=tar""#, to("standard output")),
            (r#""type=oci,dest=x.tar""#, r#""type=oci,dest=y.tar""#, Ok(())),
            (r#""type=docker""#, r#""type=docker""#, Ok(())),
            (r#"{"type": "image", "push": "true"}"#, r#""type=registry""#, Ok(())),
            (
                r#""type=docker""#,
                r#""type=bogus""#,
                Err("cpu-24.04 has an output of unknown type \"bogus\"".to_owned()),
            ),
            (r#""dest=x""#, "", Err("cpu-22.04 has an output of unknown type \"\"".to_owned())),
            ("", "", Ok(())),
        ] {
            assert_eq!(both(first, second), expected, "{first} {second}");
        }
        assert_eq!(check(r#"{"target": {"cpu-22_04": {}}}"#, Path::new("/"), &variants).ok(), Some(()));
    }
}
