//! State of a service or of one of its instances, in words.

use std::time::{Duration, UNIX_EPOCH};

use kit::duration::words;
use kit::rfc3339;
use ports::{Phase, Service, Status};
use serde::Serialize;

/// State on the page of services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// True if it can be used now.
    pub alive: bool,
    /// True if it waits for its start or is starting.
    pub pending: bool,
    /// Words for it, such as `starting for 3 min`.
    #[serde(rename = "state")]
    pub text: String,
    /// A word or two for it.
    #[serde(skip)]
    pub label: &'static str,
    /// What else is known about it, as a clause.
    #[serde(skip)]
    pub details: Option<String>,
}

impl State {
    /// Describes a registered state, or none. `accepts` is true if it accepts connections, `now` in seconds since the epoch.
    pub fn new(status: Option<&Status>, accepts: bool, now: u64) -> Self {
        let alive = accepts && may_be_running(status);
        let is_pending = |status: &Status| matches!(status.phase, Phase::Waiting | Phase::Starting);
        let (label, details) = label_and_details(status, accepts, now);
        let pending = status.is_some_and(is_pending);
        Self { alive, pending, text: text(status, alive, now), label, details }
    }

    /// Returns the class of its elements. Only a failure is bad: a service that does not respond may have just been started.
    pub fn class(&self) -> &'static str {
        match self {
            Self { alive: true, .. } => "good",
            Self { pending: true, .. } => "busy",
            Self { label: FAILED, .. } => "bad",
            Self { .. } => "warn",
        }
    }
}

const FAILED: &str = "failed";

/// Returns a word or two for a state, and what else is known about it.
fn label_and_details(status: Option<&Status>, accepts: bool, now: u64) -> (&'static str, Option<String>) {
    let Some(Status { phase, since, cause }) = status else {
        return if accepts { ("up", None) } else { ("not responding", None) };
    };
    let age = age(*since, now);
    match phase {
        Phase::Waiting => {
            ("not started", Some(format!("waits for {}", cause.as_deref().unwrap_or(ITS_TURN))))
        }
        Phase::Starting if accepts => ("starting", Some(format!("for {age}, port open, not ready yet"))),
        Phase::Starting => ("starting", Some(format!("for {age}, port not open yet"))),
        Phase::Failed => {
            let cause = cause.as_ref().map_or_else(String::new, |cause| format!("{cause}, "));
            (FAILED, Some(format!("{cause}{age} ago")))
        }
        Phase::Running if accepts => ("up", Some(format!("for {age}"))),
        Phase::Running => ("not responding", Some(format!("started {age} ago, nothing listens on its port"))),
    }
}

/// Returns the service without states that a killed `service-run` has left: only a connection shows whether it is running.
pub fn without_stale_states(mut service: Service) -> Service {
    if service.has_ended() {
        let of_instances = service.instances.iter_mut().map(|instance| &mut instance.status);
        let states = of_instances.chain(&mut service.status);
        states.filter(|state| state.phase != Phase::Failed).for_each(|state| state.phase = Phase::Running);
    }
    service
}

/// True if only a connection shows whether it is running.
fn may_be_running(status: Option<&Status>) -> bool {
    status.is_none_or(|status| status.phase == Phase::Running)
}

fn text(status: Option<&Status>, alive: bool, now: u64) -> String {
    match status {
        Some(Status { phase: Phase::Waiting, cause, .. }) => {
            format!("waiting for {}", cause.as_deref().unwrap_or(ITS_TURN))
        }
        Some(Status { phase: Phase::Starting, since, .. }) => format!("starting for {}", age(*since, now)),
        Some(Status { phase: Phase::Failed, cause, .. }) => failed(cause.as_deref()),
        _ if alive => "running".to_owned(),
        _ => "not responding".to_owned(),
    }
}

/// Returns what a service does instead of responding, and since when, if it has registered that.
///
/// The cause of a failure is left out for a service without a login: it may name files.
pub fn explanation(service: &Service, now: u64) -> Option<(String, String)> {
    let Status { phase, since, cause } = service.status.as_ref()?;
    let (cause, age) = (cause.as_deref(), age(*since, now));
    match phase {
        Phase::Waiting => {
            Some((format!("waits for {}", cause.unwrap_or(ITS_TURN)), format!("It has waited for {age}.")))
        }
        Phase::Starting => Some(("is starting".to_owned(), format!("It has been starting for {age}."))),
        Phase::Failed => {
            // The page stays as it is until the service responds.
            let at = rfc3339::seconds(UNIX_EPOCH + Duration::from_secs(*since))
                .replace('T', " ")
                .replace('Z', " UTC");
            Some((failed(cause.filter(|_| service.proxy_secure)), format!("It failed at {at}.")))
        }
        Phase::Running => None,
    }
}

/// Waiting without a registered reason.
const ITS_TURN: &str = "its start";

fn failed(cause: Option<&str>) -> String {
    cause.map_or_else(|| "failed".to_owned(), |cause| format!("failed: {cause}"))
}

fn age(since: u64, now: u64) -> String {
    words(now.saturating_sub(since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ports::Instance;

    fn status(phase: Phase, cause: Option<&str>) -> Status {
        Status { phase, since: 1_000, cause: cause.map(str::to_owned) }
    }

    #[test]
    fn a_state_is_registered_or_seen_by_a_connection() {
        let (provisioning, code) = (Some("provisioning"), Some("exit code 1"));
        for (status, accepts, expected) in [
            (None, true, ("good", "running", "up")),
            (None, false, ("warn", "not responding", "not responding")),
            (Some(status(Phase::Running, None)), true, ("good", "running", "up for 3 min")),
            (
                Some(status(Phase::Running, None)),
                false,
                ("warn", "not responding", "not responding started 3 min ago, nothing listens on its port"),
            ),
            (
                Some(status(Phase::Waiting, provisioning)),
                false,
                ("busy", "waiting for provisioning", "not started waits for provisioning"),
            ),
            (
                Some(status(Phase::Waiting, None)),
                false,
                ("busy", "waiting for its start", "not started waits for its start"),
            ),
            // A server may accept connections long before it can be used.
            (
                Some(status(Phase::Starting, None)),
                true,
                ("busy", "starting for 3 min", "starting for 3 min, port open, not ready yet"),
            ),
            (
                Some(status(Phase::Starting, None)),
                false,
                ("busy", "starting for 3 min", "starting for 3 min, port not open yet"),
            ),
            (
                Some(status(Phase::Failed, code)),
                true,
                ("bad", "failed: exit code 1", "failed exit code 1, 3 min ago"),
            ),
            (Some(status(Phase::Failed, None)), false, ("bad", "failed", "failed 3 min ago")),
        ] {
            let state = State::new(status.as_ref(), accepts, 1_180);
            let shown = [state.label, state.details.as_deref().unwrap_or_default()].join(" ");
            assert_eq!((state.class(), state.text.as_str(), shown.trim()), expected, "{status:?} {accepts}");
        }
        let future = State::new(Some(&status(Phase::Starting, None)), false, 0);
        assert_eq!(future.text, "starting for 0 s", "the clock was set back");
    }

    #[test]
    fn a_service_that_does_not_respond_is_explained_by_its_registered_state() {
        let explained = |phase, proxy_secure| {
            let cause = (phase != Phase::Starting).then_some("provisioning");
            let service = Service { proxy_secure, status: Some(status(phase, cause)), ..Service::default() };
            explanation(&service, 1_180).map(|(heading, since)| format!("{heading}. {since}"))
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(explained(Phase::Waiting, true), text("waits for provisioning. It has waited for 3 min."));
        assert_eq!(explained(Phase::Starting, true), text("is starting. It has been starting for 3 min."));
        assert_eq!(
            explained(Phase::Failed, true),
            text("failed: provisioning. It failed at 1970-01-01 00:16:40 UTC.")
        );
        assert_eq!(
            explained(Phase::Failed, false),
            text("failed. It failed at 1970-01-01 00:16:40 UTC."),
            "no login"
        );
        assert_eq!(explained(Phase::Running, true), None);
        assert_eq!(explanation(&Service::default(), 1_180), None);
    }

    #[test]
    fn of_the_states_that_a_killed_service_run_has_left_only_a_failure_is_shown() {
        let [waiting, failed] = [status(Phase::Waiting, None), status(Phase::Failed, None)];
        let instance =
            |status: &Status| Instance { listen_port: 1, label: String::new(), status: status.clone() };
        let mut service = Service {
            pid: Some(u32::MAX),
            status: Some(waiting.clone()),
            instances: [&waiting, &failed].map(instance).into(),
            ..Service::default()
        };
        let texts = |service: &Service| {
            let of_instances = service.instances.iter().map(|instance| &instance.status);
            let states = of_instances.chain(&service.status);
            states.map(|status| State::new(Some(status), false, 1_180).text).collect::<Vec<_>>()
        };
        let seen = without_stale_states(service.clone());
        assert_eq!(texts(&seen), ["not responding", "failed", "not responding"]);
        assert_eq!(explanation(&seen, 1_180), None);
        service.pid = None;
        assert_eq!(without_stale_states(service.clone()), service);
    }
}
