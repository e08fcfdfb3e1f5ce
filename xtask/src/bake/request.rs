//! Parts of a request, read word by word; parts that it leaves out are open.

use super::catalogue::{Catalogue, Variant};
use super::tag_parts::{Version, is_cudnn};

/// One part of a tag behind the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagPart {
    /// The toolkit's version, given in full or shortened.
    Version,
    /// With cuDNN, and with which.
    Cudnn,
    /// Part of the toolkit that is included.
    Flavour,
    /// Release of the distribution.
    Release,
}

impl TagPart {
    /// Every part.
    pub const ALL: [Self; 4] = [Self::Version, Self::Cudnn, Self::Flavour, Self::Release];
}

/// A request for one variant of a family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// In full, or the beginning of one.
    pub version: Option<Version>,
    /// `cudnn` or `cudnn8`; left out, it means an image without cuDNN.
    pub cudnn: Option<String>,
    /// One flavour; left out, all.
    pub flavour: Option<String>,
    /// One release; left out, all.
    pub release: Option<String>,
}

impl Request {
    /// Gives each word behind the family its role; `family` holds that family's variants.
    ///
    /// No word is ever dropped: an unknown one becomes the flavour or release that does not exist.
    pub fn read(words: &[&str], catalogue: &Catalogue, family: &[&Variant]) -> Self {
        let has_versions = family.iter().any(|variant| variant.parts.version.is_some());
        let is_release = |tail: &str| catalogue.variants().any(|variant| variant.parts.release == tail);
        let is_flavour = |word: &str| {
            let word = Some(word);
            catalogue.variants().any(|variant| variant.parts.flavour.as_deref() == word)
        };
        let mut request = Self::default();
        for (index, &word) in words.iter().enumerate() {
            let tail = words[index..].join("-");
            let version = Version::parse(word).filter(|_| has_versions && request.version.is_none());
            if is_release(&tail) {
                request.release = Some(tail);
                break;
            } else if request.cudnn.is_none() && is_cudnn(word) {
                request.cudnn = Some(word.to_owned());
            } else if request.flavour.is_none() && is_flavour(word) {
                request.flavour = Some(word.to_owned());
            } else if version.is_some() {
                request.version = version;
            } else if has_versions && request.flavour.is_none() && Version::parse(word).is_none() {
                request.flavour = Some(word.to_owned());
            } else {
                request.release = Some(tail);
                break;
            }
        }
        request
    }

    /// True if this part of a variant is as requested.
    pub fn accepts(&self, part: TagPart, variant: &Variant) -> bool {
        let parts = &variant.parts;
        match part {
            TagPart::Version => self
                .version
                .as_ref()
                .is_none_or(|wanted| parts.version.as_ref().is_some_and(|version| wanted.covers(version))),
            TagPart::Cudnn => match (self.cudnn.as_deref(), parts.cudnn.as_deref()) {
                (None, cudnn) => cudnn.is_none(),
                (Some("cudnn"), cudnn) => cudnn.is_some(),
                (wanted, cudnn) => wanted == cudnn,
            },
            TagPart::Flavour => self.flavour.is_none() || self.flavour == parts.flavour,
            TagPart::Release => self.release.as_ref().is_none_or(|wanted| *wanted == parts.release),
        }
    }

    /// True if every part of a variant but `aside` is as requested.
    pub fn accepts_all_but(&self, aside: Option<TagPart>, variant: &Variant) -> bool {
        TagPart::ALL.into_iter().all(|part| Some(part) == aside || self.accepts(part, variant))
    }
}
