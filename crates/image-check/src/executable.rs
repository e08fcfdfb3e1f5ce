//! Programs that are started by a path or a name: found, executable, and with the interpreter of a script.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kit::Env;

use crate::mappings::workspace;

/// Number of bytes of a file that the kernel reads to find its interpreter (`BINPRM_BUF_SIZE`).
const HEADER_BYTES: u64 = 256;
/// Directories that are filled when a container starts, besides the workspace.
const FILLED_LATER: [&str; 3] = ["/home", "/run", "/tmp"];
const INSTALL: &str = "install it, or correct the command";

/// A program that cannot be run.
#[derive(Debug, PartialEq, Eq)]
pub struct Unusable {
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub fix: String,
}

impl Unusable {
    fn new(problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { problem: problem.into(), fix: fix.into() }
    }
}

/// Finds a program as supervisord does, in its own `PATH`; `None` for one that is there later, such as on the workspace.
pub fn find(program: &str, env: &Env) -> Result<Option<PathBuf>, Unusable> {
    let path = Path::new(program);
    if program.contains('/') {
        if !path.is_absolute() || path.starts_with(workspace(env)) {
            return Ok(None);
        }
        return check(path, env).map(|()| Some(path.to_owned()));
    }
    let Some(found) = in_path(program, env) else {
        return Err(Unusable::new(format!("{program} is not in PATH"), INSTALL));
    };
    check(&found, env).map(|()| Some(found))
}

fn in_path(program: &str, env: &Env) -> Option<PathBuf> {
    let search = env.text("PATH").unwrap_or_default();
    search.split(':').map(|directory| Path::new(directory).join(program)).find(|path| file(path).is_ok())
}

/// Checks a program and the interpreter of a script.
pub fn check(path: &Path, env: &Env) -> Result<(), Unusable> {
    file(path)?;
    interpreter(path, &header(path), env)
}

/// Checks that the kernel runs the file: unlike a shell, supervisord does not run other texts as scripts.
pub fn check_format(path: &Path) -> Result<(), Unusable> {
    let header = header(path);
    if header.starts_with(b"#!") || header.contains(&0) {
        return Ok(());
    }
    let problem = format!("{} is a script without an interpreter", path.display());
    Err(Unusable::new(problem, "begin it with the line: #!/bin/bash"))
}

/// Checks a working directory.
pub fn check_directory(directory: &Path, env: &Env) -> Result<(), Unusable> {
    let later = FILLED_LATER.iter().map(Path::new).chain([workspace(env)]);
    if directory.is_dir()
        || !directory.is_absolute()
        || later.into_iter().any(|top| directory.starts_with(top))
    {
        return Ok(());
    }
    let problem = format!("the directory {} does not exist", directory.display());
    Err(Unusable::new(problem, "create it, or correct directory="))
}

/// True if only root can read a file or directory, or enter one above it.
pub fn is_private(path: &Path) -> bool {
    // No bit for the group and others.
    let is_closed = |path: &Path| {
        fs::metadata(path).is_ok_and(|meta| meta.uid() == 0 && meta.mode().trailing_zeros() >= 6)
    };
    fs::canonicalize(path).is_ok_and(|path| path.ancestors().any(is_closed))
}

fn file(path: &Path) -> Result<(), Unusable> {
    let shown = path.display();
    let problem = match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => "is not a file",
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => "is not executable",
        Ok(meta) if meta.len() == 0 => "is empty",
        Ok(_) => return Ok(()),
        Err(_) => "does not exist",
    };
    Err(Unusable::new(format!("{shown} {problem}"), INSTALL))
}

/// Start of a regular file; nothing if it cannot be read.
fn header(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(HEADER_BYTES).read_to_end(&mut bytes);
    }
    bytes
}

/// Checks the first line of a script.
fn interpreter(path: &Path, header: &[u8], env: &Env) -> Result<(), Unusable> {
    let Some(line) = header.strip_prefix(b"#!") else { return Ok(()) };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let (shown, line) = (path.display(), String::from_utf8_lossy(line));
    if line.ends_with('\r') {
        let fix = format!("convert it: sed -i 's/\\r$//' {shown}");
        return Err(Unusable::new(format!("{shown} has Windows line breaks"), fix));
    }
    let fix = "install the interpreter, or correct the first line";
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let Some(program) = words.next() else {
        return Err(Unusable::new(format!("{shown} names no interpreter"), fix));
    };
    let missing = |what: &str| Err(Unusable::new(format!("{shown}: its interpreter {what}"), fix));
    let at = Path::new(program);
    if at.is_absolute() && !at.starts_with(workspace(env)) {
        if let Err(unusable) = file(at) {
            return missing(&unusable.problem);
        }
        let name = words.find(|word| *word != "-S");
        // Not its options and variables.
        let is_name = |name: &str| !name.starts_with('-') && !name.contains(['=', '/']);
        if let Some(name) = name.filter(|name| at.ends_with("env") && is_name(name))
            && in_path(name, env).is_none()
        {
            return missing(&format!("{name} is not in PATH"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    #[test]
    fn a_program_that_never_starts_is_named_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app");
        let env: Env = [("PATH", "/nowhere:/usr/bin:/bin")].into_iter().collect();
        let at = path.display();
        let interpreter = "install the interpreter, or correct the first line";
        for (text, mode, expected) in [
            ("#!/bin/sh\n", 0o755, None),
            ("#! /usr/bin/env -S sh -e\n", 0o755, None),
            ("#!/usr/bin/env sh", 0o755, None),
            ("#!/workspace/venv/bin/python\n", 0o755, None),
            ("\u{7f}ELF\0", 0o755, None),
            (
                "echo\n",
                0o755,
                Some((
                    format!("{at} is a script without an interpreter"),
                    "begin it with the line: #!/bin/bash".to_owned(),
                )),
            ),
            ("", 0o755, Some((format!("{at} is empty"), INSTALL.to_owned()))),
            ("#!/bin/sh\n", 0o644, Some((format!("{at} is not executable"), INSTALL.to_owned()))),
            (
                "#!/bin/sh\r\n",
                0o755,
                Some((
                    format!("{at} has Windows line breaks"),
                    format!("convert it: sed -i 's/\\r$//' {at}"),
                )),
            ),
            ("#!\n", 0o755, Some((format!("{at} names no interpreter"), interpreter.to_owned()))),
            (
                "#!/nosuch/interp -x\n",
                0o755,
                Some((
                    format!("{at}: its interpreter /nosuch/interp does not exist"),
                    interpreter.to_owned(),
                )),
            ),
            (
                "#!/usr/bin/env no-such-program\n",
                0o755,
                Some((
                    format!("{at}: its interpreter no-such-program is not in PATH"),
                    interpreter.to_owned(),
                )),
            ),
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let found = find(path.to_str().unwrap(), &env).and_then(|found| check_format(&found.unwrap()));
            assert_eq!(found.err().map(|unusable| (unusable.problem, unusable.fix)), expected, "{text:?}");
        }
    }

    #[test]
    fn what_a_start_creates_is_there_later() {
        let env: Env = [("WORKSPACE", "/data")].into_iter().collect();
        let problem = |program: &str| find(program, &env).err().map(|unusable| unusable.problem);
        assert_eq!(problem("/data/app/run"), None);
        assert_eq!(problem("/workspace/run").as_deref(), Some("/workspace/run does not exist"));
        assert_eq!(find("/workspace/run", &Env::default()), Ok(None));
        for directory in ["/data/app", "/home/user", "/run/app", "app", "/usr"] {
            assert_eq!(check_directory(Path::new(directory), &env), Ok(()));
        }
        let missing = check_directory(Path::new("/nosuch"), &env).unwrap_err();
        assert_eq!(missing.problem, "the directory /nosuch does not exist");
    }
}
