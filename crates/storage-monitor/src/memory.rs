//! The last good mapping, kept across restarts: a mistake in the file must not remove every link.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kit::ReadPolicy;
use kit::atomic::{self, WriteOptions};

use crate::mapping::Mapping;

/// What bash may print is a tenth of this, in bytes.
const LARGEST: u64 = 64 << 20;

/// Keeps a mapping: key and directory in turns, each ended by NUL.
pub fn keep(file: &Path, mapping: &Mapping) -> Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut text = Vec::new();
    for (key, directories) in &mapping.0 {
        for directory in directories {
            for path in [key, directory] {
                text.extend_from_slice(path.as_os_str().as_bytes());
                text.push(0);
            }
        }
    }
    atomic::write_if_changed(file, &text, WriteOptions::volatile(0o644)).map(drop)
}

/// The mapping that was kept; nothing if none ever was.
pub fn recall(file: &Path) -> Result<Option<Mapping>> {
    let Some(text) = ReadPolicy::max_size(LARGEST).read_if_exists(file)? else { return Ok(None) };
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    let fields: Vec<&[u8]> = text.split(|byte| *byte == 0).collect();
    let mut mapping: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
    for [key, directory] in fields.as_chunks::<2>().0 {
        mapping.entry(path(key)).or_default().insert(path(directory));
    }
    Ok(Some(Mapping(mapping)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_recalled() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state/mapping");
        assert_eq!(recall(&file).unwrap(), None);
        let directories = |all: &[&str]| all.iter().map(PathBuf::from).collect();
        let odd = PathBuf::from(OsStr::from_bytes(b"a\n \xff"));
        for map in [
            BTreeMap::from([(PathBuf::new(), directories(&["/x", "/y z"])), (odd, directories(&["/x"]))]),
            BTreeMap::new(),
        ] {
            keep(&file, &Mapping(map.clone())).unwrap();
            assert_eq!(recall(&file).unwrap(), Some(Mapping(map)));
        }
    }
}
