//! Output of `up`.

use anyhow::Result;
use serde::Serialize;

use super::cli::DEFAULT_NAME;
use super::options::Options;
use super::portal::{self, Credentials};
use super::published_ports::{Published, ServicePort};
use super::self_test::SelfTest;
use crate::engine::Engine;
use crate::image::Built;

/// Facts about the container; fields of the JSON form are only added. No `Debug`, because it contains secrets.
#[derive(Serialize)]
pub struct UpOutput {
    /// Name of the container.
    container: String,
    /// Name and tag of the image.
    image: String,
    /// The variant.
    variant: String,
    /// Address of the portal.
    portal_url: String,
    /// Addresses of the web services that an extended image brings.
    service_urls: Vec<String>,
    /// User of the web services.
    web_user: String,
    /// Password of the web services.
    web_password: String,
    /// Token for programs.
    web_token: String,
    /// Address at which SSH is published.
    ssh_address: String,
    /// Port at which SSH is published.
    ssh_port: u16,
    /// `DOCKER_HOST` of the engine.
    docker_host: String,
    /// Result of the self-test in the container; absent if it could not be run.
    #[serde(skip_serializing_if = "Option::is_none")]
    self_test: Option<SelfTest>,
    #[serde(skip)]
    has_ssh_key: bool,
}

/// Width of the names of the text form.
const NAMES: usize = 10;

impl UpOutput {
    /// Collects the facts.
    pub fn new(
        name: &str,
        built: &Built,
        engine: &Engine,
        portal_url: String,
        ports: &Published,
        options: &Options,
        credentials: Credentials,
    ) -> Self {
        let scheme = portal_url.split_once("://").map_or("http", |(scheme, _)| scheme);
        let url = |port: &ServicePort| format!("{scheme}://{}", portal::address(options.bind, port.outside));
        Self {
            service_urls: ports.services.iter().map(url).collect(),
            container: name.to_owned(),
            image: built.image.clone(),
            variant: built.variant.clone(),
            portal_url,
            web_user: credentials.user,
            web_password: credentials.password,
            web_token: credentials.token,
            ssh_address: options.bind.to_string(),
            ssh_port: ports.ssh,
            docker_host: engine.docker_host().to_owned(),
            self_test: None,
            has_ssh_key: options.has_ssh_key(),
        }
    }

    /// Adds what the container found about itself.
    pub fn with_self_test(self, self_test: Option<SelfTest>) -> Self {
        Self { self_test, ..self }
    }

    /// Renders one object on one line.
    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string(self)? + "\n")
    }

    /// Renders the last line of the text form, and below it what failed.
    pub fn self_test_text(&self) -> String {
        let checks = self.self_test.as_ref();
        let checks = checks.map_or_else(|| "could not be run".to_owned(), |checks| checks.text(NAMES));
        format!("Selftest  {checks}\n")
    }

    /// Renders the text form without the self-test.
    pub fn text(&self) -> String {
        let name = if self.container == DEFAULT_NAME {
            String::new()
        } else {
            format!(" --name {}", self.container)
        };
        let ssh = if self.has_ssh_key {
            format!("ssh -p {} root@{}", self.ssh_port, self.ssh_address)
        } else {
            "off: give a public key with --ssh-key FILE".to_owned()
        };
        let services: Vec<String> =
            self.service_urls.iter().map(|url| format!("Service   {url}\n")).collect();
        let services = services.concat();
        format!(
            "Portal    {}\n{services}User      {}\nPassword  {}\nSSH       {ssh}\nShell     eval \"$(cargo xtask engine env)\"; docker exec -it {} bash\nStop      cargo xtask down{name}\n",
            self.portal_url, self.web_user, self.web_password, self.container
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::self_test::Fault;

    fn answer() -> UpOutput {
        UpOutput {
            container: "mine".into(),
            image: "leonardo/base-image:cpu-22.04".into(),
            variant: "cpu-22.04".into(),
            portal_url: "http://127.0.0.1:1112".into(),
            service_urls: vec!["http://127.0.0.1:8888".into()],
            web_user: "user".into(),
            web_password: "p\"w".into(),
            web_token: "t".into(),
            ssh_address: "127.0.0.1".into(),
            ssh_port: 2222,
            docker_host: "unix:///run/x".into(),
            self_test: Some(SelfTest { passed: 20, warned: 0, failed: 1, skipped: 1, faults: vec![fault()] }),
            has_ssh_key: true,
        }
    }

    fn fault() -> Fault {
        Fault { check: "gate".into(), seen: "port 1111 does not answer".into(), remedy: "wait".into() }
    }

    #[test]
    fn the_json_form_is_pinned() {
        assert_eq!(
            answer().json().unwrap(),
            "{\"container\":\"mine\",\"image\":\"leonardo/base-image:cpu-22.04\",\"variant\":\"cpu-22.04\",\
             \"portal_url\":\"http://127.0.0.1:1112\",\"service_urls\":[\"http://127.0.0.1:8888\"],\"web_user\":\"user\",\"web_password\":\"p\\\"w\",\"web_token\":\"t\",\
             \"ssh_address\":\"127.0.0.1\",\"ssh_port\":2222,\"docker_host\":\"unix:///run/x\",\
             \"self_test\":{\"passed\":20,\"warned\":0,\"failed\":1,\"skipped\":1,\"faults\":[{\"check\":\"gate\",\
             \"seen\":\"port 1111 does not answer\",\"remedy\":\"wait\"}]}}\n"
        );
    }

    #[test]
    fn the_text_has_address_login_how_to_stop_and_faults() {
        assert_eq!(
            answer().text() + &answer().self_test_text(),
            "Portal    http://127.0.0.1:1112\nService   http://127.0.0.1:8888\nUser      user\nPassword  p\"w\nSSH       ssh -p 2222 root@127.0.0.1\n\
             Shell     eval \"$(cargo xtask engine env)\"; docker exec -it mine bash\nStop      cargo xtask down --name mine\n\
             Selftest  20 passed, 0 warnings, 1 failed, 1 skipped\n\
             \u{20}         gate: port 1111 does not answer\n\u{20}           fix: wait\n"
        );
        assert_eq!(answer().with_self_test(None).self_test_text(), "Selftest  could not be run\n");
    }
}
