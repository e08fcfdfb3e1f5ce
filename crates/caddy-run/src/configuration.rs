//! From templates and services to a Caddyfile.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ports::Service;

/// What a service's template can use.
const PLACEHOLDERS: [&str; 3] = ["%PROXY_PORT%", "%LISTEN_PORT%", "%GATE%"];

/// The hand-editable parts of the configuration.
pub struct Templates {
    base: String,
    service: String,
    directory: PathBuf,
}

impl Templates {
    /// Reads `base_config` and `service_config` from a directory.
    pub fn read(directory: &Path) -> Result<Self> {
        Ok(Self {
            base: text(&directory.join("base_config"))?,
            service: text(&directory.join("service_config"))?,
            directory: directory.to_owned(),
        })
    }

    /// The whole configuration; a service with a template of its own, `service_config_<listen_port>`, gets that.
    pub fn render(&self, services: &[Service]) -> Result<String> {
        let mut caddyfile = self.base.clone();
        for service in services {
            let own = self.directory.join(format!("service_config_{}", service.listen_port));
            let template = if own.exists() { text(&own)? } else { self.service.clone() };
            caddyfile.push('\n');
            caddyfile.push_str(&fill(&template, service)?);
        }
        Ok(caddyfile)
    }
}

/// Puts in numbers and one of two words of ours; nothing here is a text that somebody else chose.
fn fill(template: &str, service: &Service) -> Result<String> {
    ensure!(template.contains("%PROXY_PORT%"), "a service's template does not use %PROXY_PORT%");
    let gate = if service.proxy_secure { "gate" } else { "open" };
    let [proxy, listen, gate_word] = PLACEHOLDERS;
    Ok(template
        .replace(proxy, &service.proxy_port.to_string())
        .replace(listen, &service.listen_port.to_string())
        .replace(gate_word, gate))
}

fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(proxy_port: u16, proxy_secure: bool) -> Service {
        Service {
            service_name: "%LISTEN_PORT% {\n:6666 {}".into(),
            listen_port: proxy_port + 10_000,
            proxy_port,
            metrics_port: None,
            proxy_secure,
            service_url: "/}".into(),
        }
    }

    #[test]
    fn only_ports_and_the_gates_name_get_into_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("base_config"), "BASE\n").unwrap();
        fs::write(dir.path().join("service_config"), ":%PROXY_PORT% %GATE% %LISTEN_PORT%\n").unwrap();
        fs::write(dir.path().join("service_config_13000"), "own :%PROXY_PORT%\n").unwrap();
        let templates = Templates::read(dir.path()).unwrap();
        let services = [service(3000, true), service(8188, true), service(8888, false)];
        assert_eq!(
            templates.render(&services).unwrap(),
            "BASE\n\nown :3000\n\n:8188 gate 18188\n\n:8888 open 18888\n"
        );
    }

    #[test]
    fn a_missing_template_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Templates::read(dir.path()).err().map(|error| format!("{error:#}"));
        let expected = format!(
            "cannot read {}/base_config: No such file or directory (os error 2)",
            dir.path().display()
        );
        assert_eq!(error, Some(expected));
    }
}
