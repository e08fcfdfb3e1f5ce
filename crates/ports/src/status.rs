//! State of a service and of its instances, as `service-run` writes it.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::service::check_text;

/// Maximum length of a cause in bytes, for phones.
const MAX_CAUSE_BYTES: usize = 200;
/// Maximum length of an instance's label in bytes; the name of a MIG device has 40.
const MAX_LABEL_BYTES: usize = 64;
/// Maximum number of instances: eight GPUs with seven MIG devices each have 56.
const MAX_INSTANCES: usize = 64;

/// State of a service or of one of its instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Part of its life that it is in.
    pub phase: Phase,
    /// Start of the phase, in seconds since the Unix epoch.
    pub since: u64,
    /// Stage that it waits for, or the reason why it failed; shown as text, never as HTML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// Part of a service's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits for a stage of the boot.
    Waiting,
    /// It was started, but cannot be used yet.
    Starting,
    /// It can be used.
    Running,
    /// It has ended, or could not be started.
    Failed,
}

/// One of several programs that are balanced behind one public port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its port on loopback.
    pub listen_port: u16,
    /// Display name, such as the name of its GPU; shown as text, never as HTML.
    pub label: String,
    /// Its state.
    pub status: Status,
}

impl Status {
    /// Rejects a cause that is too long or has control characters.
    pub(crate) fn check(&self) -> Result<()> {
        self.cause.iter().try_for_each(|cause| check_text("cause", cause, MAX_CAUSE_BYTES))
    }
}

/// Rejects instances that would break the proxy or the portal's page; `first` is the service's own port on loopback.
pub(crate) fn check_instances(instances: &[Instance], first: u16, proxy_port: u16) -> Result<()> {
    ensure!(instances.len() <= MAX_INSTANCES, "more than {MAX_INSTANCES} instances");
    ensure!(
        instances.first().is_none_or(|instance| instance.listen_port == first),
        "the first instance's port is not listen_port, {first}"
    );
    for (index, Instance { listen_port: port, label, status }) in instances.iter().enumerate() {
        ensure!(*port != 0 && *port != proxy_port, "an instance cannot have port {port}");
        ensure!(
            instances[..index].iter().all(|other| other.listen_port != *port),
            "two instances have port {port}"
        );
        check_text("label", label, MAX_LABEL_BYTES)?;
        status.check()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Service;
    use serde_json::{Value, json};

    fn described(status: &Value, instances: &Value) -> Result<Service, String> {
        let text = json!({"service_name": "x", "listen_port": 18000, "proxy_port": 8000, "pid": 7,
            "status": status, "instances": instances});
        Service::parse("8000", text.to_string().as_bytes()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn states_and_instances_survive_a_registration() {
        let service = Service {
            service_name: "vLLM".into(),
            listen_port: 18000,
            proxy_port: 8000,
            pid: Some(214),
            status: Some(Status { phase: Phase::Waiting, since: 5, cause: Some("provisioning".into()) }),
            instances: vec![Instance {
                listen_port: 18000,
                label: "GPU-9c4d".into(),
                status: Status { phase: Phase::Failed, since: 6, cause: None },
            }],
            ..Service::default()
        };
        let text = serde_json::to_string(&service).unwrap();
        let expected = r#"{"service_name":"vLLM","listen_port":18000,"proxy_port":8000,"proxy_secure":true,"service_url":"/","pid":214,"status":{"phase":"waiting","since":5,"cause":"provisioning"},"instances":[{"listen_port":18000,"label":"GPU-9c4d","status":{"phase":"failed","since":6}}]}"#;
        assert_eq!((text.as_str(), Service::parse("8000", text.as_bytes()).unwrap()), (expected, service));
    }

    #[test]
    fn a_hostile_state_or_instance_is_refused_with_a_reason() {
        let running = json!({"phase": "running", "since": 1});
        let instance =
            |port: u16, label: &str| json!({"listen_port": port, "label": label, "status": running});
        let failed = |cause: &str| json!({"phase": "failed", "since": 1, "cause": cause});
        let of_states = [
            (json!({"phase": "x", "since": 1}), "unknown variant `x`"),
            (json!({"phase": "running", "since": -1}), "invalid value: integer `-1`"),
            (json!({"phase": "running"}), "missing field `since`"),
            (failed(&"y".repeat(201)), "cause is longer than 200 bytes"),
            (failed("\u{1b}[2J"), "cause has control characters"),
        ];
        let many: Vec<Value> = (0..65).map(|index| instance(18000 + index, "g")).collect();
        let of_instances = [
            (json!(many), "more than 64 instances"),
            (json!([instance(18001, "g")]), "the first instance's port is not listen_port, 18000"),
            (json!([instance(18000, "g"), instance(0, "g")]), "an instance cannot have port 0"),
            (json!([instance(18000, "g"), instance(8000, "g")]), "an instance cannot have port 8000"),
            (json!([instance(18000, "g"), instance(18000, "g")]), "two instances have port 18000"),
            (json!([instance(18000, &"l".repeat(65))]), "label is longer than 64 bytes"),
            (json!([instance(18000, "a\nb")]), "label has control characters"),
            (json!([{"listen_port": 18000, "label": "g", "status": failed("\n")}]), "cause has control"),
            (json!([{"listen_port": 18000, "label": "g"}]), "missing field `status`"),
        ];
        let cases = of_states.map(|(status, reason)| (status, json!([]), reason)).into_iter();
        for (status, instances, reason) in
            cases.chain(of_instances.map(|(instances, reason)| (running.clone(), instances, reason)))
        {
            let error = described(&status, &instances).unwrap_err();
            assert!(error.contains(reason), "{error}, not {reason}");
        }
        assert_eq!(described(&Value::Null, &json!([])).unwrap().status, None);
    }
}
