//! Trees that are laid out, and the line of a Dockerfile that selects all of them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::layout::{Entry, Layout};

/// Returns the names of the trees below `opt` that are laid out, in order, without the environments, which are always synced.
pub fn trees(opt: &Path) -> Result<Vec<String>> {
    let cannot = || format!("cannot read {}", opt.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(opt).with_context(cannot)? {
        let name = entry.with_context(cannot)?.file_name();
        let Some(name) = name.to_str().filter(|name| workspace_sync::check_tree_name(name).is_ok()) else {
            continue;
        };
        let layout = Layout::new(opt, name);
        let (link, tree) = layout.read()?;
        if link == Entry::Link(layout.tree) && tree == Entry::Directory {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Returns the line of a Dockerfile that adds the trees to those that `OPT_SYNC` selects, unless it selects all of them.
#[must_use]
pub fn missing_line(selected: Option<&str>, trees: &[String]) -> Option<String> {
    let selected = selected.unwrap_or_default();
    let mut names: Vec<&str> = selected.split(':').map(str::trim).filter(|name| !name.is_empty()).collect();
    let known = names.len();
    for tree in trees {
        if !names.contains(&tree.as_str()) {
            names.push(tree);
        }
    }
    let value = names.join(":");
    let value = if value.contains(char::is_whitespace) { format!("\"{value}\"") } else { value };
    (names.len() > known).then(|| format!("ENV OPT_SYNC={value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_for_the_dockerfile_has_every_tree() {
        let trees = ["app".to_owned(), "webui".to_owned()];
        for (selected, line) in [
            (None, Some("ENV OPT_SYNC=app:webui")),
            (Some("webui:"), Some("ENV OPT_SYNC=webui:app")),
            (Some("web ui"), Some("ENV OPT_SYNC=\"web ui:app:webui\"")),
            (Some("webui: app"), None),
        ] {
            assert_eq!(missing_line(selected, &trees).as_deref(), line, "{selected:?}");
        }
        assert_eq!(missing_line(None, &[]), None);
    }
}
