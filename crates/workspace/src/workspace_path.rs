//! `WORKSPACE`: validation of the path.

use std::fs;
use std::path::{Component, Path, PathBuf};

use kit::SettingsReader;

/// Path of the workspace unless `WORKSPACE` is set.
pub const DEFAULT_PATH: &str = "/workspace";
/// System trees, including the image's `/opt`: their content must not change its owner.
const SYSTEM_TREES: [&str; 15] = [
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/proc", "/run", "/sbin",
    "/sys", "/usr", "/var",
];
/// Directories that must not be given to a user; providers may mount volumes below them.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/", "/root", "/tmp"];

/// Reads `WORKSPACE`; an unsuitable path is reported and replaced by the default.
#[must_use]
pub fn path_from_setting(reader: &mut SettingsReader<'_>) -> PathBuf {
    let Some(text) = reader.text("WORKSPACE") else { return DEFAULT_PATH.into() };
    let refusal = match tidy(&text) {
        // A link in the path may lead into the system too.
        Some(path) if is_system_path(&path) || is_system_path(&resolved(&path)) => "belongs to the system",
        Some(path) => return path,
        None => "is not an absolute path without ..",
    };
    reader.problem("WORKSPACE", format!("{text:?} {refusal}; using {DEFAULT_PATH:?}"));
    DEFAULT_PATH.into()
}

/// True if a directory belongs to the system, judged by its path alone.
#[must_use]
pub fn is_system_path(path: &Path) -> bool {
    SYSTEM_DIRECTORIES.iter().any(|directory| path == Path::new(directory))
        || SYSTEM_TREES.iter().any(|tree| path.starts_with(tree))
}

/// Returns the path without doubled and trailing slashes; `None` if it is relative, contains `..`, or control
/// characters.
fn tidy(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let plain = path.is_absolute()
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
        && !text.chars().any(char::is_control);
    plain.then(|| path.components().collect())
}

/// Resolves the links of the existing part of a path.
fn resolved(path: &Path) -> PathBuf {
    path.ancestors()
        .find_map(|above| {
            let real = fs::canonicalize(above).ok()?;
            let rest = path.strip_prefix(above).ok()?;
            // Joining an empty path would add a slash.
            Some(if rest.as_os_str().is_empty() { real } else { real.join(rest) })
        })
        .unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(value: &str) -> (PathBuf, Vec<String>) {
        let env = [("WORKSPACE", value)].into_iter().collect();
        let mut reader = SettingsReader::new(&env);
        let path = path_from_setting(&mut reader);
        (path, reader.into_problems().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_workspace_is_an_absolute_path_of_its_own() {
        for (given, used) in [
            ("/my/own//path/", "/my/own/path"),
            ("/data", "/data"),
            ("/mnt/x y", "/mnt/x y"),
            ("/optional", "/optional"),
            ("/home", "/home"),
            ("/root/volume", "/root/volume"),
            (" ", "/workspace"),
        ] {
            assert_eq!(read_one(given), (used.into(), Vec::new()), "{given}");
        }
    }

    #[test]
    fn the_system_is_never_a_workspace_not_even_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/etc", &link).unwrap();
        let below = link.join("not/there/yet");
        for given in [
            "/",
            "//",
            "/opt/",
            "/opt/x",
            "/etc",
            "/proc/1",
            "/run",
            "/usr/local",
            "/var/lib",
            "/root",
            "/tmp",
            link.to_str().unwrap(),
            below.to_str().unwrap(),
        ] {
            let problem = format!("WORKSPACE: {given:?} belongs to the system; using \"/workspace\"");
            assert_eq!(read_one(given), ("/workspace".into(), vec![problem]));
        }
    }

    #[test]
    fn a_path_that_climbs_or_starts_nowhere_is_refused() {
        for given in ["relative", "/a/../etc", "//a/../b", "../x", "/a\nb", "~/x", "-x"] {
            let problem =
                format!("WORKSPACE: {given:?} is not an absolute path without ..; using \"/workspace\"");
            assert_eq!(read_one(given), ("/workspace".into(), vec![problem]));
        }
    }
}
