//! The container.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use harness::{Browser, Container, RunOptions};
use tempfile::TempDir;

use crate::content::{FILES, quick_tunnels};
use crate::pages::Page;

pub const USER: &str = "ada";
pub const PASSWORD: &str = "showcase";
/// Programs, and the state in which each stays.
const STATES: [(&str, &str); 3] = [("notebook", "RUNNING"), ("studio", "RUNNING"), ("trainer", "FATAL")];

/// The container and the directory of its mounted files.
pub struct Showcase {
    pub container: Container,
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
        let container = [6006, 7860, 8888].into_iter().fold(run, RunOptions::publish).start_and_wait();
        container.wait_until_ready();
        container.write("/run/leonardo/quicktunnel.json", &quick_tunnels());
        for (program, state) in STATES {
            let status = ["supervisorctl", "status", program];
            container.wait_until(program, || {
                String::from_utf8_lossy(&container.exec(&status).stdout).contains(state)
            });
        }
        [6006, 8888].iter().for_each(|&port| container.wait_for(port));
        Self { container, _files: files }
    }

    /// Opens a page and waits until it is complete.
    #[track_caller]
    pub fn open(&self, browser: &Browser, page: &Page) {
        browser.open(&format!("http://{}{}", self.container.address(page.port), page.path));
        browser.text(page.complete);
    }

    /// Logs a browser in with the form.
    #[track_caller]
    pub fn log_in(&self, browser: &Browser) {
        browser.open(&format!("http://{}/leonardo/login", self.container.address(1111)));
        browser.type_into("[name=username]", USER);
        browser.type_into("[name=password]", PASSWORD);
        browser.click("form button");
        browser.wait_for_text("h1", "Services");
    }
}
