//! Files of programs that supervisord does not read because of their names.

use std::fs;
use std::path::{Path, PathBuf};

use kit::ReadPolicy;

use crate::finding::Finding;

/// Maximum size of a file in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Finds the files in a directory of programs.
pub fn check(directory: &Path) -> Vec<Finding> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let finding = |path: &PathBuf| {
        let (problem, fix) = ("supervisord reads only *.conf", "rename it to NAME.conf, or remove it");
        Finding::fault("programs", path.display(), problem, "its programs do not start", fix).as_warning()
    };
    paths.iter().filter(|path| is_unread(path)).map(finding).collect()
}

/// True for a file with a program that has another name; one like `NAME.conf.off` is turned off on purpose.
fn is_unread(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    !name.contains(".conf")
        && ReadPolicy::max_size(MAX_BYTES).read(path).is_ok_and(|text| {
            String::from_utf8_lossy(&text).lines().any(|line| line.starts_with("[program:"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_in_a_file_of_another_name_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("a.conf", "[program:a]\n"),
            ("b.ini", "; mine\n[program:b]\n"),
            ("c.conf.off", "[program:c]\n"),
            ("d", "[program:d]\n"),
            ("README.md", "A program has a section.\n"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        fs::create_dir(dir.path().join("e")).unwrap();
        let places: Vec<_> = check(dir.path()).into_iter().map(|finding| finding.place).collect();
        assert_eq!(places, ["b.ini", "d"].map(|name| dir.path().join(name).display().to_string()));
    }
}
