//! Where the directories that a mapping names really are, and which of them have to wait.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::mapping::Mapping;
use crate::way;
use kit::quote::quoted;

/// A directory of the storage that leads into a directory of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Below the storage.
    pub directory: Rc<Path>,
    /// How many names the key has by which it leads there: the longest key comes first.
    pub depth: usize,
}

/// Sources in their order of precedence, each once.
pub fn in_order(mut sources: Vec<Source>) -> Vec<Source> {
    sources
        .sort_by(|one, other| other.depth.cmp(&one.depth).then_with(|| one.directory.cmp(&other.directory)));
    let mut seen = BTreeSet::new();
    sources.retain(|source| seen.insert(source.directory.clone()));
    sources
}

/// What a mapping comes to in this container, now.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Targets {
    /// Directories without a link in their paths, with what leads into them. They exist, or can be made.
    pub roots: BTreeMap<Rc<Path>, Vec<Source>>,
    /// Directories as the mapping names them, that cannot be used now, and why.
    pub waiting: BTreeMap<PathBuf, String>,
    /// Where something has to happen before a waiting one can be used.
    pub signs: BTreeSet<PathBuf>,
}

/// Finds out. `storage` is the storage's real path; `is_ours` says whether a path is a link that we made.
///
/// A directory is made if the one that holds it is there. Where that is missing, its application is not installed yet, and
/// a directory would be in the installation's way.
pub fn resolve(mapping: &Mapping, storage: &Path, is_ours: impl Fn(&Path) -> bool) -> Targets {
    let mut targets = Targets::default();
    for (key, directories) in &mapping.0 {
        for directory in directories {
            match real(directory, &is_ours) {
                Ok(root) if root.starts_with(storage) => {
                    targets.waiting.insert(directory.clone(), "it is inside the storage".to_owned());
                }
                Ok(root) => {
                    let source = Source { directory: key.as_path().into(), depth: key.components().count() };
                    targets.roots.entry(root.into()).or_default().push(source);
                }
                Err(error) => {
                    let parent = directory.parent().unwrap_or(directory);
                    let why = if error.kind() == io::ErrorKind::NotFound {
                        format!("{} is not there yet", quoted(parent))
                    } else {
                        error.to_string()
                    };
                    targets.waiting.insert(directory.clone(), why);
                    targets
                        .signs
                        .extend(directory.ancestors().skip(1).find(|path| path.is_dir()).map(Path::to_owned));
                }
            }
        }
    }
    targets.roots.values_mut().for_each(|sources| *sources = in_order(std::mem::take(sources)));
    targets
}

fn real(directory: &Path, is_ours: impl Fn(&Path) -> bool) -> io::Result<PathBuf> {
    let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let place = way::real(parent)?.join(name);
    match fs::symlink_metadata(&place) {
        // A link that we made for another mapping leads into the storage; it will give way to the directory.
        Ok(meta) if meta.is_symlink() && !is_ours(&place) => way::real(&place),
        Ok(_) => Ok(place),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(place),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

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
        let targets = resolve(&mapping, &path("storage"), |_| false);
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
                (path("missing/app/x"), format!("{} is not there yet", quoted(&path("missing/app")))),
                (path("dangling"), format!("{} is not there yet", quoted(&top))),
            ])
        );
        assert_eq!(targets.signs, BTreeSet::from([top.clone()]));
    }
}
