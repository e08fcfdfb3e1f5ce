//! Compares the pages on disk with the rendered ones, and writes the differences.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kit::atomic::{self, WriteOptions};
use kit::missing_ok;

use crate::notice::GENERATED;
use crate::pages::{COMMANDS, COMPLETION, MAN, Pages, REFERENCE};

/// One file that differs from the rendered pages; paths are relative to the output directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Its content is out of date.
    Stale(PathBuf),
    /// It does not exist.
    Missing(PathBuf),
    /// It is a page of a tool that does not exist.
    Superfluous(PathBuf),
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale(path) => write!(formatter, "{} is stale", path.display()),
            Self::Missing(path) => write!(formatter, "{} is missing", path.display()),
            Self::Superfluous(path) => write!(formatter, "{} is superfluous", path.display()),
        }
    }
}

/// Compares the files below `output`, and pages beside it, with `pages`; fails where one cannot be read.
pub fn differences(output: &Path, pages: &Pages) -> Result<Vec<Difference>> {
    let mut found = BTreeMap::new();
    for directory in [COMMANDS, COMPLETION, MAN, REFERENCE] {
        read(output, Path::new(directory), &mut found)?;
    }
    for path in pages.keys().filter(|path| path.starts_with("..")) {
        let content =
            fs::read(output.join(path)).with_context(|| format!("cannot read {}", path.display()))?;
        found.insert(path.clone(), content);
    }
    Ok(compare(pages, &found))
}

/// Writes stale and missing pages and removes superfluous ones; fails at the first error.
pub fn write_changes(output: &Path, pages: &Pages, differences: &[Difference]) -> Result<()> {
    for directory in [COMMANDS, COMPLETION, MAN, REFERENCE].map(|directory| output.join(directory)) {
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    }
    for difference in differences {
        match difference {
            Difference::Stale(path) | Difference::Missing(path) => {
                atomic::write(&output.join(path), pages[path].as_bytes(), WriteOptions::volatile(0o644))?;
                log::info!("wrote {}", path.display());
            }
            Difference::Superfluous(path) => {
                let path = output.join(path);
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
                log::info!("removed {}", path.display());
            }
        }
    }
    Ok(())
}

fn compare(pages: &Pages, found: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<Difference> {
    let wanted = pages.iter().filter_map(|(path, text)| match found.get(path) {
        None => Some(Difference::Missing(path.clone())),
        Some(content) if content != text.as_bytes() => Some(Difference::Stale(path.clone())),
        Some(_) => None,
    });
    let unwanted = found.iter().filter(|(path, content)| !pages.contains_key(*path) && is_ours(content));
    wanted.chain(unwanted.map(|(path, _)| Difference::Superfluous(path.clone()))).collect()
}

fn is_ours(content: &[u8]) -> bool {
    content.windows(GENERATED.len()).any(|window| window == GENERATED.as_bytes())
}

/// Adds the regular files directly in `directory`; links and directories are never ours.
fn read(output: &Path, directory: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    let path = output.join(directory);
    let cannot = || format!("cannot read {}", path.display());
    for entry in missing_ok(fs::read_dir(&path)).with_context(cannot)?.into_iter().flatten() {
        let entry = entry.with_context(cannot)?;
        if entry.file_type().with_context(cannot)?.is_file() {
            let path = entry.path();
            let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            found.insert(directory.join(entry.file_name()), content);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn pages() -> Pages {
        [("commands/a.md", "a"), ("commands/b.md", "b"), ("man/a.1", "manual of a")]
            .map(|(path, text)| (PathBuf::from(path), format!("{GENERATED}\n{text}\n")))
            .into()
    }

    #[test]
    fn a_stale_a_missing_and_a_superfluous_page_are_found_and_settled() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path();
        fs::create_dir_all(output.join("commands")).unwrap();
        fs::create_dir_all(output.join("man")).unwrap();
        fs::write(output.join("commands/a.md"), &pages()[Path::new("commands/a.md")]).unwrap();
        fs::write(output.join("commands/b.md"), "of yesterday").unwrap();
        fs::write(output.join("man/gone.8"), format!("{GENERATED}\nof a tool that is gone\n")).unwrap();
        fs::write(output.join("man/notes.txt"), "written by hand").unwrap();
        let inode = fs::metadata(output.join("commands/a.md")).unwrap().ino();

        let seen = differences(output, &pages()).unwrap();
        assert_eq!(
            seen,
            [
                Difference::Stale("commands/b.md".into()),
                Difference::Missing("man/a.1".into()),
                Difference::Superfluous("man/gone.8".into()),
            ]
        );
        write_changes(output, &pages(), &seen).unwrap();

        assert_eq!(differences(output, &pages()).unwrap(), []);
        assert!(!output.join("man/gone.8").exists());
        assert_eq!(fs::read_to_string(output.join("man/notes.txt")).unwrap(), "written by hand");
        assert_eq!(fs::metadata(output.join("commands/a.md")).unwrap().ino(), inode, "it was right before");
    }
}
