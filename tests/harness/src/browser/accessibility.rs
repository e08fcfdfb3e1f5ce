//! axe-core: accessibility of the page that a browser shows.

use std::fmt;

use serde_json::{Value, json};

use super::Browser;

/// `vendor/axe-core/README.md` says where it is from.
const AXE: &str = include_str!("../../vendor/axe-core/axe.min.js");
/// Rules of WCAG 2.2 up to level AA, and what is recommended beyond it.
const TAGS: [&str; 7] = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"];

/// A rule that a page breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: String,
    /// False: a recommendation, which no level of WCAG demands.
    pub is_required: bool,
    help: String,
    /// Selector of each element, its HTML, and the reason.
    elements: Vec<[String; 3]>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.rule, self.help)?;
        self.elements.iter().try_for_each(|[selector, html, reason]| {
            let reason = reason.replace('\n', "\n      ");
            writeln!(f, "  {selector}  {html}\n      {reason}")
        })
    }
}

impl Browser {
    /// Rules that the page breaks as it is now.
    #[track_caller]
    pub fn accessibility_violations(&self) -> Vec<Violation> {
        let run = format!("return axe.run({}).then(({{ violations }}) => violations)", options());
        // In one call, because the page may reload between two.
        let found = self.run(&format!("if (!window.axe) {{ {AXE} }}\n{run}"));
        found.as_array().expect("a list").iter().map(violation).collect()
    }
}

fn options() -> Value {
    json!({"runOnly": {"type": "tag", "values": TAGS}, "resultTypes": ["violations"]})
}

fn violation(found: &Value) -> Violation {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let elements = list(&found["nodes"]).into_iter().map(|node| {
        let selector: Vec<String> = list(&node["target"]).iter().map(text).collect();
        let html: String = text(&node["html"]).chars().take(160).collect();
        [selector.join(" "), html, text(&node["failureSummary"])]
    });
    Violation {
        rule: text(&found["id"]),
        is_required: list(&found["tags"]).iter().any(|tag| text(tag).starts_with("wcag")),
        help: text(&found["help"]),
        elements: elements.collect(),
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    #[test]
    fn the_vendored_file_is_the_one_that_its_readme_names() {
        let digest: String = Sha256::digest(super::AXE).iter().map(|byte| format!("{byte:02x}")).collect();
        let readme = include_str!("../../vendor/axe-core/README.md");
        assert!(readme.contains(&format!("`{digest}`")), "axe.min.js has {digest}");
        let version = readme.split("| version | ").nth(1).and_then(|rest| rest.split(' ').next());
        assert!(super::AXE.starts_with(&format!("/*! axe v{}\n", version.expect("a version"))));
    }
}
