//! Finds a changed entry of a tree.

use std::io;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};

use anyhow::Context;
use dirfd::walk::{self, Descend};
use nix::sys::stat::fstat;

use crate::ensure_beneath::open_root;
use crate::volume_clock::Timestamp;

/// Returns an entry of the tree at `root`, or `root` itself, that changed in this period; prefers a file to a
/// directory.
pub fn find_changed(root: &Path, period: impl RangeBounds<Timestamp>) -> anyhow::Result<Option<PathBuf>> {
    let opened = open_root(root)?;
    let stat = fstat(&opened).map_err(io::Error::from)?;
    let mut found = period.contains(&Timestamp::change_time(&stat)).then(|| root.to_owned());
    let mut is_file = false;
    walk::walk_tree::<io::Error>(opened, &mut |entry| {
        let is_better = !is_file && (found.is_none() || !entry.is_directory());
        if is_better && period.contains(&Timestamp::change_time(&entry.stat)) {
            found = Some(root.join(entry.name));
            is_file = !entry.is_directory();
        }
        Ok(if is_file { Descend::Skip } else { Descend::Enter })
    })
    .with_context(|| format!("cannot read {}", root.display()))?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_change_anywhere_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/file"), "").unwrap();
        let stamp = |path: &Path| Timestamp::changed(&path.symlink_metadata().unwrap());
        let file = dir.path().join("a/file");
        let latest = stamp(&file).max(stamp(dir.path()));
        assert_eq!(find_changed(dir.path(), stamp(&file)..).unwrap(), Some(file));
        assert_eq!(find_changed(dir.path(), Timestamp(latest.0 + 1, 0)..).unwrap(), None);
        assert_eq!(
            find_changed(dir.path(), Timestamp(0, 0)..=Timestamp(1, 0)).unwrap(),
            None,
            "the clock was set back"
        );
        assert!(find_changed(&dir.path().join("missing"), latest..).is_err());
    }
}
