//! Registered programs: the files of supervisord, as its own parser reads them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use kit::Env;
use serde::Deserialize;

use crate::finding::Finding;
use crate::mappings::workspace;

/// Name of the check.
const CHECK: &str = "programs";
/// Programs of extended images.
const ADDED: &str = "/etc/supervisor/conf.d";
/// Programs that start with the container.
const BASE: &str = "/etc/supervisor/base.d";
/// Python of supervisord.
const PYTHON: &str = "/opt/supervisor/bin/python3";
const READER: &str = include_str!("read_programs.py");
/// Variables that `init` sets in every container, with a value that every option takes: `USER_NAME` is an account that exists
/// in the build. An end-to-end test compares the names with the environment of a container.
const ALWAYS_SET: &str = include_str!("always_set.txt");
/// Kinds of sections that are programs.
const PROGRAM_KINDS: [&str; 4] = ["program:", "eventlistener:", "fcgi-program:", "group:"];
/// Maximum length of a message of the parser.
const MAX_MESSAGE: usize = 300;

/// A file as supervisord reads it.
#[derive(Debug, Deserialize)]
struct ProgramFile {
    file: PathBuf,
    error: Option<String>,
    sections: Vec<Section>,
}

#[derive(Debug, Deserialize)]
struct Section {
    /// As in `[program:NAME]`.
    header: String,
    error: Option<String>,
    /// The option `environment`, before expansion.
    environment: String,
    programs: Vec<Program>,
}

/// A program and its command.
#[derive(Debug, Deserialize)]
struct Program {
    name: String,
    words: Vec<String>,
    error: Option<String>,
}

/// A command with its place, for further checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredCommand {
    /// Its file.
    pub file: PathBuf,
    /// Name of the program.
    pub name: String,
    /// Program and arguments.
    pub words: Vec<OsString>,
}

/// Checks the files of both directories; also returns the commands of valid programs.
pub fn check(env: &Env) -> Result<(Vec<Finding>, Vec<RegisteredCommand>)> {
    let files = boot::program_files(Path::new(ADDED), Path::new(BASE))?;
    let conflict = |(file, problem): &(PathBuf, String)| {
        let fix = if problem.contains("name of the base image") {
            "rename the program"
        } else {
            "remove it or make it a plain file"
        };
        // The place has the path already.
        let repeated = format!("cannot read {}: ", file.display());
        let problem = problem.strip_prefix(&repeated).unwrap_or(problem);
        Finding::fault(CHECK, file.display(), problem, effect(Path::new(ADDED)), fix)
    };
    let mut findings: Vec<Finding> = files.problems.iter().map(conflict).collect();
    let (found, commands) = judge(&read(&files.readable, env)?, &|program| find_program(program, env));
    findings.extend(found);
    Ok((findings, commands))
}

/// Runs supervisord's parser.
fn read(files: &[PathBuf], env: &Env) -> Result<Vec<ProgramFile>> {
    let mut environment: BTreeMap<String, String> = ALWAYS_SET
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for (name, value) in env.iter() {
        let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
        environment.entry(text(name)).or_insert_with(|| text(value));
    }
    let input = serde_json::json!({ "environment": environment, "files": files });
    let mut python = Command::new(PYTHON);
    // Without site packages of its environment there is no supervisor, so not -S.
    python.args(["-I", "-c", READER]).env_clear().env("LANG", "C.UTF-8");
    let output = kit::cmd::stdout_with_input(&mut python, &serde_json::to_vec(&input)?)?;
    serde_json::from_str(&output).context("cannot parse the programs as supervisord reads them")
}

/// Judges the files; `find` returns the problem of a program that cannot be run.
fn judge(
    files: &[ProgramFile],
    find: &dyn Fn(&str) -> Option<String>,
) -> (Vec<Finding>, Vec<RegisteredCommand>) {
    let mut findings = Vec::new();
    let mut commands = Vec::new();
    let mut places: BTreeMap<&str, &Path> = BTreeMap::new();
    for ProgramFile { file, error, sections } in files {
        let mut fault = |problem: String, effect: &str, fix: &str| {
            findings.push(Finding::fault(CHECK, file.display(), problem, effect, fix));
        };
        if let Some(error) = error {
            fault(abbreviate(error), effect(file), "correct the file");
        }
        for Section { header, error, environment, programs } in sections {
            if !PROGRAM_KINDS.iter().any(|kind| header.starts_with(kind)) {
                let nothing = "it is ignored at a start, and a reload would change supervisord itself";
                fault(format!("[{header}] is not a program"), nothing, "remove the section");
                continue;
            }
            // The base image's own names are reported by the stage that refuses them.
            if let Some(other) = places.insert(header, file)
                && !other.starts_with(BASE)
            {
                fault(
                    format!("[{header}] is also in {}", other.display()),
                    "supervisord mixes the options of both",
                    "rename one of them",
                );
            }
            if let Some(error) = error {
                let (problem, fix) = explain(header, error);
                fault(problem, effect(file), fix);
                continue;
            }
            if environment.contains("%(ENV_") {
                fault(
                    format!("[{header}] passes a variable through environment="),
                    "a quote in the user's value truncates it",
                    "remove it: programs inherit all variables",
                );
            }
            for Program { name, words, error } in programs {
                let cannot = "the program does not start";
                let problem = match (error, words.first()) {
                    (Some(error), _) => Some((format!("{error} in command="), "correct the quotes")),
                    (None, None) => Some(("the command is empty".to_owned(), "add a command")),
                    (None, Some(program)) => {
                        find(program).map(|problem| (problem, "install it, or correct the command"))
                    }
                };
                if let Some((problem, fix)) = problem {
                    fault(format!("[{header}]: {problem}"), cannot, fix);
                    continue;
                }
                let words = words.iter().map(OsString::from).collect();
                commands.push(RegisteredCommand { file: file.clone(), name: name.clone(), words });
            }
        }
    }
    (findings, commands)
}

/// Returns what a file that supervisord refuses breaks.
fn effect(file: &Path) -> &'static str {
    if file.starts_with(BASE) {
        "supervisord does not start, and so the container"
    } else {
        "no program of conf.d starts"
    }
}

/// Returns the problem of a section that supervisord refuses, and the fix.
fn explain(header: &str, error: &str) -> (String, &'static str) {
    match error.split_once("names ('ENV_").and_then(|(_, rest)| rest.split_once('\'')) {
        Some((name, _)) => (
            format!("[{header}] uses %(ENV_{name})s, which may be unset"),
            "remove it: programs inherit all variables; for an argument, use a script that reads the variable",
        ),
        None => (format!("[{header}]: {}", abbreviate(error)), "correct the option"),
    }
}

fn abbreviate(message: &str) -> String {
    let ends = [" Available names:", " in section '", "\nfile: "];
    let message =
        ends.iter().fold(message, |text, end| text.split_once(end).map_or(text, |(start, _)| start));
    message.trim().chars().take(MAX_MESSAGE).collect()
}

/// Returns why supervisord cannot run a program, which it looks up in its own `PATH`. One on the workspace is there later.
pub fn find_program(program: &str, env: &Env) -> Option<String> {
    let path = Path::new(program);
    if program.contains('/') {
        let is_later = !path.is_absolute() || path.starts_with(workspace(env));
        return if is_later { None } else { problem(path) };
    }
    let search = env.text("PATH").unwrap_or_default();
    let found = search.split(':').any(|directory| problem(&Path::new(directory).join(program)).is_none());
    (!found).then(|| format!("{program} is not in PATH"))
}

fn problem(path: &Path) -> Option<String> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(meta) if !meta.is_file() => Some(format!("{shown} is not a file")),
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => Some(format!("{shown} is not executable")),
        Ok(_) => None,
        Err(_) => Some(format!("{shown} does not exist")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_on_the_workspace_is_there_later() {
        let env: Env = [("WORKSPACE", "/data")].into_iter().collect();
        assert_eq!(find_program("/data/app/run", &env), None);
        assert_eq!(find_program("/workspace/run", &env).as_deref(), Some("/workspace/run does not exist"));
        assert_eq!(find_program("/workspace/run", &Env::default()), None);
    }

    fn section(name: &str, command: &[&str]) -> Section {
        let program = Program {
            name: name.to_owned(),
            words: command.iter().map(ToString::to_string).collect(),
            error: None,
        };
        Section {
            header: format!("program:{name}"),
            error: None,
            environment: String::new(),
            programs: vec![program],
        }
    }

    fn file(name: &str, sections: Vec<Section>) -> ProgramFile {
        ProgramFile { file: Path::new("/etc/supervisor").join(name), error: None, sections }
    }

    #[test]
    fn each_fault_is_named_once_and_valid_programs_are_returned() {
        let refused = |error: &str| Section { error: Some(error.to_owned()), ..section("x", &[]) };
        let unset = "Format string 'a %(ENV_HF_TOKEN)s' for 'program:x.command' contains names ('ENV_HF_TOKEN') which \
            cannot be expanded. Available names: ENV_A";
        let files = [
            file("base.d/boot.conf", vec![section("boot", &["boot"])]),
            file("conf.d/a.conf", vec![section("a", &["a", "--x"]), refused(unset)]),
            file("conf.d/b.conf", vec![section("a", &["missing"]), section("boot", &["boot"])]),
            file(
                "conf.d/c.conf",
                vec![Section { header: "inet_http_server".to_owned(), ..section("x", &[]) }],
            ),
            file(
                "conf.d/d.conf",
                vec![Section { environment: "A=\"%(ENV_A)s\"".to_owned(), ..section("d", &["d"]) }],
            ),
            ProgramFile { error: Some("no section headers".to_owned()), ..file("conf.d/e.conf", vec![]) },
        ];
        let (findings, commands) =
            judge(&files, &|program| (program == "missing").then(|| "missing is not in PATH".to_owned()));
        let texts: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "FAIL  /etc/supervisor/conf.d/a.conf: [program:x] uses %(ENV_HF_TOKEN)s, which may be unset\n      \
                 effect: no program of conf.d starts\n      \
                 fix: remove it: programs inherit all variables; for an argument, use a script that reads the variable",
                "FAIL  /etc/supervisor/conf.d/b.conf: [program:a] is also in /etc/supervisor/conf.d/a.conf\n      \
                 effect: supervisord mixes the options of both\n      fix: rename one of them",
                "FAIL  /etc/supervisor/conf.d/b.conf: [program:a]: missing is not in PATH\n      \
                 effect: the program does not start\n      fix: install it, or correct the command",
                "FAIL  /etc/supervisor/conf.d/c.conf: [inet_http_server] is not a program\n      \
                 effect: it is ignored at a start, and a reload would change supervisord itself\n      \
                 fix: remove the section",
                "FAIL  /etc/supervisor/conf.d/d.conf: [program:d] passes a variable through environment=\n      \
                 effect: a quote in the user's value truncates it\n      fix: remove it: programs inherit all variables",
                "FAIL  /etc/supervisor/conf.d/e.conf: no section headers\n      \
                 effect: no program of conf.d starts\n      fix: correct the file",
            ]
        );
        let names: Vec<_> = commands.iter().map(|command| command.name.as_str()).collect();
        assert_eq!(names, ["boot", "a", "boot", "d"]);
    }
}
