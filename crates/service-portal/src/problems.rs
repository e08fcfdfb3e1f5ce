//! Problems of the container, the same on every page: each with its source, a remedy and the log to read.

use journal::{DownProgram, Entry};
use kit::settings;
use serde::Serialize;

use crate::app_state::AppState;
use crate::boot_problems;
use crate::log_limit;
use crate::storage_status::storage_status;

/// Maximum number of invalid registry files that are listed; the log has all of them.
const MAX_FILES: usize = 20;

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something is down or has failed.
    Error,
    /// Something works, but not as it was asked for.
    Warning,
}

impl Severity {
    /// Returns the class of its elements.
    pub fn class(self) -> &'static str {
        match self {
            Self::Error => "bad",
            Self::Warning => "warn",
        }
    }
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How much it matters.
    pub severity: Severity,
    /// The setting, program or service that has it.
    pub source: String,
    /// What is wrong, as a sentence without a full stop.
    pub message: String,
    /// Next step of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Name of the log that says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

impl Problem {
    /// Creates an error.
    pub fn error(source: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, source.into(), message.into())
    }

    /// Creates a warning.
    pub fn warning(source: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, source.into(), message.into())
    }

    fn new(severity: Severity, source: String, message: String) -> Self {
        Self { severity, source, message, remedy: None, log: None }
    }

    /// Adds the next step of the user.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Adds the name of a log.
    pub fn log(mut self, log: impl Into<String>) -> Self {
        self.log = Some(log.into());
        self
    }

    /// Moves what follows the first semicolon of the message to the remedy: many programs report both in one line.
    fn split_remedy(mut self) -> Self {
        if let Some((message, remedy)) = self.message.split_once("; ") {
            self.remedy = Some(remedy.to_owned());
            self.message = message.to_owned();
        }
        self
    }
}

/// Returns all present problems, errors first. `entries` is the journal of the boot.
pub fn problems(state: &AppState, entries: &[Entry]) -> Vec<Problem> {
    let mut all: Vec<Problem> = down_programs(state);
    all.extend(
        journal::proxy_problem(state.proxy_problem())
            .map(|problem| Problem::warning(problem.setting, problem.message).log("caddy")),
    );
    all.extend(boot_problems::list(entries));
    all.extend(rejected_services(state));
    all.extend(
        state.unsaved_warning().map(|message| Problem::warning("portal", message).log("serviceportal")),
    );
    all.extend(state.system().warnings().into_iter().map(of_system));
    all.extend(tunnels(state));
    if let Some(storage) = storage_status(state.storage()) {
        let complaints = storage.problems.into_iter();
        all.extend(complaints.map(|message| Problem::warning("storage", message).log("storagemonitor")));
    }
    all.sort_by_key(|problem| problem.severity == Severity::Warning);
    all
}

fn down_programs(state: &AppState) -> Vec<Problem> {
    state.journal().down_programs().into_iter().map(down_program).collect()
}

fn down_program(down: DownProgram) -> Problem {
    let severity = match down.severity {
        journal::Severity::Error => Severity::Error,
        journal::Severity::Warning => Severity::Warning,
    };
    let log = down.log.as_deref().and_then(journal::log_name).map(str::to_owned);
    let start = |name: &str| format!("start it on the page Processes, or run: supervisorctl start {name}");
    Problem {
        remedy: down.remedy.map(|_| start(&down.name)),
        log,
        ..Problem::new(severity, down.name, down.message)
    }
}

fn of_system(warning: system_metrics::Warning) -> Problem {
    let problem = Problem::warning(warning.source, warning.message);
    Problem { remedy: warning.remedy, ..problem }
}

fn rejected_services(state: &AppState) -> Vec<Problem> {
    let (_, rejected) = state.registry().load().unwrap_or_else(|error| {
        log_limit::error(&error);
        Default::default()
    });
    let shown = rejected.iter().take(MAX_FILES);
    let remedy = |file: &str| format!("correct or remove /run/http_ports/{file}");
    shown
        .map(|file| {
            Problem::error(format!("service file {}", file.file), &file.reason).remedy(remedy(&file.file))
        })
        .collect()
}

fn tunnels(state: &AppState) -> Vec<Problem> {
    let problem = |settings::Problem { setting, message }| {
        let is_named = setting == "CF_TUNNEL_TOKEN";
        let problem = Problem::warning(setting, message).split_remedy();
        if is_named { problem.log("cloudflared") } else { problem.log("quicktunnel") }
    };
    state.tunnels().problems().into_iter().map(problem).collect()
}
