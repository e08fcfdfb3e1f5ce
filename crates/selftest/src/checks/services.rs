//! Registered services have programs that listen.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use ports::{Phase, Registry, RejectedFile, Service, Status};

use crate::context::Context;
use crate::finding::{Finding, Verdict};

/// On loopback, a connection is accepted at once or not at all.
const TIMEOUT: Duration = Duration::from_millis(250);

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let (services, rejected) = Registry::new(Path::new(ports::PATH)).load()?;
    let mut findings = vec![match services.len() {
        0 => Finding::pass("none is registered"),
        1 => Finding::pass("1 is registered"),
        count => Finding::pass(format!("{count} are registered")),
    }];
    findings.extend(rejected.iter().map(rejection));
    findings.extend(services.iter().filter_map(|service| fault(service, service.has_ended(), accepts)));
    if context.is_booting() {
        findings.iter_mut().for_each(|finding| finding.verdict = finding.verdict.min(Verdict::Warn));
    }
    Ok(findings)
}

fn rejection(file: &RejectedFile) -> Finding {
    let path = format!("{}/{}", ports::PATH, file.file);
    Finding::fail(format!("{path} is ignored: {}", file.reason), format!("rm {path}"))
}

/// Returns what is wrong with a service; `ended` is whether the `service-run` that registered it has ended.
fn fault(service: &Service, ended: bool, accepts: impl Fn(u16) -> bool) -> Option<Finding> {
    let name = format!("{} (port {})", service.service_name, service.proxy_port);
    let remove = format!("rm {}/{}", ports::PATH, service.proxy_port);
    if ended {
        return Some(Finding::fail(format!("{name}: its service-run has ended"), remove));
    }
    if let Some(Status { phase: Phase::Failed, cause, .. }) = &service.status {
        let cause = cause.as_deref().unwrap_or("it failed");
        let log = service.log_file().unwrap_or_default();
        let log = log.strip_suffix(".log").unwrap_or_default();
        return Some(Finding::fail(format!("{name}: {cause}"), format!("logtail {log} --since 10m")));
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
        let silent = Finding::fail(
            "UI (port 8188): nothing listens on 127.0.0.1:18188",
            "start its program, or remove the service: rm /run/http_ports/8188",
        );
        let ended = Finding::fail("UI (port 8188): its service-run has ended", "rm /run/http_ports/8188");
        let failed = Finding::fail("UI (port 8188): exit code 3", "logtail ui --since 10m");
        for (phase, has_ended, accepts, expected) in [
            (None, false, true, None),
            (None, false, false, Some(silent.clone())),
            (Some(Phase::Running), false, false, Some(silent)),
            (Some(Phase::Waiting), false, false, None),
            (Some(Phase::Starting), false, false, None),
            (Some(Phase::Failed), false, false, Some(failed)),
            (Some(Phase::Running), true, true, Some(ended)),
        ] {
            let found = fault(&service(phase), has_ended, |_| accepts);
            assert_eq!(found, expected, "{phase:?} {has_ended} {accepts}");
        }
    }
}
