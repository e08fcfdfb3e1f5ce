//! Files that may be missing.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};

/// Makes "not found" nothing.
pub fn missing_ok<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Removes a file that may be missing; an error names it.
pub fn remove_file(path: &Path) -> Result<()> {
    let removed = missing_ok(fs::remove_file(path));
    removed.map(drop).with_context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_no_error_and_another_refusal_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for _ in 0..2 {
            remove_file(&file).unwrap();
            assert!(!file.exists());
        }
        let error = remove_file(dir.path()).unwrap_err();
        assert!(error.to_string().starts_with(&format!("cannot remove {}", dir.path().display())));
    }
}
