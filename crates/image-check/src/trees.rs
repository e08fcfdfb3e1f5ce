//! Trees that `OPT_SYNC` selects.

use std::path::Path;

use kit::Env;
use sync_tree::Entry;

use crate::finding::Finding;

const CHECK: &str = "trees";
const OPT: &str = "/opt";

/// Checks the trees that the image selects.
pub fn check(env: &Env) -> Vec<Finding> {
    let selected = env.text("OPT_SYNC");
    let (names, problems) = workspace_sync::parse_opt_sync(selected);
    let name_fault = |problem: &kit::Problem| {
        Finding::fault(
            CHECK,
            "OPT_SYNC",
            &problem.message,
            "the directory is not kept",
            "correct ENV OPT_SYNC",
        )
    };
    let names = names.iter().filter_map(|name| {
        let path = Path::new(OPT).join(name);
        judge(name, &Entry::at(&path).unwrap_or(Entry::Other), path.is_dir())
    });
    let prepared = sync_tree::trees(Path::new(OPT)).unwrap_or_default();
    problems.iter().map(name_fault).chain(names).chain(unselected(selected, &prepared)).collect()
}

/// Returns the warning about trees that `sync-tree` has laid out and `OPT_SYNC` does not select.
fn unselected(selected: Option<&str>, prepared: &[String]) -> Option<Finding> {
    let line = sync_tree::missing_line(selected, prepared)?;
    let (names, _) = workspace_sync::parse_opt_sync(selected);
    let missing: Vec<_> = prepared.iter().filter(|tree| !names.contains(tree)).map(String::as_str).collect();
    let problem = format!("it does not select what sync-tree laid out: {}", missing.join(", "));
    let effect = "users do not keep it on their volume, unless they set OPT_SYNC themselves";
    Some(Finding::fault(CHECK, "OPT_SYNC", problem, effect, format!("use the line: {line}")).as_warning())
}

/// Judges the entry at `/opt/NAME`, which may be a link that leads to nothing.
fn judge(name: &str, entry: &Entry, is_directory: bool) -> Option<Finding> {
    let image = Path::new(OPT).join(".image").join(name);
    let (problem, effect, fix) = match entry {
        Entry::Link(to) if *to == image && is_directory => return None,
        Entry::Directory => (
            "a directory, and OPT_SYNC selects it".to_owned(),
            "at each first start it is emptied and replaced, file by file",
            format!("in the step that creates it: RUN sync-tree add {name} && …"),
        ),
        Entry::Link(to) if *to == image => (
            format!("the link leads to {}, which does not exist", image.display()),
            "there is nothing to keep",
            format!("RUN sync-tree add {name}"),
        ),
        Entry::Link(to) => (
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
    fn a_tree_that_is_laid_out_for_nothing_is_a_warning_with_the_line() {
        let prepared = ["app".to_owned(), "other".to_owned()];
        let found = unselected(Some("other"), &prepared).unwrap();
        assert_eq!(
            found.to_string(),
            "warn  OPT_SYNC: it does not select what sync-tree laid out: app\n      effect: users do not keep it on their \
             volume, unless they set OPT_SYNC themselves\n      fix: use the line: ENV OPT_SYNC=other:app"
        );
        assert_eq!(unselected(Some("app:other"), &prepared), None);
    }

    #[test]
    fn only_a_link_to_the_images_tree_can_be_switched() {
        let problem = |entry, is_directory| {
            judge("app", &entry, is_directory).map(|found| format!("{}: {}", found.problem, found.remedy))
        };
        assert_eq!(problem(Entry::Link("/opt/.image/app".into()), true), None);
        for (entry, is_directory, expected) in [
            (
                Entry::Directory,
                true,
                "a directory, and OPT_SYNC selects it: in the step that creates it: RUN sync-tree add app && …",
            ),
            (
                Entry::Link("/opt/.image/app".into()),
                false,
                "the link leads to /opt/.image/app, which does not exist: RUN sync-tree add app",
            ),
            (
                Entry::Link("/srv/app".into()),
                true,
                "a link to /srv/app: remove the link, then: RUN sync-tree add app",
            ),
            (Entry::Missing, false, "not a directory, and OPT_SYNC selects it: correct ENV OPT_SYNC"),
        ] {
            assert_eq!(problem(entry, is_directory).as_deref(), Some(expected));
        }
    }
}
