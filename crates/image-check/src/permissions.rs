//! Owners and modes below `/opt`, by the rules of `fix-perms`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use fix_perms::Tree;
use kit::quote::quoted;

use crate::finding::Finding;

const OPT: &str = "/opt";
/// Number of paths that a finding names.
const NAMED: usize = 3;

/// Finds what `fix-perms --only container` would change.
pub fn check() -> Result<Vec<Finding>> {
    let group = uzers::get_group_by_name("leonardo").context("group leonardo does not exist")?;
    let tree = Tree::Container { path: OPT.into(), gid: group.gid() };
    let wrong: Mutex<BTreeSet<PathBuf>> = Mutex::default();
    fix_perms::fix_tree(&tree, true, &|step| {
        wrong.lock().unwrap_or_else(PoisonError::into_inner).insert(step.path.to_owned());
        Ok(())
    })?;
    Ok(judge(&wrong.into_inner().unwrap_or_else(PoisonError::into_inner)).into_iter().collect())
}

fn judge(wrong: &BTreeSet<PathBuf>) -> Option<Finding> {
    let names: Vec<_> = wrong.iter().take(NAMED).map(|path| quoted(path)).collect();
    let more = if wrong.len() > NAMED { ", …" } else { "" };
    let (number, entries) = (wrong.len(), if wrong.len() == 1 { "entry" } else { "entries" });
    let problem = format!("{number} {entries} with a wrong owner or mode: {}{more}", names.join(", "));
    let fix = "end the step that creates them with: && fix-perms --only container";
    (!wrong.is_empty()).then(|| {
        Finding::fault("permissions", Path::new(OPT).display(), problem, "the user cannot change them", fix)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
