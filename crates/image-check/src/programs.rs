//! Registered programs: the files of supervisord, as its own parser reads them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use kit::Env;

use crate::executable::{self, Unusable};
use crate::finding::Finding;
use crate::supervisor_parser::{self, Program, ProgramFile, Repeated, Section, abbreviate};
use crate::{supervisord, unread_files};

/// Name of the check.
const CHECK: &str = "programs";
/// Programs of extended images.
const ADDED: &str = "/etc/supervisor/conf.d";
/// Programs that start with the container.
const BASE: &str = "/etc/supervisor/base.d";
/// Kinds of sections that are programs.
const PROGRAM_KINDS: [&str; 4] = ["program:", "eventlistener:", "fcgi-program:", "group:"];

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
    findings
        .extend([ADDED, BASE].into_iter().flat_map(|directory| unread_files::check(Path::new(directory))));
    let mut readable = files.readable;
    match supervisord::check_readable() {
        Ok(()) => readable.insert(0, init::CONFIGURATION.into()),
        Err(finding) => findings.push(finding),
    }
    let parsed = supervisor_parser::parse(Path::new(init::CONFIGURATION), &readable, env)?;
    findings.extend(parsed.configuration.iter().flat_map(supervisord::judge));
    findings.extend(supervisord::missing_programs(&parsed.files, |file| !file.starts_with(ADDED)));
    let cannot_run = |program: &Program| {
        let found = program.words.first().map_or(Ok(None), |word| executable::find(word, env));
        found.and_then(|found| found.map_or(Ok(()), |path| executable::check_format(&path))).err()
    };
    let cannot_enter = |directory: &Path| executable::check_directory(directory, env).err();
    let (found, commands) = judge(&parsed.files, &cannot_run, &cannot_enter);
    findings.extend(found);
    Ok((findings, commands))
}

/// Judges the files; the functions return the problem of a program that cannot be run, and of a working directory.
fn judge(
    files: &[ProgramFile],
    cannot_run: &dyn Fn(&Program) -> Option<Unusable>,
    cannot_enter: &dyn Fn(&Path) -> Option<Unusable>,
) -> (Vec<Finding>, Vec<RegisteredCommand>) {
    let mut findings = Vec::new();
    let mut commands = Vec::new();
    let mut places: BTreeMap<&str, &Path> = BTreeMap::new();
    for ProgramFile { file, error, repeated, sections } in files {
        findings.extend(repeated.as_ref().map(|repeated| repetition(file, repeated)));
        let mut fault = |problem: String, effect: &str, fix: &str| {
            findings.push(Finding::fault(CHECK, file.display(), problem, effect, fix));
        };
        if let Some(error) = error {
            fault(abbreviate(error), effect(file), "correct the file");
        }
        for Section { header, error, environment, programs } in sections {
            if !PROGRAM_KINDS.iter().any(|kind| header.starts_with(kind)) {
                if file == Path::new(init::CONFIGURATION) {
                    continue;
                }
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
            for program in programs {
                let cannot = "the program does not start";
                let problem = match (&program.error, program.words.is_empty()) {
                    (Some(error), _) => {
                        Some((format!("{error} in command="), "correct the quotes".to_owned()))
                    }
                    (None, true) => Some(("the command is empty".to_owned(), "add a command".to_owned())),
                    (None, false) => cannot_run(program).map(|Unusable { problem, fix }| (problem, fix)),
                };
                if let Some((problem, fix)) = problem {
                    fault(format!("[{header}]: {problem}"), cannot, &fix);
                    continue;
                }
                if let Some(Unusable { problem, fix }) = program.directory.as_deref().and_then(cannot_enter) {
                    fault(format!("[{header}]: {problem}"), cannot, &fix);
                }
                let words = program.words.iter().map(OsString::from).collect();
                commands.push(RegisteredCommand { file: file.clone(), name: program.name.clone(), words });
            }
        }
    }
    (findings, commands)
}

/// Returns the finding of a section or an option that a file has twice.
fn repetition(file: &Path, Repeated { section, option, line }: &Repeated) -> Finding {
    let place = file.display();
    match option {
        None => {
            let problem = format!("a second [{section}] in line {line}");
            let effect = "supervisord mixes the options of both";
            Finding::fault(CHECK, place, problem, effect, "rename one of them, or remove it")
        }
        Some(option) => {
            let problem = format!("a second {option}= of [{section}] in line {line}");
            Finding::fault(CHECK, place, problem, "the first one has no effect", "remove one of them")
                .as_warning()
        }
    }
}

/// Returns what a file that supervisord refuses breaks.
fn effect(file: &Path) -> &'static str {
    if file.starts_with(ADDED) {
        "no program of conf.d starts"
    } else {
        "supervisord does not start, and so the container"
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

#[cfg(test)]
mod tests {
    use super::*;

    fn section(name: &str, command: &[&str]) -> Section {
        let program = Program {
            name: name.to_owned(),
            words: command.iter().map(ToString::to_string).collect(),
            error: None,
            directory: None,
        };
        Section {
            header: format!("program:{name}"),
            error: None,
            environment: String::new(),
            programs: vec![program],
        }
    }

    fn file(name: &str, sections: Vec<Section>) -> ProgramFile {
        ProgramFile { file: Path::new("/etc/supervisor").join(name), error: None, repeated: None, sections }
    }

    #[test]
    fn each_fault_is_named_once_and_valid_programs_are_returned() {
        let refused = |error: &str| Section { error: Some(error.to_owned()), ..section("x", &[]) };
        let unset = "Format string 'a %(ENV_HF_TOKEN)s' for 'program:x.command' contains names ('ENV_HF_TOKEN') which \
            cannot be expanded. Available names: ENV_A";
        let mut elsewhere = section("f", &["f"]);
        elsewhere.programs[0].directory = Some("/nosuch".into());
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
            ProgramFile {
                repeated: Some(Repeated { section: "program:f".to_owned(), option: None, line: 4 }),
                ..file("conf.d/f.conf", vec![elsewhere])
            },
            file("supervisord.conf", vec![Section { header: "supervisord".to_owned(), ..section("x", &[]) }]),
        ];
        let unusable =
            |problem: &str| Some(Unusable { problem: problem.to_owned(), fix: "install it".to_owned() });
        let cannot_run = |program: &Program| {
            program.words.iter().any(|word| word == "missing").then(|| unusable("missing is not in PATH"))?
        };
        let cannot_enter = |directory: &Path| unusable(&format!("{} does not exist", directory.display()));
        let (findings, commands) = judge(&files, &cannot_run, &cannot_enter);
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
                 effect: the program does not start\n      fix: install it",
                "FAIL  /etc/supervisor/conf.d/c.conf: [inet_http_server] is not a program\n      \
                 effect: it is ignored at a start, and a reload would change supervisord itself\n      \
                 fix: remove the section",
                "FAIL  /etc/supervisor/conf.d/d.conf: [program:d] passes a variable through environment=\n      \
                 effect: a quote in the user's value truncates it\n      fix: remove it: programs inherit all variables",
                "FAIL  /etc/supervisor/conf.d/e.conf: no section headers\n      \
                 effect: no program of conf.d starts\n      fix: correct the file",
                "FAIL  /etc/supervisor/conf.d/f.conf: a second [program:f] in line 4\n      \
                 effect: supervisord mixes the options of both\n      fix: rename one of them, or remove it",
                "FAIL  /etc/supervisor/conf.d/f.conf: [program:f]: /nosuch does not exist\n      \
                 effect: the program does not start\n      fix: install it",
            ]
        );
        let names: Vec<_> = commands.iter().map(|command| command.name.as_str()).collect();
        assert_eq!(names, ["boot", "a", "boot", "d", "f"]);
    }
}
