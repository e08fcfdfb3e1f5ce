//! Registered services have programs that listen.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use journal::LogOwner;
use ports::{Phase, Registry, RejectedFile, Service, Status};

use crate::context::Context;
use crate::finding::{Finding, Verdict, show_log};

/// Directory with the logs of services.
const LOGS: &str = "/var/log/supervisor";
/// On loopback, a connection is accepted at once or not at all.
const TIMEOUT: Duration = Duration::from_millis(250);

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let (services, rejected) = Registry::with_settings(Path::new(ports::PATH), &context.env).load()?;
    let mut findings = vec![match services.len() {
        0 => Finding::pass("none is registered"),
        1 => Finding::pass("1 is registered"),
        count => Finding::pass(format!("{count} are registered")),
    }];
    findings.extend(rejected.iter().map(rejection));
    let programs = context.journal.programs_by_log();
    findings.extend(services.iter().filter_map(|service| {
        let log = service.log_file()?;
        let name = log.strip_suffix(".log").unwrap_or(&log);
        let source = Source {
            has_ended: service.has_ended(),
            log: Path::new(LOGS).join(&log).exists().then_some(name),
            program: programs.get(name),
        };
        fault(service, &source, accepts)
    }));
    if context.is_booting() {
        findings.iter_mut().for_each(|finding| finding.verdict = finding.verdict.min(Verdict::Warn));
    }
    Ok(findings)
}

fn rejection(file: &RejectedFile) -> Finding {
    let path = format!("{}/{}", ports::PATH, file.file);
    let is_directory = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
    let remedy = format!("rm {}{path}", if is_directory { "-r " } else { "" });
    Finding::fail(format!("{path} is ignored: {}", file.reason), remedy)
}

/// Where a registration comes from.
#[derive(Debug, Default)]
struct Source<'a> {
    /// True if the `service-run` that registered it has ended.
    has_ended: bool,
    /// Name of its log, if there is one.
    log: Option<&'a str>,
    /// The program of supervisord that writes this log.
    program: Option<&'a LogOwner>,
}

/// Returns what is wrong with a service.
fn fault(service: &Service, source: &Source, accepts: impl Fn(u16) -> bool) -> Option<Finding> {
    let name = format!("{} (port {})", service.service_name, service.proxy_port);
    let remove = format!("rm {}/{}", ports::PATH, service.proxy_port);
    let cause = match &service.status {
        Some(Status { phase: Phase::Failed, cause, .. }) => Some(cause.as_deref().unwrap_or("it failed")),
        _ => source.has_ended.then_some("its service-run has ended"),
    };
    if let Some(cause) = cause {
        let restarts = source.has_ended && source.program.is_some_and(|program| program.is_active);
        let restarts = if restarts { "; supervisord restarts it" } else { "" };
        return Some(Finding::fail(format!("{name}: {cause}{restarts}"), remedy(source, &remove)));
    }
    let is_awaited = |status: &Status| matches!(status.phase, Phase::Waiting | Phase::Starting);
    if service.status.as_ref().is_some_and(is_awaited) {
        return None;
    }
    let open = service.listen_ports();
    if open.iter().any(|port| accepts(*port)) {
        return None;
    }
    let seen = format!("{name}: nothing listens on 127.0.0.1:{}", service.listen_port);
    Some(Finding::fail(seen, format!("start its program, or remove the service: {remove}")))
}

/// Returns what to do about a service that has failed or ended. An entry is removed only if no program of supervisord will
/// replace it: it has the cause and the name of the log.
fn remedy(source: &Source, remove: &str) -> String {
    let next = match source.program {
        _ if !source.has_ended => None,
        Some(program) if program.is_active => None,
        Some(program) => Some(format!("supervisorctl start {}", program.name)),
        None => Some(remove.to_owned()),
    };
    match (source.log.map(show_log), next) {
        (Some(log), Some(next)) => format!("{log}; then: {next}"),
        (Some(log), None) => log,
        (None, Some(next)) => next,
        (None, None) => "read its program's output".to_owned(),
    }
}

fn accepts(port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), TIMEOUT).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_judged_by_its_state_and_by_who_listens() {
        let service = |phase: Option<Phase>| Service {
            service_name: "UI".into(),
            listen_port: 18_188,
            proxy_port: 8188,
            status: phase.map(|phase| Status { phase, since: 0, cause: Some("exit code 3".into()) }),
            ..Service::default()
        };
        let silent = Some(Finding::fail(
            "UI (port 8188): nothing listens on 127.0.0.1:18188",
            "start its program, or remove the service: rm /run/http_ports/8188",
        ));
        let program = |is_active| LogOwner { name: "ui".into(), is_active };
        let (active, stopped) = (program(true), program(false));
        let by_hand = Source::default();
        let ended = Source { has_ended: true, ..Source::default() };
        let running = Source { log: Some("ui"), program: Some(&active), ..Source::default() };
        let restarted = Source { has_ended: true, log: Some("ui"), program: Some(&active) };
        let given_up = Source { program: Some(&stopped), ..restarted };
        let left_behind = Source { program: None, ..restarted };
        let fail = |seen: &str, remedy: &str| Some(Finding::fail(format!("UI (port 8188): {seen}"), remedy));
        let (log, remove) = ("logtail ui -n 50 --no-follow", "rm /run/http_ports/8188");
        let (then_start, then_remove) =
            (format!("{log}; then: supervisorctl start ui"), format!("{log}; then: {remove}"));
        for (phase, source, accepts, expected) in [
            (None, &by_hand, true, None),
            (None, &by_hand, false, silent.clone()),
            (Some(Phase::Running), &running, false, silent),
            (Some(Phase::Waiting), &running, false, None),
            (Some(Phase::Starting), &running, false, None),
            (Some(Phase::Running), &ended, true, fail("its service-run has ended", remove)),
            (
                Some(Phase::Running),
                &restarted,
                true,
                fail("its service-run has ended; supervisord restarts it", log),
            ),
            (Some(Phase::Failed), &running, false, fail("exit code 3", log)),
            (Some(Phase::Failed), &by_hand, false, fail("exit code 3", "read its program's output")),
            (Some(Phase::Failed), &restarted, false, fail("exit code 3; supervisord restarts it", log)),
            (Some(Phase::Failed), &given_up, false, fail("exit code 3", &then_start)),
            (Some(Phase::Failed), &left_behind, false, fail("exit code 3", &then_remove)),
        ] {
            let found = fault(&service(phase), source, |_| accepts);
            assert_eq!(found, expected, "{phase:?} {source:?} {accepts}");
        }
    }
}
