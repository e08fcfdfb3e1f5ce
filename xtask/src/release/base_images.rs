//! Decisions about base images: what the registry's answers mean, and the report about them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

/// A problem of a base, or a newer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The registry does not have it.
    Missing {
        /// Its reference.
        base: String,
    },
    /// NVIDIA no longer supports it and may delete it.
    EndOfLife {
        /// Its reference.
        base: String,
    },
    /// Upstream has a newer patch of the same release in every flavour of our row.
    Newer {
        /// References of the row's bases.
        bases: Vec<String>,
        /// Version that exists.
        version: String,
    },
}

/// Variable in the configuration of NVIDIA's images from which on their entrypoint prints the deprecation banner.
const END_OF_LIFE: &str = "NVIDIA_CUDA_END_OF_LIFE=";

/// True if an image's configuration, or that of one of its platforms, announces its end of life.
///
/// `image` is `{{json .Image}}` of imagetools: one configuration, or one for each platform by its name.
pub fn is_end_of_life(image: &Value) -> bool {
    let announces = |image: &Value| {
        let variables = image.pointer("/config/Env").and_then(Value::as_array);
        let set = |variable: &Value| {
            variable
                .as_str()
                .and_then(|text| text.strip_prefix(END_OF_LIFE))
                .is_some_and(|value| !value.is_empty())
        };
        variables.is_some_and(|variables| variables.iter().any(set))
    };
    announces(image) || image.as_object().is_some_and(|platforms| platforms.values().any(announces))
}

/// Bases whose version changes together: those of one row of the bake file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Their references.
    pub bases: Vec<String>,
    version: String,
}

impl Row {
    /// Groups `REPOSITORY:X.Y.Z-FLAVOUR-RELEASE` by repository, version and release; others have no patches.
    pub fn of(bases: &[String]) -> Vec<Self> {
        let mut rows: BTreeMap<(&str, &str, &str), Vec<String>> = BTreeMap::new();
        for base in bases {
            let parts = base.rsplit_once(':').and_then(|(repository, tag)| {
                let (version, _) = tag.split_once('-')?;
                let (_, release) = tag.rsplit_once('-')?;
                let numbers: Vec<_> = version.split('.').map(str::parse::<u32>).collect();
                (numbers.len() == 3 && numbers.iter().all(Result::is_ok))
                    .then_some((repository, version, release))
            });
            if let Some(key) = parts {
                rows.entry(key).or_default().push(base.clone());
            }
        }
        rows.into_iter().map(|((_, version, _), bases)| Self { bases, version: version.to_owned() }).collect()
    }

    /// Version of the patch that is `later` patches later, and its bases.
    pub fn later(&self, later: u32) -> Option<(String, Vec<String>)> {
        let (minor, patch) = self.version.rsplit_once('.')?;
        let version = format!("{minor}.{}", patch.parse::<u32>().ok()?.checked_add(later)?);
        let renamed =
            |base: &String| base.replacen(&format!(":{}-", self.version), &format!(":{version}-"), 1);
        Some((version.clone(), self.bases.iter().map(renamed).collect()))
    }
}

/// Formats findings in Markdown, as the text of an issue.
pub fn report(findings: &[Finding]) -> String {
    let mut text = "| base | finding | remedy |\n|---|---|---|\n".to_owned();
    for finding in findings {
        let (base, found, remedy) = match finding {
            Finding::Missing { base } => (base.clone(), "is missing".to_owned(), "remove its row or flavour"),
            Finding::EndOfLife { base } => {
                (base.clone(), "is at its end of life".to_owned(), "remove its row before it is deleted")
            }
            Finding::Newer { bases, version } => {
                (bases.join("`, `"), format!("{version} exists"), "change the version of its row")
            }
        };
        // Writing into a string cannot fail.
        let _ = writeln!(text, "| `{base}` | {found} | {remedy} |");
    }
    text + "\nRows are in `docker-bake.hcl`. Check again: `cargo xtask release bases`.\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nvidias_end_of_life_is_seen_on_any_platform() {
        let image = |variable: &str| json!({ "config": { "Env": ["PATH=/bin", variable] } });
        assert!(is_end_of_life(&image("NVIDIA_CUDA_END_OF_LIFE=1")));
        assert!(!is_end_of_life(&image("NVIDIA_CUDA_END_OF_LIFE=")));
        let old = json!({ "linux/amd64": image("A=b"), "linux/arm64": image("NVIDIA_CUDA_END_OF_LIFE=1") });
        assert!(is_end_of_life(&old));
        assert!(!is_end_of_life(&json!({ "linux/amd64": image("A=b") })));
        assert!(!is_end_of_life(&json!({ "config": {} })) && !is_end_of_life(&json!(null)));
    }

    #[test]
    fn only_versions_with_a_patch_have_later_ones() {
        let bases = [
            "nvidia/cuda:12.8.1-base-ubuntu22.04",
            "nvidia/cuda:12.8.1-cudnn-devel-ubuntu22.04",
            "nvidia/cuda:12.8.1-base-ubuntu24.04",
            "ubuntu:22.04",
            "debian:12-slim",
        ]
        .map(str::to_owned);
        let rows = Row::of(&bases);
        assert_eq!(rows.iter().map(|row| row.bases.len()).collect::<Vec<_>>(), [2, 1]);
        let later = ["nvidia/cuda:12.8.3-base-ubuntu22.04", "nvidia/cuda:12.8.3-cudnn-devel-ubuntu22.04"];
        assert_eq!(rows[0].later(2), Some(("12.8.3".to_owned(), later.map(str::to_owned).to_vec())));
    }

    #[test]
    fn the_report_names_base_finding_and_remedy() {
        let findings = [
            Finding::Missing { base: "a:1".to_owned() },
            Finding::Newer { bases: vec!["b:1".to_owned(), "b:2".to_owned()], version: "1.2.3".to_owned() },
        ];
        assert_eq!(
            report(&findings),
            "| base | finding | remedy |\n|---|---|---|\n| `a:1` | is missing | remove its row or flavour |\n\
             | `b:1`, `b:2` | 1.2.3 exists | change the version of its row |\n\n\
             Rows are in `docker-bake.hcl`. Check again: `cargo xtask release bases`.\n"
        );
    }
}
