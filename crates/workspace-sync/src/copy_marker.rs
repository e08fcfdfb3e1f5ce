//! `.move_complete`: the marker of a complete copy on the workspace.
//!
//! It is written while the copy has its temporary name, so that one rename publishes the copy with its marker. A
//! directory without a marker is never used as a copy.

use std::os::fd::AsFd;

use anyhow::Result;
use kit::ReadPolicy;
use kit::untrusted_file::{ReadError, ReadErrorKind};
use serde::{Deserialize, Serialize};

use crate::reserved_names::MARKER;

/// Maximum length of our files; a workspace may contain anything under our names.
const LONGEST: u64 = 64 * 1024;
/// Maximum length of a directory's name (limits.h, `NAME_MAX`).
const LONGEST_NAME: usize = 255;
/// Maximum number of hexadecimal digits; more than today's digests have.
const LONGEST_DIGEST: usize = 128;

/// Facts about a copy, stored in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The tree's name below `/opt`.
    pub tree: String,
    /// The generation of the image's copy that it was made from.
    pub generation: String,
    /// Digest of its entries when it was complete.
    pub manifest: String,
    /// Number of its entries.
    pub entries: u64,
    /// The sum of its files' sizes.
    pub bytes: u64,
    /// Time of its completion, in seconds since the Unix epoch.
    pub completed_at: u64,
}

impl Marker {
    /// The content of the file.
    pub fn render(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Returns an id that distinguishes the copy from others at the same path.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{}-{}", self.manifest, self.completed_at)
    }

    /// Reads the marker of a directory; nothing if it is missing or invalid.
    pub fn read(directory: impl AsFd) -> Result<Option<Self>> {
        let marker =
            read_small(directory, MARKER)?.and_then(|text| serde_json::from_slice::<Self>(&text).ok());
        Ok(marker.filter(Self::is_printable))
    }

    /// True if the marker, which the owner of the volume may have written, can be shown on terminals and pages.
    fn is_printable(&self) -> bool {
        let short =
            |text: &str| text.len() <= LONGEST_DIGEST && text.bytes().all(|byte| byte.is_ascii_graphic());
        self.tree.len() <= LONGEST_NAME && short(&self.generation) && short(&self.manifest)
    }
}

/// Returns the content of a small regular file in `directory` without following a link; nothing if it is missing. Empty
/// for a larger file, which is not ours.
pub fn read_small(directory: impl AsFd, name: &str) -> Result<Option<Vec<u8>>> {
    match ReadPolicy::max_size(LONGEST).no_follow().read_if_exists_at(directory, name) {
        Err(ReadError { reason: ReadErrorKind::TooLarge(_), .. }) => Ok(Some(Vec::new())),
        Err(refused) if !matches!(refused.reason, ReadErrorKind::Unreadable(_)) => Ok(None),
        content => Ok(content?),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::fs::{self, File};

    pub fn marker() -> Marker {
        Marker {
            tree: "x".into(),
            generation: "g".into(),
            manifest: "m".into(),
            entries: 1,
            bytes: 2,
            completed_at: 3,
        }
    }

    fn read(path: &std::path::Path) -> Option<Marker> {
        Marker::read(File::open(path).unwrap()).unwrap()
    }

    #[test]
    fn a_marker_with_what_a_terminal_would_obey_or_a_page_could_not_hold_is_none() {
        let dir = tempfile::tempdir().unwrap();
        for generation in ["\u{1b}[2Jg", "g\nh", &"g".repeat(60_000)] {
            let hostile = Marker { generation: generation.to_owned(), ..marker() };
            fs::write(dir.path().join(MARKER), hostile.render().unwrap()).unwrap();
            assert_eq!(read(dir.path()), None, "{generation:.20?}");
        }
        let hostile = Marker { tree: "x".repeat(60_000), ..marker() };
        fs::write(dir.path().join(MARKER), hostile.render().unwrap()).unwrap();
        assert_eq!(read(dir.path()), None);
    }

    #[test]
    fn only_a_whole_marker_in_a_plain_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(MARKER);
        assert_eq!(read(dir.path()), None);
        fs::write(&file, "").unwrap();
        assert_eq!(read(dir.path()), None, "other systems write an empty file of this name");
        let text = marker().render().unwrap();
        fs::write(&file, &text[..text.len() / 2]).unwrap();
        assert_eq!(read(dir.path()), None);
        fs::write(&file, &text).unwrap();
        assert_eq!(read(dir.path()), Some(marker()));
        let elsewhere = dir.path().join("elsewhere");
        fs::rename(&file, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
        assert_eq!(read(dir.path()), None, "a link is no marker");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(read(dir.path()), None);
    }
}
