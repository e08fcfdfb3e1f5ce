//! The working copy, and the directories below its `target`.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};
use kit::hex;

/// A working copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// Returns the working copy that cargo runs in; a compiled-in path would be wrong in a copied one.
    pub fn find() -> Result<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let here = env::current_dir().context("cannot find the current directory")?;
        let root = package.as_deref().unwrap_or(&here).ancestors().find(|dir| is_root(dir));
        let root = root.with_context(|| format!("{} is not inside a checkout", here.display()))?;
        Self::at(root)
    }

    /// The working copy at `root`, by its one real path.
    pub fn at(root: &Path) -> Result<Self> {
        let root = fs::canonicalize(root).with_context(|| format!("cannot resolve {}", root.display()))?;
        Ok(Self { root })
    }

    /// Directory with `Cargo.toml` and `docker-bake.hcl`.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Eight hexadecimal digits that differ between the working copies of a machine.
    #[must_use]
    pub fn id(&self) -> String {
        let mut id = hex::sha256(self.root.as_os_str().as_encoded_bytes());
        id.truncate(8);
        id
    }

    /// Directory of the private engine's programs and data.
    #[must_use]
    pub fn engine_dir(&self) -> PathBuf {
        self.root.join("target/engine")
    }

    /// Directory of build products that go into an image.
    #[must_use]
    pub fn image_dir(&self) -> PathBuf {
        self.root.join("target/image")
    }
}

fn is_root(dir: &Path) -> bool {
    dir.join("docker-bake.hcl").is_file() || dir.join("xtask/Cargo.toml").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_working_copies_have_different_names_and_one_has_one() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir(&first).unwrap();
        fs::create_dir(&second).unwrap();
        let id = |path: &Path| Checkout::at(path).unwrap().id();
        assert_ne!(id(&first), id(&second));
        assert_eq!(id(&first), id(&second.join("../a")));
        assert_eq!(id(&first).len(), 8);
    }
}
