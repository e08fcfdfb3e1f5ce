//! The mapping: directories of the storage and the directories of applications that they lead into, as the file names
//! them and where they are in this container.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use kit::quote::quoted;

use crate::safe_resolve;

/// Keys, relative to the storage (the empty path is all of it), with the directories that each leads into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping(pub BTreeMap<PathBuf, BTreeSet<PathBuf>>);

/// An entry that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidEntry {
    pub message: String,
    /// Text of the file that the message is about.
    pub about: Vec<u8>,
}

impl Mapping {
    /// Parses the output of bash: pairs of key and value, with one directory on each line of a value.
    pub fn parse(pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<Self, InvalidEntry> {
        let mut mapping = Self::default();
        for (key, value) in pairs {
            let invalid = |about: &[u8], what: &str| InvalidEntry {
                message: format!("storage_map[{:?}]: {what}", String::from_utf8_lossy(key)),
                about: about.to_vec(),
            };
            let Some(folder) = plain(key, false) else {
                return Err(invalid(
                    key,
                    "a key is a path below the storage, without a leading / and without ..",
                ));
            };
            // Indented lines read better; a directory whose name ends in a blank is written with a slash at its end.
            let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            let mut lines = lines.filter(|line| !line.is_empty()).peekable();
            if lines.peek().is_none() {
                return Err(invalid(key, "names no directory"));
            }
            let directories = mapping.0.entry(folder).or_default();
            for line in lines {
                let shown = String::from_utf8_lossy(line);
                let directory = plain(line, true)
                    .ok_or_else(|| invalid(line, &format!("{shown:?} is not an absolute path without ..")))?;
                directories.insert(directory);
            }
        }
        Ok(mapping)
    }

    /// Returns the entries that another mapping lacks.
    pub fn difference(&self, other: &Self) -> Self {
        let mut missing = self.0.clone();
        for (key, directories) in &mut missing {
            directories.retain(|directory| other.0.get(key).is_none_or(|known| !known.contains(directory)));
        }
        missing.retain(|_, directories| !directories.is_empty());
        Self(missing)
    }

    /// Adds another mapping.
    pub fn merge(&mut self, other: Self) {
        for (key, directories) in other.0 {
            self.0.entry(key).or_default().extend(directories);
        }
    }

    /// Finds the directories. `storage` is the storage's real path; `is_ours` is true for a link that we made.
    ///
    /// A directory can be created if its parent exists. If that is missing, its application is not installed yet, and a
    /// directory would obstruct the installation.
    pub fn resolve(&self, storage: &Path, is_ours: impl Fn(&Path) -> bool) -> Targets {
        let mut targets = Targets::default();
        for (key, directories) in &self.0 {
            for directory in directories {
                match real_directory(directory, &is_ours) {
                    Ok(root) if root.starts_with(storage) => {
                        targets.waiting.insert(directory.clone(), "it is inside the storage".to_owned());
                    }
                    Ok(root) => {
                        let source =
                            Source { directory: key.as_path().into(), depth: key.components().count() };
                        targets.roots.entry(root.into()).or_default().push(source);
                    }
                    Err(error) => {
                        let parent = directory.parent().unwrap_or(directory);
                        let why = if error.kind() == io::ErrorKind::NotFound {
                            format!("{} does not exist yet", quoted(parent))
                        } else {
                            error.to_string()
                        };
                        targets.waiting.insert(directory.clone(), why);
                        targets.signs.extend(
                            directory.ancestors().skip(1).find(|path| path.is_dir()).map(Path::to_owned),
                        );
                    }
                }
            }
        }
        targets.roots.values_mut().for_each(|sources| *sources = in_order(std::mem::take(sources)));
        targets
    }
}

/// A directory of the storage that leads into a directory of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Below the storage.
    pub directory: Arc<Path>,
    /// Number of names in the key: the longest key comes first.
    pub depth: usize,
}

/// Returns the sources in their order of precedence, each once.
pub fn in_order(mut sources: Vec<Source>) -> Vec<Source> {
    sources
        .sort_by(|one, other| other.depth.cmp(&one.depth).then_with(|| one.directory.cmp(&other.directory)));
    let mut seen = BTreeSet::new();
    sources.retain(|source| seen.insert(source.directory.clone()));
    sources
}

/// Directories of a mapping as they are in this container now.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Targets {
    /// Directories without a link in their paths, with what leads into them. They exist, or can be made.
    pub roots: BTreeMap<Arc<Path>, Vec<Source>>,
    /// Directories, as the mapping names them, that cannot be used now, and why.
    pub waiting: BTreeMap<PathBuf, String>,
    /// Directories in which something has to appear before a waiting one can be used.
    pub signs: BTreeSet<PathBuf>,
}

/// Returns the path of a directory without links, whether it exists or can be made.
fn real_directory(directory: &Path, is_ours: impl Fn(&Path) -> bool) -> io::Result<PathBuf> {
    let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let place = safe_resolve::resolve(parent)?.join(name);
    match fs::symlink_metadata(&place) {
        // A link that we made for another mapping leads into the storage; it will give way to the directory.
        Ok(meta) if meta.is_symlink() && !is_ours(&place) => safe_resolve::resolve(&place),
        Ok(_) => Ok(place),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(place),
        Err(error) => Err(error),
    }
}

/// Returns a path that consists of names alone; an absolute one names something below `/`.
fn plain(text: &[u8], absolute: bool) -> Option<PathBuf> {
    let path = Path::new(OsStr::from_bytes(text));
    if text.is_empty() || path.is_absolute() != absolute {
        return None;
    }
    let mut result = PathBuf::from(if absolute { "/" } else { "" });
    for component in path.components() {
        match component {
            Component::Normal(name) => result.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    (!absolute || result.file_name().is_some()).then_some(result)
}

/// Returns the number of the first line that contains a text.
pub fn find_line(file: &[u8], text: &[u8]) -> Option<usize> {
    if text.is_empty() {
        return None;
    }
    let at = file.windows(text.len()).position(|window| window == text)?;
    Some(file[..at].iter().filter(|byte| **byte == b'\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Vec<(String, Vec<String>)>, String> {
        let pairs: Vec<_> =
            pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
        let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
        match Mapping::parse(&pairs) {
            Ok(Mapping(map)) => {
                Ok(map.iter().map(|(k, v)| (text(k), v.iter().map(text).collect())).collect())
            }
            Err(invalid) => Err(invalid.message),
        }
    }

    #[test]
    fn a_key_leads_into_one_directory_for_each_line() {
        let map = read(&[("a/b/", "/x y/z\n\n\t/t//u/./v/ \r\n"), ("./a//b", "/w"), (".", "/all")]).unwrap();
        let expected = [("", vec!["/all"]), ("a/b", vec!["/t/u/v", "/w", "/x y/z"])];
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(key, all)| (key.to_owned(), all.into_iter().map(str::to_owned).collect::<Vec<_>>()))
            .collect();
        assert_eq!(map, expected);
    }

    #[test]
    fn what_is_no_path_of_its_kind_is_named() {
        for key in ["/a", "a/../b", ".."] {
            let message = read(&[(key, "/x")]).unwrap_err();
            let key_rule = "a key is a path below the storage, without a leading / and without ..";
            assert_eq!(message, format!("storage_map[{key:?}]: {key_rule}"));
        }
        for value in ["x", "/", "/x/../y", "$HOME", "~/x"] {
            let message = read(&[("a", value)]).unwrap_err();
            assert_eq!(message, format!("storage_map[\"a\"]: {value:?} is not an absolute path without .."));
        }
        assert_eq!(read(&[("a", " \n")]).unwrap_err(), "storage_map[\"a\"]: names no directory");
    }

    #[test]
    fn a_text_is_found_in_its_line() {
        let file = b"# x\nstorage_map[\"a\"]=\"/b\n  c\"\n";
        assert_eq!(
            [&b"/b"[..], b"c\"", b"absent", b""].map(|text| find_line(file, text)),
            [Some(2), Some(3), None, None]
        );
    }

    #[test]
    fn a_directory_is_found_behind_links_waits_for_its_application_and_is_never_in_the_storage() {
        let top = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(top.path()).unwrap();
        let path = |name: &str| top.join(name);
        fs::create_dir_all(path("app/models")).unwrap();
        fs::create_dir_all(path("storage/in")).unwrap();
        symlink(path("app"), path("alias")).unwrap();
        symlink(path("storage/in"), path("way")).unwrap();
        symlink(path("nowhere"), path("dangling")).unwrap();
        let all = |names: &[&str]| names.iter().map(|name| path(name)).collect::<BTreeSet<_>>();
        let mapping = Mapping(BTreeMap::from([
            ("a".into(), all(&["alias/models", "app/new", "missing/app/x", "storage/in", "way", "dangling"])),
            ("a/b".into(), all(&["app/models"])),
        ]));
        let targets = mapping.resolve(&path("storage"), |_| false);
        let source = |directory: &str, depth| Source { directory: Path::new(directory).into(), depth };
        assert_eq!(
            targets.roots,
            BTreeMap::from([
                (path("app/models").into(), vec![source("a/b", 2), source("a", 1)]),
                (path("app/new").into(), vec![source("a", 1)]),
            ])
        );
        let inside = || "it is inside the storage".to_owned();
        assert_eq!(
            targets.waiting,
            BTreeMap::from([
                (path("storage/in"), inside()),
                (path("way"), inside()),
                (path("missing/app/x"), format!("{} does not exist yet", quoted(&path("missing/app")))),
                (path("dangling"), format!("{} does not exist yet", quoted(&top))),
            ])
        );
        assert_eq!(targets.signs, BTreeSet::from([top.clone()]));
    }
}
