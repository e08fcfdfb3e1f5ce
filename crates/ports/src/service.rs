//! A registered service and its validation.

use anyhow::{Context, Result, bail, ensure};
use kit::process::Process;
use kit::windows_text::{BYTE_ORDER_MARK, is_utf16};
use serde::{Deserialize, Deserializer, Serialize};

use crate::status::{self, Instance, Phase, Status};
use crate::{PORTAL, RCLONE};

/// Maximum length of a service's name in bytes, for phones.
const MAX_NAME_BYTES: usize = 64;
/// Maximum length of a link's path in bytes.
const MAX_URL_BYTES: usize = 2_000;
const SSH: u16 = 22;
/// Program whose registrations end with it.
const SERVICE_RUN: &str = "service-run";

/// A web service behind the proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Display name; shown as text, never as HTML.
    pub service_name: String,
    /// Loopback port of the service itself.
    pub listen_port: u16,
    /// Public port; the file has its name.
    pub proxy_port: u16,
    /// Loopback port with metrics of the service's tunnel, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_port: Option<u16>,
    /// True if the gate asks for a login; anything but a plain `false` means true.
    #[serde(default = "yes", deserialize_with = "plain_false_only")]
    pub proxy_secure: bool,
    /// Path that the portal's link opens, with one leading slash.
    #[serde(default = "root")]
    pub service_url: String,
    /// Name of its log below `/var/log/supervisor`, if it differs from the service's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Process of the `service-run` that registered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its state; without one, it is running if it accepts connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Programs that are balanced behind `proxy_port`; the first has `listen_port`. Empty for a service of one program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<Instance>,
}

impl Default for Service {
    /// Returns the defaults of the optional fields; name and ports are missing, so it cannot be registered.
    fn default() -> Self {
        Self {
            service_name: String::new(),
            listen_port: 0,
            proxy_port: 0,
            metrics_port: None,
            proxy_secure: yes(),
            service_url: root(),
            log: None,
            pid: None,
            status: None,
            instances: Vec::new(),
        }
    }
}

impl Service {
    /// Parses a registry file named `file_name`; the error names the mistake.
    pub fn parse(file_name: &str, content: &[u8]) -> Result<Self> {
        ensure!(!is_utf16(content), "UTF-16; save it as UTF-8");
        // Windows editors add a byte order mark.
        let content = content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(content);
        let service: Self = serde_json::from_slice(content).context("not a service description")?;
        service.check()?;
        ensure!(
            file_name == service.proxy_port.to_string(),
            "the file's name is not its proxy_port, {}",
            service.proxy_port
        );
        Ok(service)
    }

    /// Rejects values that would break the proxy or the portal's page.
    pub fn check(&self) -> Result<()> {
        ensure!(self.listen_port != 0 && self.proxy_port != 0, "port 0 does not exist");
        ensure!(self.listen_port != self.proxy_port, "listen_port and proxy_port are the same");
        if [SSH, PORTAL, RCLONE].contains(&self.proxy_port) {
            bail!("port {} is reserved", self.proxy_port);
        }
        ensure!(!self.service_name.trim().is_empty(), "service_name is empty");
        check_text("service_name", &self.service_name, MAX_NAME_BYTES)?;
        if let Some(log) = &self.log {
            ensure!(is_log_name(log), "log is not a file name of A-Z a-z 0-9 . _ - that ends in .log");
        }
        self.status.iter().try_for_each(Status::check)?;
        status::check_instances(&self.instances, self.listen_port, self.proxy_port)?;
        check_url(&self.service_url)
    }

    /// True if the `service-run` that registered it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let is_running =
            |pid| Process::new(pid).stat().is_some_and(|stat| stat.is_alive && stat.name == SERVICE_RUN);
        self.pid.is_some_and(|pid| !is_running(pid))
    }

    /// Returns its ports on loopback, in the order of its instances.
    #[must_use]
    pub fn listen_ports(&self) -> Vec<u16> {
        if self.instances.is_empty() {
            return vec![self.listen_port];
        }
        self.instances.iter().map(|instance| instance.listen_port).collect()
    }

    /// Returns the ports of the instances that can be used, or of all if none can. A server that is still starting may accept
    /// connections, and would have the fewest.
    #[must_use]
    pub fn upstreams(&self) -> Vec<u16> {
        let is_running = |instance: &&Instance| instance.status.phase == Phase::Running;
        let running: Vec<u16> =
            self.instances.iter().filter(is_running).map(|instance| instance.listen_port).collect();
        if running.is_empty() { self.listen_ports() } else { running }
    }

    /// Returns the name of the service's log: the registered one, else one built from its name (`Jupyter Lab` has
    /// `jupyter-lab.log`), if that has a letter or digit.
    #[must_use]
    pub fn log_file(&self) -> Option<String> {
        let words: Vec<&str> = self
            .service_name
            .split(|character: char| !character.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        let slug = words.join("-").to_ascii_lowercase();
        self.log.clone().or_else(|| (!slug.is_empty()).then(|| slug + ".log"))
    }
}

/// Rejects a text for the portal's page that is too long or has control characters.
pub(crate) fn check_text(field: &str, text: &str, max_bytes: usize) -> Result<()> {
    ensure!(text.len() <= max_bytes, "{field} is longer than {max_bytes} bytes");
    ensure!(!text.chars().any(char::is_control), "{field} has control characters");
    Ok(())
}

/// True for one plain path component.
fn is_log_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES + 4
        && name.strip_suffix(".log").is_some_and(|stem| !stem.is_empty())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Rejects paths that browsers could read as another host: exactly one leading slash.
fn check_url(url: &str) -> Result<()> {
    ensure!(url.len() <= MAX_URL_BYTES, "service_url is longer than {MAX_URL_BYTES} bytes");
    let stays_here = url.starts_with('/') && !url.starts_with("//") && !url.contains('\\');
    ensure!(stays_here, "service_url is not a path that begins with one slash");
    ensure!(
        url.bytes().all(|byte| byte.is_ascii_graphic()),
        "service_url has spaces or non-ASCII characters"
    );
    Ok(())
}

fn yes() -> bool {
    true
}

fn root() -> String {
    "/".to_owned()
}

/// Scripts also write the switch as a JSON string; a typo must not open a service.
fn plain_false_only<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<bool, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value != serde_json::Value::Bool(false) && value.as_str() != Some("false"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minimal_description_gets_safe_defaults() {
        let text = br#"{"service_name":"Jupyter","listen_port":18888,"proxy_port":8888}"#;
        assert_eq!(
            Service::parse("8888", text).unwrap(),
            Service {
                service_name: "Jupyter".into(),
                listen_port: 18888,
                proxy_port: 8888,
                ..Service::default()
            }
        );
    }

    #[test]
    fn a_description_of_windows_counts_or_is_named() {
        let text = "{\"service_name\":\"x\",\"listen_port\":1,\"proxy_port\":8888}\r\n";
        assert_eq!(Service::parse("8888", format!("\u{feff}{text}").as_bytes()).unwrap().listen_port, 1);
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let error = Service::parse("8888", &utf16).unwrap_err().to_string();
        assert_eq!(error, "UTF-16; save it as UTF-8");
    }

    #[test]
    fn only_a_plain_false_opens_a_service() {
        for (written, secure) in [
            ("false", false),
            ("\"false\"", false),
            ("\"flase\"", true),
            ("null", true),
            ("0", true),
            ("[]", true),
        ] {
            let text =
                format!(r#"{{"service_name":"x","listen_port":1,"proxy_port":2,"proxy_secure":{written}}}"#);
            assert_eq!(Service::parse("2", text.as_bytes()).unwrap().proxy_secure, secure, "{written}");
        }
    }

    #[test]
    fn what_could_break_the_proxy_or_a_page_is_refused_with_a_reason() {
        let cases: [(&str, &str, &str); 12] = [
            ("2", "", "not a service description"),
            ("2", r#"{"service_name":"x","listen_port":70000,"proxy_port":2}"#, "not a service description"),
            (
                "2",
                r#"{"service_name":"x","listen_port":"1\n:6666{}","proxy_port":2}"#,
                "not a service description",
            ),
            ("2", r#"{"service_name":"x","listen_port":0,"proxy_port":2}"#, "port 0 does not exist"),
            ("2", r#"{"service_name":"x","listen_port":2,"proxy_port":2}"#, "are the same"),
            ("3", r#"{"service_name":"x","listen_port":1,"proxy_port":2}"#, "the file's name is not"),
            ("1111", r#"{"service_name":"x","listen_port":1,"proxy_port":1111}"#, "port 1111 is reserved"),
            ("53682", r#"{"service_name":"x","listen_port":1,"proxy_port":53682}"#, "port 53682 is reserved"),
            ("2", r#"{"service_name":" ","listen_port":1,"proxy_port":2}"#, "service_name is empty"),
            ("2", r#"{"service_name":"a\u001b[2J","listen_port":1,"proxy_port":2}"#, "control characters"),
            (
                "2",
                r#"{"service_name":"x","listen_port":1,"proxy_port":2,"service_url":"//evil/"}"#,
                "one slash",
            ),
            (
                "2",
                r#"{"service_name":"x","listen_port":1,"proxy_port":2,"service_url":"javascript:x"}"#,
                "one slash",
            ),
        ];
        for (name, text, reason) in cases {
            let error = format!("{:#}", Service::parse(name, text.as_bytes()).unwrap_err());
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_checked_service_or_an_error(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            proptest::prop_assert!(Service::parse("8080", &bytes).is_err());
        }

        #[test]
        fn what_is_taken_is_safe_to_show_and_to_link(name in "\\PC{0,70}", url in "\\PC{0,20}", port in proptest::prelude::any::<u16>()) {
            let text = serde_json::json!({"service_name": name, "listen_port": 1, "proxy_port": port, "service_url": url});
            if let Ok(service) = Service::parse(&port.to_string(), text.to_string().as_bytes()) {
                proptest::prop_assert!(service.proxy_secure && !service.service_name.chars().any(char::is_control));
                proptest::prop_assert!(service.service_url.starts_with('/') && !service.service_url.starts_with("//"));
            }
        }
    }

    #[test]
    fn a_log_is_one_file_name_and_follows_from_the_services_name() {
        let with = |name: &str, log: &str| {
            let text = format!(r#"{{"service_name":"{name}","listen_port":1,"proxy_port":2,"log":{log}}}"#);
            Service::parse("2", text.as_bytes())
                .map(|service| service.log_file())
                .map_err(|error| error.to_string())
        };
        for (name, log, file) in [
            ("x", "\"own_log-2.log\"", Some("own_log-2.log")),
            ("ComfyUI", "null", Some("comfyui.log")),
            (" Jupyter Lab (beta)/../x ", "null", Some("jupyter-lab-beta-x.log")),
            ("日本", "null", None),
        ] {
            assert_eq!(with(name, log), Ok(file.map(String::from)), "{name} {log}");
        }
        for wrong in ["", ".log", "..log", "../x.log", "a/b.log", "x.txt", "x.log ", "x y.log", "x.log\u{0}"]
        {
            let refused = with("x", &serde_json::to_string(wrong).unwrap());
            assert!(
                refused.as_ref().is_err_and(|why| why.contains("log is not a file name")),
                "{wrong}: {refused:?}"
            );
        }
    }
}
