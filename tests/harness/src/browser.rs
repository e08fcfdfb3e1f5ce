//! A real headless Chromium, driven through chromedriver (the W3C WebDriver protocol).

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Timeout of a page.
const DEADLINE: Duration = Duration::from_secs(20);

/// A browser with a fresh profile.
pub struct Browser {
    driver: Child,
    session: String,
    _profile: TempDir,
}

impl Browser {
    pub fn start(width: u32, height: u32) -> Self {
        Self::with(width, height, &[], json!({}))
    }

    /// A browser that looks names up by Chromium's `rules`: `MAP name address, MAP name:port address:port`.
    pub fn with_host_rules(rules: &str) -> Self {
        Self::with(900, 700, &[format!("--host-resolver-rules={rules}")], json!({}))
    }

    /// The same with settings of Chromium's (`Preferences` of its profile).
    pub fn preferring(rules: &str, settings: Value) -> Self {
        Self::with(900, 700, &[format!("--host-resolver-rules={rules}")], settings)
    }

    fn with(width: u32, height: u32, more: &[String], settings: Value) -> Self {
        let (driver, port) = start_driver();
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
        let capabilities = json!({"goog:chromeOptions": options, "acceptInsecureCerts": true});
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
        let read = json!({"script": "return document.querySelector(arguments[0])?.innerText", "args": [css]});
        let text =
            kit::wait::until(DEADLINE, css, || self.post("execute/sync", &read).as_str().map(str::to_owned));
        text.unwrap_or_else(|error| panic!("{error} at {}", self.url()))
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
            panic!("{error} in {css}, which shows {:?} at {}", self.text(css), self.url())
        });
    }

    pub fn type_into(&self, css: &str, text: &str) {
        let element = self.find(css);
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

    /// Saves a screenshot of the page.
    pub fn screenshot(&self, path: &Path) {
        let answer = call("GET", &format!("{}/screenshot", self.session), &Value::Null);
        let png = STANDARD.decode(answer.as_str().expect("a picture")).expect("base64");
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, png).expect("a file");
    }

    fn find(&self, css: &str) -> String {
        let answer = self.post("element", &json!({"using": "css selector", "value": css}));
        let element = answer.as_object().and_then(|element| element.values().next());
        element.and_then(Value::as_str).expect("an element").to_owned()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        call("POST", &format!("{}/{path}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let agent = agent();
        let _ = agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Starts chromedriver on a free port. It chooses one for IPv4 and ends if another program has it for IPv6.
fn start_driver() -> (Child, u16) {
    let started = (0..10).find_map(|_| {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver (package chromium-driver)");
        if let Some(port) = port_of(&mut driver) {
            return Some((driver, port));
        }
        driver.wait().expect("its end");
        None
    });
    started.expect("a started chromedriver")
}

/// Reads the port from chromedriver's output.
fn port_of(driver: &mut Child) -> Option<u16> {
    let stdout = BufReader::new(driver.stdout.take().expect("a pipe"));
    let mut lines = stdout.lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("started successfully on port"))?;
    let digits: String =
        line.chars().rev().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    Some(digits.chars().rev().collect::<String>().parse().expect("a port"))
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(60)))
        .build();
    config.into()
}

#[track_caller]
fn call(method: &str, url: &str, body: &Value) -> Value {
    let agent = agent();
    let answer = if method == "GET" { agent.get(url).call() } else { agent.post(url).send_json(body) };
    let mut answer = answer.expect("a talking chromedriver");
    let whole: Value = answer.body_mut().read_json().expect("JSON");
    let value = whole["value"].clone();
    assert!(value.get("error").is_none(), "{method} {url}: {value}");
    value
}
