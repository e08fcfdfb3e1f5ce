//! Problems of the container, the same on every page: each with its source, a remedy and the log to read.

use std::collections::BTreeMap;

use journal::{DownProgram, Entry, LogOwner};
use kit::settings;
use ports::{Phase, RejectedFile, Service, Status};
use serde::Serialize;

use crate::app_state::AppState;
use crate::boot_problems;
use crate::log_limit;
use crate::service_state::without_stale_states;
use crate::storage_status::storage_status;

/// Maximum number of invalid registry files that are listed; the log has all of them.
const MAX_FILES: usize = 20;

/// Severity of a problem.
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub severity: Severity,
    /// The setting, program or service that has it.
    pub source: String,
    /// The problem, as a sentence without a full stop.
    pub message: String,
    /// Next step of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Name of the log that says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Program whose start or restart may resolve it.
    #[serde(skip)]
    pub program: Option<LogOwner>,
}

impl Problem {
    pub fn error(source: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, source.into(), message.into())
    }

    pub fn warning(source: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, source.into(), message.into())
    }

    fn new(severity: Severity, source: String, message: String) -> Self {
        Self { severity, source, message, remedy: None, log: None, program: None }
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
    let (services, rejected) = state.registry().load().unwrap_or_else(|error| {
        log_limit::error(&error);
        Default::default()
    });
    let programs = state.journal().programs_by_log();
    let names: BTreeMap<&str, &str> = services
        .iter()
        .filter_map(|service| {
            Some((programs.get(&service_log(service)?)?.name.as_str(), service.service_name.as_str()))
        })
        .collect();
    let mut all: Vec<Problem> =
        state.journal().down_programs().into_iter().map(|down| down_program(down, &names)).collect();
    all.extend(
        journal::proxy_problem(state.proxy_problem())
            .map(|problem| Problem::warning(problem.setting, problem.message).log("caddy")),
    );
    all.extend(boot_problems::list(entries));
    all.extend(rejected.iter().take(MAX_FILES).map(rejected_file));
    let failed: Vec<Problem> = services
        .into_iter()
        .map(without_stale_states)
        .flat_map(|service| failures(&service, &programs, &all))
        .collect();
    all.extend(failed);
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

/// Describes a program that is down; `names` has the services of programs.
fn down_program(down: DownProgram, names: &BTreeMap<&str, &str>) -> Problem {
    let severity = match down.severity {
        journal::Severity::Error => Severity::Error,
        journal::Severity::Warning => Severity::Warning,
    };
    let source = match names.get(down.name.as_str()) {
        Some(service) if **service != down.name => format!("{service} ({})", down.name),
        _ => down.name.clone(),
    };
    Problem {
        program: down.remedy.is_some().then_some(LogOwner { name: down.name, is_active: false }),
        remedy: down.remedy,
        log: down.log.as_deref().and_then(journal::log_name).map(str::to_owned),
        ..Problem::new(severity, source, down.message)
    }
}

fn of_system(warning: system_metrics::Warning) -> Problem {
    let problem = Problem::warning(warning.source, warning.message);
    Problem { remedy: warning.remedy, ..problem }
}

/// Returns the name of a service's log.
fn service_log(service: &Service) -> Option<String> {
    Some(service.log_file()?.strip_suffix(".log")?.to_owned())
}

/// Returns the failures of a service and its instances, unless its program is among the `known` problems.
fn failures(service: &Service, programs: &BTreeMap<String, LogOwner>, known: &[Problem]) -> Vec<Problem> {
    let log = service_log(service);
    if log.is_some() && known.iter().any(|problem| problem.log == log) {
        return Vec::new();
    }
    let program = log.as_ref().and_then(|log| programs.get(log));
    let whole = service.status.iter().map(|status| (String::new(), status));
    let instances =
        service.instances.iter().map(|instance| (format!("{}: ", instance.label), &instance.status));
    let failed = whole.chain(instances).filter(|(_, status)| status.phase == Phase::Failed);
    let problem = |(label, status): (String, &Status)| {
        let cause = status.cause.as_ref().map_or_else(String::new, |cause| format!(": {cause}"));
        let problem = Problem::error(&service.service_name, format!("{label}failed{cause}"));
        Problem { log: log.clone(), program: program.cloned(), ..problem }
    };
    failed.map(problem).collect()
}

fn rejected_file(rejected: &RejectedFile) -> Problem {
    Problem::error(format!("service file {}", rejected.file), &rejected.reason)
        .remedy(format!("correct or remove /run/http_ports/{}", rejected.file))
}

fn tunnels(state: &AppState) -> Vec<Problem> {
    let problem = |settings::Problem { setting, message }| {
        let is_named = setting == "CF_TUNNEL_TOKEN";
        let problem = Problem::warning(setting, message).split_remedy();
        if is_named { problem.log("cloudflared") } else { problem.log("quicktunnel") }
    };
    state.tunnels().problems().into_iter().map(problem).collect()
}
