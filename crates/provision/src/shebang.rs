//! The first line of a script: `#!`, an interpreter and at most one argument, as the kernel reads it (execve(2),
//! `fs/binfmt_script.c`).

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::failure::Failure;

/// Length in bytes at which the kernel cuts the line.
const MAX_LENGTH: usize = 255;
/// Without an argument, they are the login shell itself.
const LOGIN_SHELLS: [&[u8]; 2] = [b"/bin/bash", b"/usr/bin/bash"];
/// They take an argument with blanks as one option or file.
const SHELLS: [&str; 5] = ["bash", "sh", "dash", "ksh", "zsh"];
/// Interpreters of files that bash should read, and that are not run directly.
const FALSE: [&[u8]; 2] = [b"/bin/false", b"/usr/bin/false"];

/// Interpreter that a first line names.
#[derive(Debug, PartialEq, Eq)]
struct Interpreter<'a> {
    path: &'a [u8],
    argument: Option<&'a [u8]>,
}

/// Returns true if the kernel runs the script, false if the login shell reads it; an error if the kernel would refuse it.
pub fn has_interpreter(script: &[u8]) -> Result<bool, Failure> {
    let Some(line) = script.strip_prefix(b"#!") else { return Ok(false) };
    let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let rejected = |why: &str| {
        let shown: String = String::from_utf8_lossy(line).chars().take(80).collect();
        Failure::new(
            format!("invalid shebang line: #!{shown}: {why}"),
            "begin the script with #!/bin/bash, or with another interpreter by its whole path and at most one argument",
        )
    };
    if line.len() + 2 > MAX_LENGTH {
        return Err(rejected("it is longer than 255 bytes"));
    }
    let Some(interpreter) = parse(line) else { return Err(rejected("it names no interpreter")) };
    if FALSE.contains(&interpreter.path)
        || (LOGIN_SHELLS.contains(&interpreter.path) && interpreter.argument.is_none())
    {
        return Ok(false);
    }
    match problem(&interpreter) {
        Some(why) => Err(rejected(&why)),
        None => Ok(true),
    }
}

/// Splits a line after its `#!`: the argument is everything after the first blanks, without trailing ones.
fn parse(line: &[u8]) -> Option<Interpreter<'_>> {
    let is_blank = |&byte: &u8| byte == b' ' || byte == b'\t';
    let end = line.iter().rposition(|byte| !is_blank(byte))? + 1;
    let start = line.iter().position(|byte| !is_blank(byte))?;
    let line = &line[start..end];
    let Some(separator) = line.iter().position(is_blank) else {
        return Some(Interpreter { path: line, argument: None });
    };
    let (path, rest) = line.split_at(separator);
    let argument = rest.iter().position(|byte| !is_blank(byte)).map(|start| &rest[start..]);
    Some(Interpreter { path, argument })
}

/// Returns the reason for which the kernel, or `env`, would not run it.
fn problem(interpreter: &Interpreter<'_>) -> Option<String> {
    let path = Path::new(OsStr::from_bytes(interpreter.path));
    if path.is_relative() {
        return Some("the interpreter is not an absolute path".to_owned());
    }
    match fs::metadata(path) {
        Err(error) => return Some(format!("the interpreter cannot be run: {error}")),
        Ok(meta) if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 => {
            return Some("the interpreter is not a program".to_owned());
        }
        Ok(_) => {}
    }
    let words =
        interpreter.argument.filter(|argument| argument.contains(&b' ') || argument.contains(&b'\t'))?;
    let name = path.file_name()?.to_str()?;
    if SHELLS.contains(&name) {
        let words = String::from_utf8_lossy(words);
        return Some(format!(
            "{name} gets all of it as one argument; write: #!/usr/bin/env -S {} {words}",
            path.display()
        ));
    }
    (name == "env" && !words.starts_with(b"-"))
        .then(|| "env gets all of it as one name; write #!/usr/bin/env -S, then the words".to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Runs a file with this content; returns its output if the kernel could run it.
    fn kernel(content: &[u8]) -> Option<Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("script");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let printed = Command::new(&path).output().ok()?.stdout;
        let name = path.as_os_str().as_bytes();
        printed.strip_suffix(b"\n")?.strip_suffix(name).map(<[u8]>::to_vec)
    }

    /// Returns what `echo` prints before the script's name.
    fn arguments(line: &[u8]) -> Option<Vec<u8>> {
        let argument = parse(line)?.argument.map(|argument| [argument, b" "].concat());
        Some(argument.unwrap_or_default())
    }

    #[test]
    fn a_shebang_is_parsed_like_the_kernel_parses_it() {
        for line in [
            &b"/bin/echo"[..],
            b" \t/bin/echo",
            b"/bin/echo -x",
            b"/bin/echo \t a  b\tc \t ",
            b"/bin/echo\ta",
            b"/bin/echo 'a b' \"",
            b"/bin/echo \xff\xfe",
            b"/usr/bin/env echo",
        ] {
            let content = [b"#!", line, b"\nexit\n"].concat();
            let seen = kernel(&content);
            let expected = if line.ends_with(b"env echo") { Some(Vec::new()) } else { arguments(line) };
            assert!(seen.is_some() && seen == expected, "{}: {seen:?}", line.escape_ascii());
            assert_eq!(has_interpreter(&content), Ok(true), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn an_interpreter_that_the_kernel_refuses_is_rejected_before_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("plain");
        fs::write(&plain, "").unwrap();
        let too_long = format!("/bin/echo {}", "x".repeat(244));
        let just_right = &too_long[..too_long.len() - 1];
        assert_eq!(has_interpreter(format!("#!{just_right}\n").as_bytes()), Ok(true));
        assert_eq!(kernel(format!("#!{just_right}\n").as_bytes()), arguments(just_right.as_bytes()));
        for (line, why) in [
            ("", "it names no interpreter"),
            (" \t", "it names no interpreter"),
            ("bash", "the interpreter is not an absolute path"),
            (
                "/no/such/interpreter -e",
                "the interpreter cannot be run: No such file or directory (os error 2)",
            ),
            ("/etc", "the interpreter is not a program"),
            (plain.to_str().unwrap(), "the interpreter is not a program"),
            ("/bin/bash\r", "the interpreter cannot be run: No such file or directory (os error 2)"),
            (&too_long, "it is longer than 255 bytes"),
            (
                "/usr/bin/env echo -n",
                "env gets all of it as one name; write #!/usr/bin/env -S, then the words",
            ),
            (
                "/bin/bash -euo pipefail",
                "bash gets all of it as one argument; write: #!/usr/bin/env -S /bin/bash -euo pipefail",
            ),
            (
                "/bin/sh \t-e\t-u",
                "sh gets all of it as one argument; write: #!/usr/bin/env -S /bin/sh -e\t-u",
            ),
        ] {
            let content = format!("#!{line}\necho\n");
            let failure = has_interpreter(content.as_bytes()).unwrap_err();
            assert!(failure.cause.ends_with(&format!(": {why}")), "{failure:?}");
            // It cuts the argument silently; everything else it refuses, or fails to run.
            let cut = kernel(content.as_bytes()).map(|printed| printed.len());
            assert_eq!(cut, (line == too_long).then_some(244), "{line:?}");
        }
    }

    #[test]
    fn the_login_shell_reads_what_is_for_it() {
        for script in [
            "echo",
            "",
            " #!/bin/dash",
            "#!/bin/bash\n",
            "#! /usr/bin/bash \n",
            "#!/bin/false\n",
            "#!/usr/bin/false -x",
        ] {
            assert_eq!(has_interpreter(script.as_bytes()), Ok(false), "{script}");
        }
        for script in
            ["#!/bin/bash -e\n", "#!/bin/sh\n", "#!/usr/bin/env bash\n", "#!/usr/bin/env -S bash -e\n"]
        {
            assert_eq!(has_interpreter(script.as_bytes()), Ok(true), "{script}");
        }
    }
}
