//! Files in rclone's cache that are not uploaded yet.

use std::fs::{self, DirEntry};
use std::path::Path;
use std::time::{Instant, SystemTime};

use kit::ReadPolicy;
use serde::Deserialize;

/// Larger than the description of a file in a thousand pieces.
const DESCRIPTION: ReadPolicy = ReadPolicy::max_size(1 << 20).no_follow();

/// Rclone's description of a cached file (`vfs/vfscache/item.go`, `Info`).
#[derive(Deserialize)]
struct Item {
    #[serde(rename = "Dirty", default)]
    is_dirty: bool,
}

/// Returns the paths of files that are not uploaded, relative to the directory of descriptions in `cache`: the name of
/// the storage comes first. Nothing if the search is not finished at `deadline`. A description that has not changed since
/// `start` is of a remote that is no longer mounted, because a mount writes those of its pending uploads when its
/// server has answered (`vfs/vfscache/item.go`, `reload`).
pub fn find(cache: &Path, start: SystemTime, deadline: Instant) -> Option<Vec<String>> {
    let root = cache.join("vfsMeta");
    let (mut directories, mut found) = (vec![root.clone()], Vec::new());
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if Instant::now() >= deadline {
                return None;
            }
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(path),
                Ok(kind) if kind.is_file() && has_changed(&entry, start) && is_dirty(&path) => {
                    found.push(path.strip_prefix(&root).unwrap_or(&path).display().to_string());
                }
                _ => {}
            }
        }
    }
    found.sort();
    Some(found)
}

fn has_changed(entry: &DirEntry, start: SystemTime) -> bool {
    entry.metadata().and_then(|meta| meta.modified()).is_ok_and(|changed| changed >= start)
}

fn is_dirty(description: &Path) -> bool {
    let Ok(text) = DESCRIPTION.read(description) else { return false };
    serde_json::from_slice(&text).is_ok_and(|item: Item| item.is_dirty)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dirty_files_are_found_at_any_depth() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path();
        let deadline = Instant::now() + Duration::from_mins(1);
        let start = SystemTime::UNIX_EPOCH;
        assert_eq!(find(cache, start, deadline), Some(vec![]), "no cache");
        let write = |path: &str, text: &str| {
            let path = cache.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("vfsMeta/my/a/b", r#"{"ModTime":"2026-11-29T16:45:33Z","Size":1,"Rs":[],"Dirty":true}"#);
        write("vfsMeta/my/clean", r#"{"Dirty":false}"#);
        write("vfsMeta/my/damaged", "{");
        write("vfsMeta/other{x}/c", r#"{"Dirty":true}"#);
        write("vfs/my/a/b", r#"{"Dirty":true}"#);
        assert_eq!(find(cache, start, deadline).unwrap(), ["my/a/b", "other{x}/c"]);
        assert_eq!(find(cache, start, Instant::now()), None, "no time left");
        let later = SystemTime::now() + Duration::from_secs(1);
        assert_eq!(find(cache, later, deadline), Some(vec![]), "of an earlier run");
    }
}
