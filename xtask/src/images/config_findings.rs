//! What the configuration of an image replaces of the base image's: without it, the container does not start as the base does.

use super::layer_archive::Settings;
use super::layer_findings::abbreviate;
use super::lint::Row;

const INIT: [&str; 2] = ["/opt/leonardo/bin/init.sh", "/opt/leonardo/bin/init"];
/// Signals at which supervisord ends its programs in order; without one, Docker sends SIGTERM.
const STOP_SIGNALS: [&str; 10] = ["", "SIGTERM", "TERM", "15", "SIGINT", "INT", "2", "SIGQUIT", "QUIT", "3"];

/// Returns the rows of an image's configuration.
pub fn find(settings: &Settings) -> Vec<Row> {
    let health = settings.healthcheck.as_ref().and_then(|health| health.test.first());
    let rows = [
        user(settings.user.as_deref().unwrap_or_default()),
        command(settings),
        health.is_none_or(|first| first == "NONE").then(|| {
            Row::warn(
                "HEALTHCHECK".to_owned(),
                "the image has none, so a container that does not work is never unhealthy".to_owned(),
                "remove HEALTHCHECK NONE; if the builder drops it, build in Docker's format",
            )
        }),
        stop_signal(settings.stop_signal.as_deref().unwrap_or_default()),
    ];
    rows.into_iter().flatten().collect()
}

fn user(user: &str) -> Option<Row> {
    let name = user.split(':').next().unwrap_or_default();
    if ["", "0", "root"].contains(&name) {
        return None;
    }
    let fix = "end the Dockerfile with USER root; supervisord runs a program as another user: user=%(ENV_USER_NAME)s";
    Some(Row::fail(format!("USER {user}"), "the container exits: init must be root".to_owned(), fix))
}

fn command(settings: &Settings) -> Option<Row> {
    let [entrypoint, command] =
        [&settings.entrypoint, &settings.cmd].map(|words| words.as_deref().unwrap_or_default());
    let words = [entrypoint, command].concat();
    let is_init = |word: &String| word == "init.sh" || INIT.contains(&word.as_str());
    if words.first().is_some_and(is_init) {
        return None;
    }
    let place = if entrypoint.is_empty() { "CMD" } else { "ENTRYPOINT" }.to_owned();
    let shown = abbreviate(&words.join(" "));
    if words.iter().any(|word| word.split_whitespace().any(|part| is_init(&part.to_owned()))) {
        let problem = format!("{shown}: init.sh is not the first process unless this is replaced by it");
        return Some(Row::warn(place, problem, "remove it, or end its program with: exec \"$@\""));
    }
    let problem = match words.first() {
        None => "the image has no command".to_owned(),
        Some(_) => format!("{shown} is started instead of init.sh: no services, no login, no SSH"),
    };
    let fix = "remove it and add the program to /etc/supervisor/conf.d; or end it with exec \"$@\" and set CMD \
               [\"/opt/leonardo/bin/init.sh\"]";
    Some(Row::fail(place, problem, fix))
}

fn stop_signal(signal: &str) -> Option<Row> {
    if STOP_SIGNALS.contains(&signal) {
        return None;
    }
    let problem = "supervisord does not end its programs at this signal".to_owned();
    Some(Row::fail(format!("STOPSIGNAL {signal}"), problem, "remove STOPSIGNAL: the base image's is SIGTERM"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_configuration_that_does_not_start_as_the_base_is_reported() {
        let base = json!({ "User": "", "Entrypoint": null, "Cmd": ["/opt/leonardo/bin/init.sh"], "StopSignal": "SIGTERM",
            "Healthcheck": { "Test": ["CMD", "/opt/leonardo/bin/boot", "health"] } });
        let rows = |key: &str, value: serde_json::Value| {
            let mut settings = base.clone();
            settings[key] = value;
            let settings: Settings = serde_json::from_value(settings).unwrap();
            let show = |row: &Row| format!("{} {}", if row.is_failure { "FAIL" } else { "warn" }, row.place);
            find(&settings).iter().map(show).collect::<Vec<_>>().join("; ")
        };
        for (key, value, expected) in [
            ("User", json!("1000"), "FAIL USER 1000"),
            ("User", json!("user:leonardo"), "FAIL USER user:leonardo"),
            ("User", json!("0:0"), ""),
            ("User", json!("root"), ""),
            ("Cmd", json!(["python3", "-m", "http.server"]), "FAIL CMD"),
            ("Cmd", json!(["/bin/sh", "-c", "exec init.sh"]), "warn CMD"),
            ("Cmd", json!(["init.sh", "WORKSPACE=/data/"]), ""),
            ("Cmd", json!(null), "FAIL CMD"),
            ("Entrypoint", json!(["/entrypoint.sh"]), "warn ENTRYPOINT"),
            ("Entrypoint", json!(["/opt/leonardo/bin/init.sh"]), ""),
            ("Healthcheck", json!({ "Test": ["NONE"] }), "warn HEALTHCHECK"),
            ("Healthcheck", json!(null), "warn HEALTHCHECK"),
            ("Healthcheck", json!({ "Test": ["CMD-SHELL", "mine"] }), ""),
            ("StopSignal", json!("SIGKILL"), "FAIL STOPSIGNAL SIGKILL"),
            ("StopSignal", json!(null), ""),
        ] {
            assert_eq!(rows(key, value.clone()), expected, "{key} {value}");
        }
        let entrypoint: Settings = serde_json::from_value(
            json!({ "Entrypoint": ["/mine.sh"], "Healthcheck": { "Test": ["CMD", "x"] } }),
        )
        .unwrap();
        assert_eq!(
            find(&entrypoint)[0].problem,
            "/mine.sh is started instead of init.sh: no services, no login, no SSH"
        );
        let secret: Settings =
            serde_json::from_value(json!({ "Cmd": ["app", "--token=abcdef0123456789"] })).unwrap();
        assert!(!find(&secret).iter().any(|row| row.problem.contains("abcdef")));
    }
}
