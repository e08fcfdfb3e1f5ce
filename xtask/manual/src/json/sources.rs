//! Finds the definition of a type in the sources of the repository.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use syn::Item;

/// The source files below `crates/` and `xtask/src`, each parsed when a type of it is needed.
pub struct Sources {
    texts: BTreeMap<PathBuf, String>,
    parsed: RefCell<BTreeMap<PathBuf, Vec<Item>>>,
}

/// A struct or an enum, and the file that defines it.
pub struct Definition {
    /// Path of the file in the repository.
    pub file: PathBuf,
    /// Its item.
    pub item: Item,
}

impl Sources {
    /// Reads the sources of the repository at `root`.
    pub fn read(root: &Path) -> Result<Self> {
        let mut texts = BTreeMap::new();
        let mut directories = vec![root.join("crates"), root.join("xtask/src")];
        while let Some(directory) = directories.pop() {
            let cannot = || format!("cannot read {}", directory.display());
            for entry in fs::read_dir(&directory).with_context(cannot)? {
                let path = entry.with_context(cannot)?.path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = fs::read_to_string(&path)
                        .with_context(|| format!("cannot read {}", path.display()))?;
                    texts.insert(path.strip_prefix(root).unwrap_or(&path).to_owned(), text);
                }
            }
        }
        Ok(Self { texts, parsed: RefCell::default() })
    }

    /// Returns the text of each file by its path in the repository.
    pub fn texts(&self) -> &BTreeMap<PathBuf, String> {
        &self.texts
    }

    /// Returns the definition of a type that the code of `file` names: of that file, else of its crate, else of a crate
    /// that the file names too. `None` for a type of a library.
    pub fn find(&self, file: &Path, name: &str) -> Result<Option<Definition>> {
        let own_crate: PathBuf = file.components().take(2).collect();
        let own_text = self.texts.get(file).map_or("", String::as_str);
        let is_named = |path: &Path| {
            let name = path.iter().nth(1).unwrap_or_default().to_string_lossy().replace('-', "_");
            path.starts_with(&own_crate) || own_text.contains(&format!("{name}::"))
        };
        let distance = |path: &PathBuf| (path != file, !path.starts_with(&own_crate));
        let words = [format!("struct {name}"), format!("enum {name}")];
        let mut candidates: Vec<&PathBuf> = self
            .texts
            .iter()
            .filter(|(_, text)| words.iter().any(|word| text.contains(word)))
            .map(|(path, _)| path)
            .filter(|path| is_named(path))
            .collect();
        candidates.sort_by_key(|path| distance(path));
        for path in candidates {
            let item = self.items(path)?.into_iter().find(|item| match item {
                Item::Struct(item) => item.ident == name,
                Item::Enum(item) => item.ident == name,
                _ => false,
            });
            if let Some(item) = item {
                return Ok(Some(Definition { file: path.clone(), item }));
            }
        }
        Ok(None)
    }

    fn items(&self, path: &Path) -> Result<Vec<Item>> {
        if let Some(items) = self.parsed.borrow().get(path) {
            return Ok(items.clone());
        }
        let parsed = syn::parse_file(&self.texts[path]);
        let items = parsed.with_context(|| format!("cannot parse {}", path.display()))?.items;
        self.parsed.borrow_mut().insert(path.to_owned(), items.clone());
        Ok(items)
    }
}
