//! The kernel's table of mounts (`proc_pid_mountinfo(5)`).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// One mount of this namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The directory or file that is mounted, in its own file system.
    pub root: PathBuf,
    /// The path where it is mounted.
    pub point: PathBuf,
    /// Type of its file system, such as `ext4` or `fuse.rclone`.
    pub file_system: String,
    /// The options of its file system, separated by commas.
    pub options: String,
}

/// Returns the mounts of this process, in the order in which they were made.
pub fn all() -> io::Result<Vec<Mount>> {
    fs::read("/proc/self/mountinfo").map(|table| parse(&table))
}

/// Reads such a table.
#[must_use]
pub fn parse(table: &[u8]) -> Vec<Mount> {
    table
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let fields: Vec<_> = line.split(|byte| *byte == b' ').collect();
            let (root, point) = (unescape(fields.get(3)?), unescape(fields.get(4)?));
            let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
            // The last three fields: type, source, options.
            let [.., file_system, _, options] = fields[..] else { return None };
            Some(Mount { root, point, file_system: text(file_system), options: text(options) })
        })
        .collect()
}

/// Space, tab, newline and backslash in a path are written as octal escapes.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, behind)) = rest.split_first() {
        let octal = (first == b'\\').then(|| behind.get(..3)).flatten().and_then(from_octal);
        bytes.push(octal.unwrap_or(first));
        rest = if octal.is_some() { &behind[3..] } else { behind };
    }
    OsString::from_vec(bytes).into()
}

fn from_octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(OsStr::from_bytes(digits).to_str()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_unescaped_and_what_is_no_mount_is_passed_over() {
        let table = b"36 35 98:0 /a\\040b /mnt\\134x rw - ext4 /dev/vda rw,upperdir=/u\nshort line\n";
        let expected = Mount {
            root: "/a b".into(),
            point: "/mnt\\x".into(),
            file_system: "ext4".to_owned(),
            options: "rw,upperdir=/u".to_owned(),
        };
        assert_eq!(parse(table), [expected]);
        assert_eq!(unescape(br"/a\040b\134c\012\9"), std::path::Path::new("/a b\\c\n\\9"));
        assert!(all().unwrap().iter().any(|mount| mount.point == std::path::Path::new("/proc")));
    }
}
