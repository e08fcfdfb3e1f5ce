//! Files of `/proc` and `/sys`, below a root that tests replace.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Maximum size that is read of one file. `memory.stat` has 2 kB; `io.stat` and `net/dev` have a line for each device.
const MAX_BYTES: u64 = 256 << 10;

/// A directory with `proc`, `sys` and `dev`: `/`, or a sample in a test.
#[derive(Debug, Clone)]
pub struct KernelFiles(PathBuf);

impl KernelFiles {
    /// Returns the files below `root`.
    pub fn new(root: &Path) -> Self {
        Self(root.to_owned())
    }

    /// Returns the path of a file, which may be absolute.
    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Reads a file. `None` if it is missing or unreadable: kernels, sandboxes and devices differ in what they have.
    pub fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let mut bytes = Vec::new();
        File::open(self.path(path)).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads a file with one number; `None` for `max` and for what is no number.
    pub fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.text(path)?.trim().parse().ok()
    }

    /// Reads a file with a limit, see [`limit`].
    pub fn limit(&self, path: impl AsRef<Path>) -> Option<u64> {
        limit(&self.text(path)?)
    }

    /// Returns whether a file exists.
    pub fn has(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).exists()
    }

    /// Returns the names in a directory, sorted; none if it cannot be read.
    pub fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}

/// Parses a limit of a cgroup; `None` means unlimited.
///
/// Version 2 writes `max`, version 1 writes -1 or the largest number that is a multiple of the page size.
pub fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|number| *number < 1 << 60)
}

/// Returns the number behind `key` in a file with a line `KEY NUMBER` for each key.
pub fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Divides a number by a unit.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
pub fn scale(number: u64, unit: f64) -> f64 {
    number as f64 / unit
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A root with these files.
    pub fn sample(files: &[(&str, &str)]) -> (tempfile::TempDir, KernelFiles) {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let files = KernelFiles::new(dir.path());
        (dir, files)
    }

    #[test]
    fn limits_and_fields() {
        for (text, expected) in [
            ("max\n", None),
            ("-1\n", None),
            ("9223372036854771712\n", None),
            ("18446744073709551615", None),
            ("99999999999999999999999", None),
            ("", None),
            ("12 34", None),
            ("536870912\n", Some(536_870_912)),
        ] {
            assert_eq!(limit(text), expected, "{text}");
        }
        let stat = "inactive_file_x 1\ninactive_file 47464448\nbroken\nactive_file -4\n";
        assert_eq!(field(stat, "inactive_file"), Some(47_464_448));
        assert_eq!([field(stat, "active_file"), field(stat, "broken"), field(stat, "x")], [None; 3]);
    }
}
