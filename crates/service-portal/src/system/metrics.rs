//! `/leonardo/metrics`: the container for Prometheus.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use journal::Timeline;
use kit::unix_time;
use process_control::Program;
use system_metrics::exposition::Kind::Gauge;
use system_metrics::exposition::{CONTENT_TYPE, Exposition};

use crate::app_state::AppState;
use crate::client::Client;
use crate::frame;
use crate::log_limit;
use crate::origins::Origins;
use crate::problems::{self, Severity};
use crate::processes::programs;
use crate::service_links::{self, Link};

/// `GET /leonardo/metrics`: returns all metrics, also to an API token.
pub async fn metrics(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    let (services, _) = state.registry().load().unwrap_or_else(|error| {
        log_limit::error(&error);
        Default::default()
    });
    let links = service_links::service_links(
        services,
        &Origins::new(&state, client),
        &state.journal().programs_by_log(),
    )
    .await;
    let programs = programs(&state).await.unwrap_or_default();
    let mut text = Exposition::default();
    state.system().watch();
    if let Some(sample) = state.system().latest() {
        sample.expose(&mut text);
    }
    expose(&state, &mut text, &links, &programs);
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text.into_text()).into_response()
}

fn expose(state: &AppState, text: &mut Exposition, links: &[Link], programs: &[Program]) {
    let up = links.iter().map(|link| {
        let labels = vec![("service", link.name.clone()), ("port", link.port.to_string())];
        (labels, f64::from(u8::from(link.state.alive)))
    });
    text.add("leonardo_service_up", Gauge, "1 if the service accepts connections.", up);
    let in_state = programs.iter().map(|program| {
        (vec![("program", program.name.clone()), ("state", program.state.to_lowercase())], 1.0)
    });
    text.add("leonardo_program_state", Gauge, "State of a supervised program, as label.", in_state);
    let entries = frame::entries(state);
    let ready = journal::is_ready(&entries);
    text.single("leonardo_ready", Gauge, "1 if late boot has ended.", Some(f64::from(u8::from(ready))));
    let timeline = Timeline::from_entries(&entries);
    let stages = timeline.stages.iter().map(|run| {
        let state = match (run.ended, run.result) {
            (None, _) => "running",
            (Some(_), Some(journal::StageResult::Done)) => "done",
            (Some(_), Some(journal::StageResult::Skipped)) => "skipped",
            (Some(_), _) => "failed",
        };
        (vec![("stage", run.stage.to_string()), ("state", state.to_owned())], 1.0)
    });
    text.add("leonardo_boot_stage", Gauge, "State of a stage of late boot, as label.", stages);
    let problems = problems::problems(state, &entries);
    let severities = [(Severity::Error, "error"), (Severity::Warning, "warning")].map(|(severity, name)| {
        let count = problems.iter().filter(|problem| problem.severity == severity).count();
        (vec![("severity", name.to_owned())], f64::from(u32::try_from(count).unwrap_or(u32::MAX)))
    });
    text.add("leonardo_problems", Gauge, "Problems that the portal shows.", severities);
    let sessions = state.sessions().list(unix_time::now()).len();
    let sessions = f64::from(u32::try_from(sessions).unwrap_or(u32::MAX));
    text.single("leonardo_sessions", Gauge, "Active sessions of browsers.", Some(sessions));
}
