//! Reads the kernel's small text files, without blocking the boot.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use kit::missing_ok;

/// Maximum size of a file in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// Maximum number of entries of a directory.
const MAX_ENTRIES: usize = 4096;

/// Root of the kernel's files: `/`, or a directory with copies of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelRoot {
    /// The directory that has `proc`, `sys` and `dev`.
    pub root: PathBuf,
}

impl Default for KernelRoot {
    fn default() -> Self {
        Self { root: PathBuf::from("/") }
    }
}

impl KernelRoot {
    fn at(&self, path: &str) -> PathBuf {
        self.root.join(Path::new(path).strip_prefix("/").unwrap_or(Path::new(path)))
    }

    /// True if `path` exists. Devices are never opened, because that can start a GPU.
    pub(crate) fn has(&self, path: &str) -> bool {
        fs::symlink_metadata(self.at(path)).is_ok()
    }

    /// Returns the text of a regular file.
    pub(crate) fn read(&self, path: &str) -> io::Result<String> {
        // Without O_NONBLOCK, opening a FIFO would wait for a writer.
        let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(self.at(path))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the names in a directory; a missing directory has none.
    pub(crate) fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let entries = missing_ok(fs::read_dir(self.at(path)))?.into_iter().flatten();
        entries
            .take(MAX_ENTRIES)
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    /// Returns the numbers N of all entries `PREFIXN`, sorted; an unreadable directory becomes a remark.
    pub(crate) fn numbered(&self, path: &str, prefix: &str, remarks: &mut Vec<String>) -> Vec<u32> {
        let names = self.list(path).unwrap_or_else(|error| {
            remarks.push(format!("cannot list /{path}: {error}"));
            Vec::new()
        });
        let mut numbers: Vec<u32> =
            names.iter().filter_map(|name| decimal(name.strip_prefix(prefix)?)).collect();
        numbers.sort_unstable();
        numbers
    }
}

/// Parses a plain decimal number; device names have no signs and leading zeros.
fn decimal(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// Returns the value of the first line `key SEPARATOR value`, trimmed.
pub(crate) fn field<'text>(text: &'text str, key: &str, separator: char) -> Option<&'text str> {
    text.lines()
        .filter_map(|line| line.split_once(separator))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_read_by_value_and_other_names_are_not_numbers() {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["nvidia10", "nvidia9", "nvidia0", "nvidiactl", "nvidia-uvm", "nvidia", "nvidia+1", "nvidia01"]
        {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let mut remarks = Vec::new();
        let root = KernelRoot { root: dir.path().to_owned() };
        assert_eq!(root.numbered("", "nvidia", &mut remarks), [0, 9, 10]);
        assert_eq!(remarks, [""; 0]);
    }

    #[test]
    fn a_file_without_end_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        fs::File::create(dir.path().join("long")).unwrap().set_len(MAX_FILE_BYTES * 4).unwrap();
        let root = KernelRoot { root: dir.path().to_owned() };
        assert_eq!(root.read("/long").unwrap().len() as u64, MAX_FILE_BYTES);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "GPU UUID: \t GPU-1\nUUID: 2\nunique_id 7\n";
        assert_eq!(field(text, "UUID", ':'), Some("2"));
        assert_eq!(field(text, "unique_id", ' '), Some("7"));
        assert_eq!(field(text, "id", ' '), None);
    }
}
