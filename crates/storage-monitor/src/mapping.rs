//! The mapping: which directory of the storage leads into which directories of applications.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Keys, relative to the storage (the empty path is all of it), with the directories that each leads into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping(pub BTreeMap<PathBuf, BTreeSet<PathBuf>>);

/// An entry that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub message: String,
    /// The text in the file that the message is about.
    pub about: Vec<u8>,
}

impl Mapping {
    /// Reads what bash has evaluated: pairs of key and value, a directory on each line of a value.
    pub fn read(pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<Self, Wrong> {
        let mut mapping = Self::default();
        for (key, value) in pairs {
            let wrong = |about: &[u8], what: &str| Wrong {
                message: format!("storage_map[{:?}]: {what}", String::from_utf8_lossy(key)),
                about: about.to_vec(),
            };
            let Some(folder) = plain(key, false) else {
                return Err(wrong(
                    key,
                    "a key is a path below the storage, without a leading / and without ..",
                ));
            };
            let lines = value.split(|byte| *byte == b'\n').map(trim).filter(|line| !line.is_empty());
            let directories = mapping.0.entry(folder).or_default();
            let mut none = true;
            for line in lines {
                none = false;
                let shown = String::from_utf8_lossy(line);
                let directory = plain(line, true)
                    .ok_or_else(|| wrong(line, &format!("{shown:?} is not an absolute path without ..")))?;
                directories.insert(directory);
            }
            if none {
                return Err(wrong(key, "names no directory"));
            }
        }
        Ok(mapping)
    }

    /// Returns what another mapping lacks.
    pub fn without(&self, other: &Self) -> Self {
        let mut missing = self.0.clone();
        for (key, directories) in &mut missing {
            directories.retain(|directory| other.0.get(key).is_none_or(|known| !known.contains(directory)));
        }
        missing.retain(|_, directories| !directories.is_empty());
        Self(missing)
    }

    /// Adds another mapping.
    pub fn add(&mut self, other: Self) {
        for (key, directories) in other.0 {
            self.0.entry(key).or_default().extend(directories);
        }
    }
}

/// Indented lines read better; a directory whose name ends in a blank is written with a slash at its end.
fn trim(line: &[u8]) -> &[u8] {
    line.trim_ascii()
}

/// A path with nothing in it but names; absolute ones name something below `/`.
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

/// The number of the first line of a file that has a text in it.
pub fn line_of(file: &[u8], text: &[u8]) -> Option<usize> {
    if text.is_empty() {
        return None;
    }
    let at = file.windows(text.len()).position(|window| window == text)?;
    Some(file[..at].iter().filter(|byte| **byte == b'\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Vec<(String, Vec<String>)>, String> {
        let pairs: Vec<_> =
            pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
        let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
        match Mapping::read(&pairs) {
            Ok(Mapping(map)) => {
                Ok(map.iter().map(|(k, v)| (text(k), v.iter().map(text).collect())).collect())
            }
            Err(wrong) => Err(wrong.message),
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
            [&b"/b"[..], b"c\"", b"absent", b""].map(|text| line_of(file, text)),
            [Some(2), Some(3), None, None]
        );
    }
}
