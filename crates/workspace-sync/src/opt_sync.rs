//! `OPT_SYNC`: names of the trees below `/opt` that are synced besides the environments.

use kit::Problem;

/// Tree that is always synced.
pub const ENVIRONMENTS: &str = "micromamba";

/// Directories of the image itself: on the workspace, containers of different images would share them, and they are
/// used before a workspace is mounted.
const KEPT: [&str; 4] = ["leonardo", "caddy", "supervisor", "storage"];

/// Returns the names in `OPT_SYNC`, in order and without duplicates, and the problems of the others.
///
/// A name is one directory below `/opt`. It comes from the environment and becomes part of paths that root uses, so
/// anything else is refused.
pub fn parse(setting: Option<&str>) -> (Vec<String>, Vec<Problem>) {
    let mut names: Vec<String> = Vec::new();
    let mut problems = Vec::new();
    for name in setting.unwrap_or_default().split(':').map(str::trim).filter(|name| !name.is_empty()) {
        if let Some(reason) = refusal(name) {
            problems.push(Problem::new("OPT_SYNC", format!("{name:?} {reason}; it stays in the image")));
        } else if name != ENVIRONMENTS && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    (names, problems)
}

/// Returns the reason why `OPT_SYNC` cannot list this name for a tree of an extended image.
pub fn check_tree_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("is empty");
    } else if name.contains(':') {
        return Err("contains the separator of OPT_SYNC");
    } else if name.trim() != name {
        return Err("begins or ends with a blank");
    } else if name == ENVIRONMENTS {
        return Err("is always synced");
    }
    refusal(name).map_or(Ok(()), Err)
}

fn refusal(name: &str) -> Option<&'static str> {
    if name.contains('/') {
        Some("is a path, not the name of a directory below /opt")
    } else if name.starts_with('.') || name.starts_with('-') {
        Some("begins with a character that no tree may begin with")
    } else if name.chars().any(char::is_control) {
        Some("has a control character in it")
    } else if name.len() > 200 {
        Some("is longer than 200 bytes")
    } else if KEPT.contains(&name) {
        Some("belongs to the image itself")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_once_and_in_order() {
        let (names, problems) = parse(Some("ComfyUI: web ui :ComfyUI::micromamba"));
        assert_eq!(names, ["ComfyUI", "web ui"]);
        assert_eq!(problems, []);
        assert_eq!(parse(None), (vec![], vec![]));
        assert_eq!(parse(Some(" : ")), (vec![], vec![]));
    }

    #[test]
    fn what_is_no_name_is_refused_by_name_and_the_others_hold() {
        let long = "x".repeat(201);
        for bad in
            ["..", ".", "/", "a/b", "/etc", "../x", ".image", "-rf", "a\nb", "leonardo", "caddy", &long]
        {
            let (names, problems) = parse(Some(&format!("good:{bad}")));
            assert_eq!(names, ["good"], "{bad:?}");
            assert_eq!(problems.len(), 1, "{bad:?}");
            assert!(problems[0].message.starts_with(&format!("{bad:?} ")), "{}", problems[0].message);
        }
    }
}
