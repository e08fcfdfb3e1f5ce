//! Messages that `docs/messages.md` explains, searched in the sources.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use printed_commands::root;

/// Appends the code of each Rust source and shell script below a directory, without tests and comments.
fn add_sources(directory: &Path, sources: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            add_sources(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "sh") {
            let text = fs::read_to_string(path).unwrap();
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            let is_code = |line: &&str| !line.trim_start().starts_with("//");
            sources.extend(code.split_inclusive('\n').filter(is_code));
        }
    }
}

/// Parts of the messages in a page's tables, between `…` and words in capitals.
fn parts(page: &str) -> Vec<String> {
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let messages = cells.flat_map(|cell| cell.split('`').step_by(2));
    let is_placeholder =
        |word: &str| word == "…" || (word.len() > 2 && word.chars().all(|c| c.is_ascii_uppercase()));
    let mut parts = vec![String::new()];
    for message in messages {
        for word in message.split(' ') {
            let word = word.trim_end_matches(':');
            match parts.last_mut().unwrap() {
                _ if is_placeholder(word) => parts.push(String::new()),
                part if part.is_empty() => word.clone_into(part),
                part => part.extend([" ", word]),
            }
        }
        parts.push(String::new());
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[test]
fn every_message_of_the_guide_is_in_the_sources() {
    let page = fs::read_to_string(root().join("docs/messages.md")).unwrap();
    let mut sources = String::new();
    for directory in ["crates", "images/base/steps"] {
        add_sources(&root().join(directory), &mut sources);
    }
    let parts = parts(&page);
    assert!(parts.len() > 20, "only {} parts were found", parts.len());
    let missing: Vec<_> = parts.into_iter().filter(|part| !sources.contains(part.as_str())).collect();
    assert_eq!(missing, [""; 0]);
}
