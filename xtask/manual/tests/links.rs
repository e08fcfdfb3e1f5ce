//! Links of the repository's pages, and the length of its guides.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Longest guide, in lines; guarantees belong into `docs/design/`.
const MAX_LINES: usize = 60;

/// Pages by their path in the repository: those at its top, and all below these directories.
fn pages() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files: Vec<PathBuf> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    let mut directories = vec![root.join("docs"), root.join("images")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| (path.strip_prefix(&root).unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect()
}

/// Lines of a page outside its code blocks.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    page.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// Anchors of a page's headings, by GitHub's rule.
fn anchors(page: &str) -> Vec<String> {
    let headings = prose(page).filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|text| text.chars().filter(kept).collect::<String>().replace(' ', "-"))
        .collect()
}

/// Targets of a page's links: what stands between `](` and `)`.
fn targets(page: &str) -> impl Iterator<Item = &str> {
    prose(page).flat_map(|line| line.split("](").skip(1)).filter_map(|rest| Some(rest.split_once(')')?.0))
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
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let pages = pages();
    let mut broken = Vec::new();
    for (path, text) in &pages {
        for target in targets(text).filter(|target| !target.contains("://")) {
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
    let pages = pages();
    let readme = &pages[Path::new("README.md")];
    for (path, text) in pages.iter().filter(|(path, _)| path.parent() == Some(Path::new("docs"))) {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
        let link = format!("| [{}]({}) |", path.file_stem().unwrap().display(), path.display());
        assert!(readme.contains(&link), "the index of README.md lacks {}", path.display());
    }
}
