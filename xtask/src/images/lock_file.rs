//! Digests of the base images, in a file of variables for bake.

use std::collections::{BTreeMap, BTreeSet};

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use kit::HintExt;

/// The lock file, relative to the project's root.
pub const FILE: &str = "docker-bake.lock.hcl";

const HEADER: &str = "\
# Digests of the base images, for `cargo xtask bake --locked` and releases. Written by `cargo xtask images update`, which asks the
# registry; no digest is entered by hand. Empty: not run yet where a registry answers.
variable \"LEONARDO_BASE_DIGESTS\" {
  default = {
";
const FOOTER: &str = "  }\n}\n";

/// `sha256:…` of each image reference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockFile(pub BTreeMap<String, String>);

impl LockFile {
    /// Reads the lock file of the working copy at `root`.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text)
            .with_context(|| format!("cannot use {}", path.display()))
            .hint(|| format!("restore it: git checkout {FILE}"))
    }

    /// Reads the file's text; fails on anything that [`LockFile::text`] would not write.
    pub fn parse(text: &str) -> Result<Self> {
        let entries = text.strip_prefix(HEADER).and_then(|rest| rest.strip_suffix(FOOTER));
        let entries = entries.context("it is not as `cargo xtask images update` writes it")?;
        let entry = |line: &str| -> Option<(String, String)> {
            let (image, digest) = line.trim().strip_prefix('"')?.strip_suffix('"')?.split_once("\" = \"")?;
            (is_reference(image) && is_digest(digest)).then(|| (image.to_owned(), digest.to_owned()))
        };
        let mut images = BTreeMap::new();
        for line in entries.lines() {
            let Some((image, digest)) = entry(line) else { bail!("no image and digest: {line}") };
            images.insert(image, digest);
        }
        Ok(Self(images))
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self) -> String {
        let entries = self.0.iter().map(|(image, digest)| format!("    \"{image}\" = \"{digest}\"\n"));
        format!("{HEADER}{}{FOOTER}", entries.collect::<String>())
    }

    /// Returns the file with the registry's answers, and a line about each difference.
    ///
    /// An image without an answer keeps its digest; one that no variant uses any more is dropped.
    #[must_use]
    pub fn updated(
        &self,
        used: &BTreeSet<String>,
        answers: &BTreeMap<String, String>,
    ) -> (Self, Vec<String>) {
        let mut lines = Vec::new();
        let mut new = BTreeMap::new();
        for image in used {
            let old = self.0.get(image);
            let Some(digest) = answers.get(image).or(old) else { continue };
            match old {
                Some(old) if old == digest => {}
                Some(old) => lines.push(format!("{image}  {old} -> {digest}")),
                None => lines.push(format!("{image}  new: {digest}")),
            }
            new.insert(image.clone(), digest.clone());
        }
        let dropped = self.0.keys().filter(|image| !used.contains(*image));
        lines.extend(dropped.map(|image| format!("{image}  removed: no variant uses it")));
        (Self(new), lines)
    }
}

/// True if the text is `sha256:` and 64 lower-case hexadecimal digits.
#[must_use]
pub fn is_digest(text: &str) -> bool {
    let hex = |digits: &str| {
        digits.len() == 64
            && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    text.strip_prefix("sha256:").is_some_and(hex)
}

/// Nothing that means something inside an HCL string.
fn is_reference(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./:_-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(letter: &str) -> String {
        format!("sha256:{}", letter.repeat(64))
    }

    #[test]
    fn the_file_is_read_back_and_an_edit_by_hand_is_an_error() {
        let file = LockFile(BTreeMap::from([
            ("nvidia/cuda:12.4.1-base-ubuntu22.04".to_owned(), digest("a")),
            ("ubuntu:22.04".to_owned(), digest("b")),
        ]));
        assert_eq!(LockFile::parse(&file.text()).unwrap(), file);
        for (from, to) in
            [("sha256:", "sha512:"), ("ubuntu:22.04", "${x}"), ("  default", "  # x\n  default")]
        {
            assert!(LockFile::parse(&file.text().replace(from, to)).is_err(), "{from} {to}");
        }
        LockFile::parse(include_str!("../../../docker-bake.lock.hcl")).unwrap();
    }

    #[test]
    fn an_update_says_what_changed_and_keeps_what_was_not_answered() {
        let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(image, letter)| ((*image).to_owned(), digest(letter))).collect()
        };
        let old = LockFile(pairs(&[("same", "a"), ("moved", "a"), ("silent", "a"), ("unused", "a")]));
        let used = ["same", "moved", "silent", "new", "unknown"].map(str::to_owned).into();
        let answers = pairs(&[("same", "a"), ("moved", "b"), ("new", "c")]);
        let (new, lines) = old.updated(&used, &answers);
        assert_eq!(new.0, pairs(&[("same", "a"), ("moved", "b"), ("silent", "a"), ("new", "c")]));
        assert_eq!(
            lines,
            [
                format!("moved  {} -> {}", digest("a"), digest("b")),
                format!("new  new: {}", digest("c")),
                "unused  removed: no variant uses it".to_owned(),
            ]
        );
    }
}
