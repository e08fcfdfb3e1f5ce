//! A real headless Chromium, driven through chromedriver (the W3C WebDriver protocol, and Chromium's own DevTools commands).

mod accessibility;
mod driver;
mod emulation;
mod keyboard;
mod network_log;
mod pictures;

use std::process::Child;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::container::DEADLINE;
pub use accessibility::Violation;
use driver::call;
pub use emulation::{Device, Scheme};
pub use network_log::Request;

/// A browser with a fresh profile.
pub struct Browser {
    driver: Child,
    session: String,
    _profile: TempDir,
}

impl Browser {
    pub fn start(width: u32, height: u32) -> Self {
        Self::with(width, height, &[], json!({}), json!({}))
    }

    /// A browser that looks names up by Chromium's `rules`: `MAP name address, MAP name:port address:port`.
    pub fn with_host_rules(rules: &str) -> Self {
        Self::with(900, 700, &[format!("--host-resolver-rules={rules}")], json!({}), json!({}))
    }

    /// The same with settings of Chromium's (`Preferences` of its profile).
    pub fn preferring(rules: &str, settings: Value) -> Self {
        Self::with(900, 700, &[format!("--host-resolver-rules={rules}")], settings, json!({}))
    }

    /// A browser that finds no host but loopback addresses, and records requests and complaints.
    pub fn observed() -> Self {
        let rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.*, EXCLUDE localhost";
        let logs = json!({"browser": "ALL", "performance": "ALL"});
        Self::with(1280, 800, &[rules.to_owned()], json!({}), logs)
    }

    fn with(width: u32, height: u32, more: &[String], settings: Value, logs: Value) -> Self {
        let (driver, port) = driver::start();
        let profile = tempfile::tempdir().expect("a directory");
        let mut arguments = vec![
            "--headless".to_owned(),
            "--no-sandbox".into(),
            "--disable-gpu".into(),
            "--disable-quic".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-sync".into(),
            "--no-first-run".into(),
            "--disable-dev-shm-usage".into(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        arguments.extend_from_slice(more);
        let base = format!("http://127.0.0.1:{port}");
        let options = json!({"args": arguments, "prefs": settings});
        let capabilities =
            json!({"goog:chromeOptions": options, "acceptInsecureCerts": true, "goog:loggingPrefs": logs});
        let wanted = json!({"capabilities": {"alwaysMatch": capabilities}});
        let answer = call("POST", &format!("{base}/session"), &wanted);
        let id = answer["sessionId"].as_str().expect("a session").to_owned();
        Self { driver, session: format!("{base}/session/{id}"), _profile: profile }
    }

    pub fn open(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    pub fn url(&self) -> String {
        call("GET", &format!("{}/url", self.session), &Value::Null).as_str().expect("an address").to_owned()
    }

    /// Visible text of an element; waits while the page is loading.
    ///
    /// One script, so that a reload between finding and reading does not matter.
    #[track_caller]
    pub fn text(&self, css: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.innerText";
        let read = json!({"script": script, "args": [css]});
        let text =
            kit::wait::until(DEADLINE, css, || self.post("execute/sync", &read).as_str().map(str::to_owned));
        text.unwrap_or_else(|error| panic!("{error} at {}, which shows {}", self.url(), self.page_text()))
    }

    fn page_text(&self) -> Value {
        self.run("return document.body?.innerText ?? document.readyState")
    }

    /// Waits until an element shows exactly this text.
    #[track_caller]
    pub fn wait_for_text(&self, css: &str, text: &str) {
        self.shows_what(css, &format!("{text:?}"), |found| found == text);
    }

    /// Waits until an element's text contains this.
    #[track_caller]
    pub fn wait_for_partial_text(&self, css: &str, text: &str) {
        self.shows_what(css, &format!("something with {text:?}"), |found| found.contains(text));
    }

    #[track_caller]
    fn shows_what(&self, css: &str, what: &str, fits: impl Fn(&str) -> bool) {
        let shown = kit::wait::until(DEADLINE, what, || fits(&self.text(css)).then_some(()));
        shown.unwrap_or_else(|error| {
            panic!(
                "{error} in {css}, which shows {:?} at {}: {}",
                self.text(css),
                self.url(),
                self.page_text()
            )
        });
    }

    /// Replaces the text of a field.
    pub fn type_into(&self, css: &str, text: &str) {
        let element = self.find(css);
        self.post(&format!("element/{element}/clear"), &json!({}));
        self.post(&format!("element/{element}/value"), &json!({ "text": text }));
    }

    pub fn click(&self, css: &str) {
        let element = self.find(css);
        self.post(&format!("element/{element}/click"), &json!({}));
    }

    /// Runs a script in the page and returns its value; waits for a promise.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({"script": script, "args": []}))
    }

    /// Waits until a script of the page returns exactly this.
    #[track_caller]
    pub fn wait_for_value(&self, script: &str, expected: &Value) {
        let found = kit::wait::until(DEADLINE, script, || (self.run(script) == *expected).then_some(()));
        found.unwrap_or_else(|error| panic!("{error}: it returns {} at {}", self.run(script), self.url()));
    }

    /// Names of the cookies that scripts of the page can read.
    pub fn cookies_seen_by_scripts(&self) -> String {
        self.run("return document.cookie").as_str().expect("a text").to_owned()
    }

    /// The windows and tabs, in no order.
    pub fn windows(&self) -> Vec<String> {
        let handles = call("GET", &format!("{}/window/handles", self.session), &Value::Null);
        handles
            .as_array()
            .expect("a list")
            .iter()
            .map(|handle| handle.as_str().expect("a handle").to_owned())
            .collect()
    }

    /// Opens a tab without an opener, as a user does, and switches to it.
    pub fn new_tab(&self) {
        let made = self.post("window/new", &json!({"type": "tab"}));
        self.switch(made["handle"].as_str().expect("a handle"));
    }

    /// Switches to another window.
    pub fn switch(&self, handle: &str) {
        self.post("window", &json!({ "handle": handle }));
    }

    /// Runs a command of Chromium's DevTools protocol in the page and returns its result.
    #[track_caller]
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// Numbers that Chromium keeps about the page, such as `JSHeapUsedSize`, in bytes or seconds.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        self.devtools("Performance.enable", &json!({}));
        let all = self.devtools("Performance.getMetrics", &json!({}));
        let mut all = all["metrics"].as_array().expect("a list").iter();
        let found = all.find(|metric| metric["name"] == name);
        found.and_then(|metric| metric["value"].as_f64()).unwrap_or_else(|| panic!("no metric {name}"))
    }

    /// Waits for an element, as a person does: a key press may be answered before the page has acted on it.
    #[track_caller]
    fn find(&self, css: &str) -> String {
        let wanted = json!({"using": "css selector", "value": css});
        let found = kit::wait::until(DEADLINE, css, || {
            let elements = self.post("elements", &wanted);
            let element = elements.as_array()?.first()?.as_object()?.values().next()?;
            Some(element.as_str().expect("an element").to_owned())
        });
        found.unwrap_or_else(|error| panic!("{error} at {}", self.url()))
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        call("POST", &format!("{}/{path}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        driver::delete(&self.session);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
