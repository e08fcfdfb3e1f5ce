//! The container.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use harness::{Browser, Container, HttpClient, RunOptions};
use tempfile::TempDir;

use crate::content::{FILES, quick_tunnels};
use crate::pages::Page;

pub const USER: &str = "ada";
pub const PASSWORD: &str = "showcase";
/// Programs, and the state in which each stays.
const STATES: [(&str, &str); 3] = [("notebook", "RUNNING"), ("studio", "RUNNING"), ("trainer", "FATAL")];

/// Ports of the portal and the services, which the browser reaches under the same numbers.
const PORTS: [u16; 4] = [1111, 6006, 7860, 8888];

/// The container and the directory of its mounted files.
pub struct Showcase {
    pub container: Container,
    address: String,
    _files: TempDir,
}

impl Showcase {
    /// Starts the container and waits until each program has the state in which it stays.
    #[track_caller]
    pub fn start(run: RunOptions) -> Self {
        let files = tempfile::tempdir().expect("a directory");
        let mut run = run
            .env("WEB_USER", USER)
            .env("WEB_PASSWORD", PASSWORD)
            .option("--hostname=workstation")
            .option("--cpus=2")
            .option("--memory=8g");
        for (number, (content, path)) in FILES.iter().enumerate() {
            let file = files.path().join(number.to_string());
            fs::write(&file, content).expect("a file");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("a mode");
            run = run.mount(&file, path, "ro");
        }
        let address = RunOptions::loopback();
        let run = PORTS.into_iter().fold(run, |run, port| run.publish_at(&address, port));
        let container = run.start();
        let health = "curl --fail --silent http://127.0.0.1:1111/leonardo/health-check";
        container.wait_until("the health check", || container.sh(health).stdout == b"ok\n");
        container.wait_until_ready();
        container.write("/run/leonardo/quicktunnel.json", &quick_tunnels());
        for (program, state) in STATES {
            let status = ["supervisorctl", "status", program];
            container.wait_until(program, || {
                String::from_utf8_lossy(&container.exec(&status).stdout).contains(state)
            });
        }
        [6006, 8888].iter().for_each(|&port| container.wait_for(port));
        Self { container, address, _files: files }
    }

    /// Address of a port, without a path.
    pub fn origin(&self, port: u16) -> String {
        format!("http://{}:{port}", self.address)
    }

    /// A client for a port, whose requests are the owner's.
    #[track_caller]
    pub fn web(&self, port: u16) -> HttpClient {
        let [_, _, token] = self.container.login();
        HttpClient::new(format!("{}:{port}", self.address)).with("authorization", &format!("Bearer {token}"))
    }

    /// Opens a page and waits until it is complete.
    #[track_caller]
    pub fn open(&self, browser: &Browser, page: &Page) {
        browser.open(&format!("{}{}", self.origin(page.port), page.path));
        browser.text(page.complete);
    }

    /// Logs a browser in with the form.
    #[track_caller]
    pub fn log_in(&self, browser: &Browser) {
        browser.open(&format!("{}/leonardo/login", self.origin(1111)));
        browser.type_into("[name=username]", USER);
        browser.type_into("[name=password]", PASSWORD);
        browser.click("form button");
        browser.wait_for_text("h1", "Services");
    }
}
