//! Owners and modes below `/opt`, by the rules of `fix-perms`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use fix_perms::{EntryCount, Tree};
use kit::quote::quoted;

use crate::finding::Finding;

const OPT: &str = "/opt";
/// Number of paths that a finding names.
const NAMED: usize = 3;

/// Finds what `fix-perms --only container` would change, and what it skips.
pub fn check() -> Result<Vec<Finding>> {
    let group = uzers::get_group_by_name("leonardo").context("group leonardo does not exist")?;
    let tree = Tree::Container { path: OPT.into(), gid: group.gid() };
    let wrong: Mutex<BTreeSet<PathBuf>> = Mutex::default();
    let summary = fix_perms::fix_tree(&tree, true, &|step| {
        wrong.lock().unwrap_or_else(PoisonError::into_inner).insert(step.path.to_owned());
        Ok(())
    })?;
    let wrong = judge(&wrong.into_inner().unwrap_or_else(PoisonError::into_inner));
    Ok(wrong.into_iter().chain(summary.private.as_ref().map(private)).collect())
}

/// Returns the warning about entries that are private, on purpose or by a umask.
fn private(EntryCount { count, first }: &EntryCount) -> Finding {
    let entries = if *count == 1 { "entry" } else { "entries" };
    let problem = format!("{count} {entries} that only root can read, such as {}", quoted(first));
    // The tree: /opt/NAME or /opt/.image/NAME.
    let names = if first.starts_with("/opt/.image") { 4 } else { 3 };
    let tree: PathBuf = first.components().take(names).collect();
    let fix = format!(
        "unless they are secret: chmod -R g+rX {} && fix-perms --only container, in the step that creates them",
        quoted(&tree)
    );
    let effect = "programs of the system user cannot read them, nor what is below them";
    Finding::fault("permissions", OPT, problem, effect, fix).as_warning()
}

fn judge(wrong: &BTreeSet<PathBuf>) -> Option<Finding> {
    let names: Vec<_> = wrong.iter().take(NAMED).map(|path| quoted(path)).collect();
    let more = if wrong.len() > NAMED { ", …" } else { "" };
    let (number, entries) = (wrong.len(), if wrong.len() == 1 { "entry" } else { "entries" });
    let problem = format!("{number} {entries} with a wrong owner or mode: {}{more}", names.join(", "));
    let fix = "end the step that creates them with: && fix-perms --only container";
    (!wrong.is_empty())
        .then(|| Finding::fault("permissions", OPT, problem, "the user cannot change them", fix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_entry_is_a_warning_about_its_tree() {
        for (first, tree) in [
            ("/opt/.image/app/sub/x", "/opt/.image/app"),
            ("/opt/app/sub/x", "/opt/app"),
            ("/opt/x", "/opt/x"),
        ] {
            let finding = private(&EntryCount { count: 2, first: first.into() });
            assert_eq!(finding.problem, format!("2 entries that only root can read, such as \"{first}\""));
            assert!(finding.remedy.contains(&format!("chmod -R g+rX \"{tree}\" &&")), "{finding:?}");
        }
    }

    #[test]
    fn wrong_entries_are_counted_and_some_are_named() {
        let judge =
            |names: &[&str]| judge(&names.iter().map(PathBuf::from).collect()).map(|finding| finding.problem);
        assert_eq!(judge(&[]), None);
        assert_eq!(
            judge(&["/opt/a\nb"]).as_deref(),
            Some("1 entry with a wrong owner or mode: \"/opt/a\\nb\"")
        );
        assert_eq!(
            judge(&["/opt/a", "/opt/b", "/opt/c", "/opt/d"]).as_deref(),
            Some("4 entries with a wrong owner or mode: \"/opt/a\", \"/opt/b\", \"/opt/c\", …")
        );
    }
}
