//! `NAME_FILE`: secrets in files, as Docker's official images accept them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use kit::{Env, Problem, ReadPolicy, invisible, variables};

use crate::environment_store::Loaded;
use crate::secrets::fallback;

/// Follows links, because Kubernetes mounts each secret as one.
const FILE: ReadPolicy = ReadPolicy::max_size(64_000);

/// Sets each secret variable from the file that `NAME_FILE` names, and removes `NAME_FILE`, which no program needs then.
/// A value that only an earlier start stored does not count.
pub fn read(env: &mut Env, loaded: &Loaded) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (variable, file) in variables::secret_files() {
        let Some(value) = env.get(&file).map(OsStr::to_owned) else { continue };
        env.unset(&file);
        let Some(content) = content(&value).transpose() else { continue };
        if loaded.has(env, variable.name) {
            env.unset(variable.name);
        }
        let message = match content {
            _ if env.text(variable.name).is_some() => {
                format!("{} is set too; using {0}", variable.name)
            }
            Ok(secret) => {
                env.set(variable.name, secret);
                continue;
            }
            Err(reason) => format!("{reason}; {}", fallback(variable.name)),
        };
        problems.push(Problem::new(file, message));
    }
    problems
}

/// Returns the file's content without the end of its last line, or nothing for a blank `path`.
fn content(path: &OsStr) -> Result<Option<OsString>, String> {
    let path = path.to_str().ok_or("the value is not UTF-8 text")?;
    let path = invisible::strip_invisible(path).0;
    if path.is_empty() {
        return Ok(None);
    }
    if !path.starts_with('/') {
        // Not repeated: it may be the secret itself.
        return Err("the value is not an absolute path".to_owned());
    }
    let mut bytes =
        FILE.read(Path::new(path)).map_err(|error| format!("cannot read {path:?}: {}", error.reason))?;
    if bytes.pop_if(|last| *last == b'\n').is_some() {
        bytes.pop_if(|last| *last == b'\r');
    }
    match bytes.as_slice() {
        [] => Err(format!("{path:?} is empty")),
        // With one in its environment, no program could be started.
        bytes if bytes.contains(&0) => Err(format!("{path:?} contains a null byte")),
        _ => Ok(Some(OsString::from_vec(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_becomes_the_variable_or_is_reported_with_what_holds_instead() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        for (name, bytes) in [
            ("plain", &b"secret"[..]),
            ("line", b"secret\n"),
            ("windows", b"secret\r\n"),
            ("lines", b"secret\n\n"),
            ("exact", b" \xffs=$(id)\r"),
            ("empty", b"\n"),
            ("utf-16", b"s\0e\0"),
            ("large", &vec![b'x'; 64_001]),
        ] {
            fs::write(at(name), bytes).unwrap();
        }
        fs::create_dir(at("..data")).unwrap();
        fs::write(at("..data/key"), "of kubernetes").unwrap();
        symlink("..data/key", at("link")).unwrap();
        let reason = |name: &str, reason: &str| Some(format!("cannot read {:?}: {reason}", at(name)));
        for (path, secret, reason) in [
            (at("plain"), &b"secret"[..], None),
            (format!(" '{}'\n", at("plain")), b"secret", None),
            (at("line"), b"secret", None),
            (at("windows"), b"secret", None),
            (at("lines"), b"secret\n", None),
            (at("exact"), b" \xffs=$(id)\r", None),
            (at("link"), b"of kubernetes", None),
            (" ".to_owned(), b"", None),
            (at("empty"), b"", Some(format!("{:?} is empty", at("empty")))),
            (at("utf-16"), b"", Some(format!("{:?} contains a null byte", at("utf-16")))),
            (at("large"), b"", reason("large", "it is larger than 64.0 kB")),
            (at("none"), b"", reason("none", "No such file or directory (os error 2)")),
            (at("..data"), b"", reason("..data", "it is a directory, not a regular file")),
            ("hunter2".to_owned(), b"", Some("the value is not an absolute path".to_owned())),
        ] {
            for (name, otherwise) in [
                ("CF_TUNNEL_TOKEN", "ignored"),
                ("USER_PASSWORD", "using the default"),
                ("WEB_PASSWORD", "using a generated one"),
                ("WEB_TOKEN", "using a generated one"),
            ] {
                let file = format!("{name}_FILE");
                // Compose sets a variable without a value to the empty string.
                let mut env: Env = [(name, ""), (&file, &path)].into_iter().collect();
                let problems = read(&mut env, &Loaded::default());
                assert_eq!(
                    env,
                    [(name, OsString::from_vec(secret.to_vec()))].into_iter().collect(),
                    "{path}"
                );
                let expected =
                    reason.as_ref().map(|reason| Problem::new(file, format!("{reason}; {otherwise}")));
                assert_eq!(problems, Vec::from_iter(expected), "{path}");
            }
        }
    }

    #[test]
    fn the_variable_itself_wins_and_other_names_stay() {
        let mut env: Env = [("WEB_TOKEN", "own"), ("WEB_TOKEN_FILE", "/none"), ("WEB_USER_FILE", "/none")]
            .into_iter()
            .collect();
        let problems = read(&mut env, &Loaded::default());
        assert_eq!(problems, [Problem::new("WEB_TOKEN_FILE", "WEB_TOKEN is set too; using WEB_TOKEN")]);
        assert_eq!(env, [("WEB_TOKEN", "own"), ("WEB_USER_FILE", "/none")].into_iter().collect());
    }
}
