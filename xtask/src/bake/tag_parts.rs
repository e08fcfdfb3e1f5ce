//! The parts of a tag: `family[-version][-cudnn][-flavour]-release`.

use std::fmt;

/// Numbers between dots, compared as numbers: 12.10 is newer than 12.9.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(Vec<u32>);

impl Version {
    /// Reads `12.1.1`; nothing if a part is not a number.
    pub fn parse(text: &str) -> Option<Self> {
        let number =
            |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten();
        text.split('.').map(number).collect::<Option<_>>().map(Self)
    }

    /// True if `other` is this version or one that this is short for: 12.1 is short for 12.1.3, not for 12.10.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// Major and minor number, what stays the same from patch to patch.
    pub fn minor(&self) -> &[u32] {
        &self.0[..self.0.len().min(2)]
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.iter().map(u32::to_string).collect::<Vec<_>>().join("."))
    }
}

/// Parts of a listed tag; a family without versions has neither flavour nor cuDNN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// `cpu`, `cuda` or `rocm`.
    pub family: String,
    /// The toolkit's version.
    pub version: Option<Version>,
    /// `cudnn8` or `cudnn9`.
    pub cudnn: Option<String>,
    /// `base`, `core`, `runtime` or `devel`.
    pub flavour: Option<String>,
    /// `22.04`, or `debian-12`.
    pub release: String,
}

impl Parts {
    /// Reads a tag of the bake file; nothing if it follows none of the three patterns.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let (family, rest) = tag.split_once('-')?;
        if tag.split('-').any(str::is_empty) {
            return None;
        }
        let unversioned = || Self {
            family: family.to_owned(),
            version: None,
            cudnn: None,
            flavour: None,
            release: rest.to_owned(),
        };
        let Some((version, rest)) = rest.split_once('-') else { return Some(unversioned()) };
        let Some(version) = Version::parse(version) else { return Some(unversioned()) };
        let (first, after) = rest.split_once('-')?;
        let (cudnn, flavour, release) = if is_cudnn(first) {
            let (flavour, release) = after.split_once('-')?;
            (Some(first.to_owned()), flavour, release)
        } else {
            (None, first, after)
        };
        Some(Self {
            version: Some(version),
            cudnn,
            flavour: Some(flavour.to_owned()),
            release: release.to_owned(),
            ..unversioned()
        })
    }
}

/// True if a word is `cudnn`, with or without a number.
pub fn is_cudnn(word: &str) -> bool {
    word.strip_prefix("cudnn").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pattern_of_tags_is_read_and_nothing_else() {
        let text = |text: &str| Some(text.to_owned());
        let plain = |family: &str, release: &str| Parts {
            family: family.to_owned(),
            version: None,
            cudnn: None,
            flavour: None,
            release: release.to_owned(),
        };
        assert_eq!(Parts::of_tag("cpu-22.04"), Some(plain("cpu", "22.04")));
        assert_eq!(Parts::of_tag("cpu-debian-12"), Some(plain("cpu", "debian-12")));
        let version = Some(Version(vec![6, 2, 4]));
        assert_eq!(
            Parts::of_tag("rocm-6.2.4-core-24.04"),
            Some(Parts { version, flavour: text("core"), ..plain("rocm", "24.04") })
        );
        let version = Some(Version(vec![12, 1, 1]));
        assert_eq!(
            Parts::of_tag("cuda-12.1.1-cudnn8-devel-22.04"),
            Some(Parts { version, cudnn: text("cudnn8"), flavour: text("devel"), ..plain("cuda", "22.04") })
        );
        for wrong in ["", "12.", ".1", "+1", "1a", "99999999999"] {
            assert_eq!(Version::parse(wrong), None, "{wrong:?}");
        }
    }
}
