//! Links of the repository's pages, and the length of its guides.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

use std::path::{Component, Path, PathBuf};

use printed_commands::{pages, prose, root};

/// Longest guide, in lines; guarantees belong into `docs/design/`.
const MAX_LINES: usize = 60;

/// Anchors of a page's headings, by GitHub's rule.
fn anchors(page: &str) -> Vec<String> {
    let headings = prose(page).map(|(_, line)| line).filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|text| text.chars().filter(kept).collect::<String>().replace(' ', "-"))
        .collect()
}

/// Targets of a page's links and pictures.
fn targets(page: &str) -> impl Iterator<Item = &str> {
    const ENDS: [(&str, char); 4] = [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"'), ("href=\"", '"')];
    prose(page).flat_map(|(_, line)| {
        ENDS.into_iter().flat_map(move |(begin, end)| {
            line.split(begin).skip(1).filter_map(move |rest| Some(rest.split_once(end)?.0))
        })
    })
}

/// Returns whether an address of another site could be one: https, a host with a dot, no space.
fn is_address(target: &str) -> bool {
    let host = target.strip_prefix("https://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    host.contains('.') && !target.contains(char::is_whitespace)
}

/// Returns the path without `.` and `..`.
fn normalized(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(result.pop()),
            Component::CurDir => {}
            part => result.push(part),
        }
    }
    result
}

#[test]
fn every_link_between_pages_leads_to_a_file_and_a_heading() {
    let root = root();
    let pages = pages().unwrap();
    let mut broken = Vec::new();
    for (path, text) in &pages {
        for target in targets(text) {
            if target.contains("://") {
                if !is_address(target) {
                    broken.push(format!("{}: {target}", path.display()));
                }
                continue;
            }
            let (file, anchor) =
                target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
            let file =
                if file.is_empty() { path.clone() } else { normalized(&path.with_file_name("").join(file)) };
            let is_heading =
                |anchor| pages.get(&file).is_some_and(|page| anchors(page).iter().any(|a| a == anchor));
            if !root.join(&file).exists() || !anchor.is_none_or(is_heading) {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert_eq!(broken, [""; 0]);
    assert!(pages.len() > 30, "only {} pages were read", pages.len());
}

#[test]
fn a_guide_is_short_and_the_readme_lists_it() {
    let pages = pages().unwrap();
    let readme = &pages[Path::new("README.md")];
    for (path, text) in pages.iter().filter(|(path, _)| path.parent() == Some(Path::new("docs"))) {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
        let link = format!("| [{}]({}) |", path.file_stem().unwrap().display(), path.display());
        assert!(readme.contains(&link), "the index of README.md lacks {}", path.display());
    }
}
