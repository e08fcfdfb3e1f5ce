//! Files of supervisord, as its own parser reads them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use kit::Env;
use serde::Deserialize;

/// Python of supervisord.
const PYTHON: &str = "/opt/supervisor/bin/python3";
const READER: &str = include_str!("read_programs.py");
/// Variables that `init` sets in every container, with a value that every option takes: `USER_NAME` is an account that exists
/// in the build. An end-to-end test compares the names with the environment of a container.
const ALWAYS_SET: &str = include_str!("always_set.txt");
/// Maximum length of a message of the parser.
const MAX_MESSAGE: usize = 300;

/// Everything that was read.
#[derive(Debug, Deserialize)]
pub struct Parsed {
    /// supervisord's own options, if its file has no syntax error.
    pub configuration: Option<Configuration>,
    /// The files, in the given order.
    pub files: Vec<ProgramFile>,
}

/// Options of supervisord itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Configuration {
    /// The reason for which supervisord refuses them.
    pub error: Option<String>,
    /// Patterns of the files that it includes.
    pub includes: Vec<String>,
    /// Paths of its sockets.
    pub sockets: Vec<String>,
    /// True if it also listens on a port.
    pub is_public: bool,
    /// True if its sockets have the interface of supervisorctl.
    pub has_interface: bool,
    /// Account that it switches to.
    pub uid: u32,
    /// Directory of the logs of programs that name none.
    pub log_directory: PathBuf,
}

/// A file.
#[derive(Debug, Deserialize)]
pub struct ProgramFile {
    /// Its path.
    pub file: PathBuf,
    /// Syntax error.
    pub error: Option<String>,
    /// The first repetition in it.
    pub repeated: Option<Repeated>,
    /// Its sections.
    pub sections: Vec<Section>,
}

/// A section or an option that a file has twice.
#[derive(Debug, Deserialize)]
pub struct Repeated {
    /// Header of the section.
    pub section: String,
    /// The option; `None` if it is the section.
    pub option: Option<String>,
    /// Line of the second one.
    pub line: u64,
}

/// A section.
#[derive(Debug, Deserialize)]
pub struct Section {
    /// As in `[program:NAME]`.
    pub header: String,
    /// The reason for which supervisord refuses it.
    pub error: Option<String>,
    /// The option `environment`, before expansion.
    pub environment: String,
    /// Programs that it declares.
    pub programs: Vec<Program>,
}

/// A program and its command.
#[derive(Debug, Deserialize)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Program and arguments.
    pub words: Vec<String>,
    /// The reason for which the command has no words.
    pub error: Option<String>,
    /// Its working directory, if it has one.
    pub directory: Option<PathBuf>,
}

/// Runs the parser on the files, of which `configuration` is supervisord's own.
pub fn parse(configuration: &Path, files: &[PathBuf], env: &Env) -> Result<Parsed> {
    let mut environment: BTreeMap<String, String> = ALWAYS_SET
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for (name, value) in env.iter() {
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        environment.entry(text(name)).or_insert_with(|| text(value));
    }
    let input =
        serde_json::json!({ "environment": environment, "configuration": configuration, "files": files });
    let mut python = Command::new(PYTHON);
    // Without site packages of its environment there is no supervisor, so not -S.
    python.args(["-I", "-c", READER]).env_clear().env("LANG", "C.UTF-8");
    let output = kit::cmd::stdout_with_input(&mut python, &serde_json::to_vec(&input)?)?;
    serde_json::from_str(&output).context("cannot parse the programs as supervisord reads them")
}

/// Returns a message of the parser without names of files and lists of variables.
pub fn abbreviate(message: &str) -> String {
    let ends = [" Available names:", " in section '", "\nfile: "];
    let message =
        ends.iter().fold(message, |text, end| text.split_once(end).map_or(text, |(start, _)| start));
    message.trim().chars().take(MAX_MESSAGE).collect()
}
