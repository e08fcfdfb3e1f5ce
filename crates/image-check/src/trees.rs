//! Trees that `OPT_SYNC` selects.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kit::Env;

use crate::finding::Finding;

const CHECK: &str = "trees";
const OPT: &str = "/opt";

/// Checks the trees that the image selects.
pub fn check(env: &Env) -> Vec<Finding> {
    let (names, problems) = workspace_sync::parse_opt_sync(env.text("OPT_SYNC"));
    let name_fault = |problem: &kit::Problem| {
        Finding::fault(
            CHECK,
            "OPT_SYNC",
            &problem.message,
            "the directory is not kept",
            "correct ENV OPT_SYNC",
        )
    };
    let names = names.iter().filter_map(|name| judge(name, &Entry::at(&Path::new(OPT).join(name))));
    problems.iter().map(name_fault).chain(names).collect()
}

/// The entry at `/opt/NAME`.
#[derive(Debug)]
enum Entry {
    Missing,
    Directory,
    Link(PathBuf, bool),
    Other,
}

impl Entry {
    fn at(path: &Path) -> Self {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Self::Missing,
            Ok(meta) if meta.is_dir() => Self::Directory,
            Ok(meta) if meta.is_symlink() => match fs::read_link(path) {
                Ok(to) => Self::Link(to, path.is_dir()),
                Err(_) => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

fn judge(name: &str, entry: &Entry) -> Option<Finding> {
    let image = Path::new(OPT).join(".image").join(name);
    let (problem, effect, fix) = match entry {
        Entry::Link(to, true) if *to == image => return None,
        Entry::Directory => (
            "a directory, and OPT_SYNC selects it".to_owned(),
            "at each first start it is emptied and replaced, file by file",
            format!("in the step that creates it: RUN sync-tree add {name} && …"),
        ),
        Entry::Link(to, _) if *to == image => (
            format!("the link leads to {}, which does not exist", image.display()),
            "there is nothing to keep",
            format!("RUN sync-tree add {name}"),
        ),
        Entry::Link(to, _) => (
            format!("a link to {}", to.display()),
            "the directory is not kept",
            format!("remove the link, then: RUN sync-tree add {name}"),
        ),
        Entry::Missing | Entry::Other => (
            "not a directory, and OPT_SYNC selects it".to_owned(),
            "the directory is not kept",
            "correct ENV OPT_SYNC".to_owned(),
        ),
    };
    Some(Finding::fault(CHECK, format!("{OPT}/{name}"), problem, effect, fix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_link_to_the_images_tree_can_be_switched() {
        let problem =
            |entry| judge("app", &entry).map(|found| format!("{}: {}", found.problem, found.remedy));
        assert_eq!(problem(Entry::Link("/opt/.image/app".into(), true)), None);
        for (entry, expected) in [
            (
                Entry::Directory,
                "a directory, and OPT_SYNC selects it: in the step that creates it: RUN sync-tree add app && …",
            ),
            (
                Entry::Link("/opt/.image/app".into(), false),
                "the link leads to /opt/.image/app, which does not exist: RUN sync-tree add app",
            ),
            (
                Entry::Link("/srv/app".into(), true),
                "a link to /srv/app: remove the link, then: RUN sync-tree add app",
            ),
            (Entry::Missing, "not a directory, and OPT_SYNC selects it: correct ENV OPT_SYNC"),
        ] {
            assert_eq!(problem(entry).as_deref(), Some(expected));
        }
    }
}
