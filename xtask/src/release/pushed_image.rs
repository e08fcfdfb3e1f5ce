//! Records of images that were pushed by digest and have no tag yet: one JSON file for each variant.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use kit::HintExt;
use kit::atomic::{self, WriteOptions};
use serde::{Deserialize, Serialize};

use crate::images::is_digest;

/// Directory of the records, below the checkout.
pub const DIRECTORY: &str = "target/release-images";

/// An image in the registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushedImage {
    /// Tag that it is going to have.
    pub tag: String,
    /// Repository with its registry.
    pub repository: String,
    /// Digest of its index, `sha256:` and 64 hexadecimal digits.
    pub digest: String,
}

impl PushedImage {
    /// Reference by digest.
    pub fn by_digest(&self) -> String {
        format!("{}@{}", self.repository, self.digest)
    }

    /// Reference by tag.
    pub fn by_tag(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }

    /// Writes the record of the variant `name`.
    pub fn save(&self, directory: &Path, name: &str) -> Result<()> {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let text = serde_json::to_string_pretty(self)?;
        atomic::write(&directory.join(format!("{name}.json")), text.as_bytes(), WriteOptions::volatile(0o644))
    }
}

/// Removes the record of the variant `name`, which belongs to an earlier build.
pub fn remove(directory: &Path, name: &str) -> Result<()> {
    let path = directory.join(format!("{name}.json"));
    kit::missing_ok(fs::remove_file(&path)).with_context(|| format!("cannot remove {}", path.display()))?;
    Ok(())
}

/// Reads all records, sorted by tag; none if the directory is missing. Fails if two are about one tag.
pub fn read_all(directory: &Path) -> Result<Vec<PushedImage>> {
    let mut images = Vec::new();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", directory.display())),
    };
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", directory.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let read = || -> Result<_> {
                let image: PushedImage = serde_json::from_slice(&fs::read(&path)?)?;
                ensure!(is_digest(&image.digest), "{:?} is not a SHA-256 digest", image.digest);
                Ok(image)
            };
            let image = read().with_context(|| format!("cannot use {}", path.display()))?;
            images.push((image, path));
        }
    }
    images.sort();
    for pair in images.windows(2) {
        let [(first, one), (second, other)] = pair else { continue };
        if first.by_tag() == second.by_tag() {
            let [one, other] = [one, other].map(|path| path.display());
            return Err(anyhow!("{one} and {other} are records of one tag, {}", first.by_tag()))
                .hint(|| "remove the one that is not of this release".to_owned());
        }
    }
    Ok(images.into_iter().map(|(image, _)| image).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_of_an_earlier_build_is_removed_and_that_of_another_variant_stays() {
        let dir = tempfile::tempdir().unwrap();
        let image = |tag: &str| PushedImage {
            tag: tag.to_owned(),
            repository: "r.example/i".to_owned(),
            digest: format!("sha256:{}", "0".repeat(64)),
        };
        for name in ["cpu-22.04", "jupyter-cpu-22.04"] {
            image(name).save(dir.path(), name).unwrap();
        }
        remove(dir.path(), "cpu-22.04").unwrap();
        assert_eq!(read_all(dir.path()).unwrap(), [image("jupyter-cpu-22.04")]);
        remove(dir.path(), "cpu-22.04").unwrap();
        assert_eq!(read_all(&dir.path().join("missing")).unwrap(), []);

        for digest in ["0", "1"] {
            let digest = format!("sha256:{}", digest.repeat(64));
            PushedImage { digest, ..image("jupyter-cpu-22.04") }.save(dir.path(), "another").unwrap();
            let error = read_all(dir.path()).unwrap_err().to_string();
            assert!(error.ends_with(" are records of one tag, r.example/i:jupyter-cpu-22.04"), "{error}");
            assert!(error.contains("/another.json") && error.contains("/jupyter-cpu-22.04.json"), "{error}");
        }
    }
}
