//! The container with the portal, and its visitors.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Browser, HttpClient};
use serde_json::json;
use xtask::engine::Engine;

use crate::samples::Samples;

const NAME: &str = "leonardo-bench-log-page";
const PASSWORD: &str = "bench-password";
const DEADLINE: Duration = Duration::from_mins(2);
/// Requests to the gate in one measurement.
const GATE_REQUESTS: usize = 500;

/// A running container.
pub struct Container<'engine> {
    engine: &'engine Engine,
    /// Where the portal's port is published.
    address: String,
}

impl<'engine> Container<'engine> {
    /// Starts the container and waits for the portal. The engine keeps none of its output.
    pub fn start(engine: &'engine Engine, image: &str) -> Result<Self> {
        remove(engine)?;
        let mut run = engine.docker();
        run.args(["run", "--detach", "--name", NAME, "--log-driver", "none", "--publish", "127.0.0.1::1111"]);
        run.args(["--env", &format!("WEB_PASSWORD={PASSWORD}"), "--env", "CF_QUICK_TUNNELS=false", image]);
        kit::cmd::run(&mut run)?;
        let published = kit::cmd::stdout(engine.docker().args(["port", NAME, "1111/tcp"]))?;
        let address = published.lines().next().context("the port is not published")?.to_owned();
        let container = Self { engine, address };
        let web = HttpClient::new(container.address.clone());
        kit::wait::until(DEADLINE, "the portal", || (web.get("/login").status == 200).then_some(()))?;
        container.copy_writer()?;
        Ok(container)
    }

    fn exec(&self) -> Command {
        let mut command = self.engine.docker();
        command.args(["exec", NAME]);
        command
    }

    /// Runs a shell script as root and returns its output.
    pub fn sh(&self, script: &str) -> Result<String> {
        kit::cmd::stdout(self.exec().args(["sh", "-c", script]))
    }

    fn copy_writer(&self) -> Result<()> {
        let mut tee = self.engine.docker();
        let script = include_str!("write_log.py");
        kit::cmd::run_with_input(
            tee.args(["exec", "--interactive", NAME, "tee", "/tmp/write_log.py"]),
            script.as_bytes(),
        )
    }

    /// Creates a log that the portal may read.
    pub fn create_log(&self, name: &str) -> Result<()> {
        self.sh(&format!("echo begin > /var/log/supervisor/{name}.log")).map(drop)
    }

    /// Writes a log to its end.
    pub fn write_log(&self, arguments: &[&str]) -> Result<()> {
        kit::cmd::run(self.exec().args(["python3", "/tmp/write_log.py"]).args(arguments))
    }

    /// Starts to write a log.
    pub fn start_writing(&self, arguments: &[&str]) -> Result<Child> {
        let mut writer = self.exec();
        writer.args(["python3", "/tmp/write_log.py"]).args(arguments);
        writer.spawn().context("cannot start docker exec")
    }

    /// A browser that shows a log.
    pub fn browser(&self, log: &str) -> Browser {
        let browser = Browser::start(1280, 800);
        browser.open(&format!("http://{}/", self.address));
        browser.type_into("[name=username]", "user");
        browser.type_into("[name=password]", PASSWORD);
        browser.click("button");
        browser.wait_for_text("h1", "Services");
        browser.open(&format!("http://{}/leonardo/logs?s={log}", self.address));
        browser.wait_for_partial_text("#stream-state", "Live");
        browser
    }

    /// A visitor without a browser, who is logged in.
    pub fn visitor(&self) -> Result<HttpClient> {
        let web = HttpClient::new(self.address.clone());
        let answer = web.log_in("user", PASSWORD);
        ensure!(answer.status == 303, "the login failed ({})", answer.status);
        Ok(web.with("cookie", &answer.cookie()).with("origin", &format!("http://{}", self.address)))
    }

    /// Opens a live view, whose messages are read and dropped until the view is.
    pub fn view(&self, log: &str) -> Result<Reader> {
        self.read_all("stream", &json!({"services": [log]}).to_string())
    }

    pub fn start_search(&self, log: &str, pattern: &str) -> Result<Reader> {
        self.read_all("search", &json!({"services": [log], "filter": pattern}).to_string())
    }

    fn read_all(&self, path: &str, body: &str) -> Result<Reader> {
        let cookie = HttpClient::new(self.address.clone()).log_in("user", PASSWORD).cookie();
        let mut connection = TcpStream::connect(&self.address)?;
        let (address, length) = (&self.address, body.len());
        write!(
            connection,
            "POST /leonardo/logs/{path} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\n\
             Cookie: {cookie}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut reading = connection.try_clone()?;
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while reading.read(&mut buffer).is_ok_and(|length| length > 0) {}
        });
        Ok(Reader(connection))
    }

    /// PSS of the portal, in kB. Only the machine's root may read it.
    pub fn portal_memory(&self) -> Result<u64> {
        let processes = kit::cmd::stdout(self.engine.docker().args(["top", NAME, "-eo", "pid,comm"]))?;
        let portal = processes.lines().find_map(|line| line.trim().strip_suffix("service-portal"));
        let id: u32 = portal.context("the portal does not run")?.trim().parse()?;
        let rollup = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no PSS")?;
        Ok(pss.trim().trim_end_matches(" kB").parse()?)
    }

    /// Time that the gate takes to let a request of a session pass.
    pub fn gate_delays(&self) -> Result<Samples> {
        let login = format!("username=user&password={PASSWORD}");
        let mut first = self.as_caddy();
        first.args([
            "--cookie-jar",
            "/tmp/gate.cookies",
            "--header",
            &format!("Origin: http://{}", self.address),
        ]);
        kit::cmd::run(first.args(["--data", &login, "http://portal/leonardo/login"]))?;
        let mut ask = self.as_caddy();
        ask.args(["--cookie", "/tmp/gate.cookies", "--write-out", "%{http_code} %{time_total}\n"]);
        ask.args(["--header", "X-Forwarded-Method: GET", "--header", "X-Forwarded-Uri: /"]);
        let url = format!("http://portal/gate/verify?[1-{GATE_REQUESTS}]");
        let answers = kit::cmd::stdout(ask.arg(url).stderr(Stdio::inherit()))?;
        let mut times = Vec::new();
        for answer in answers.lines() {
            let (status, time) = answer.split_once(' ').context("curl printed something else")?;
            ensure!(status == "200", "the gate answered {status}");
            times.push(Duration::from_secs_f64(time.parse()?));
        }
        Samples::new(times).context("the gate was not asked")
    }

    /// A request to the portal's socket with the headers that Caddy sets: a session is valid for its address only.
    fn as_caddy(&self) -> Command {
        let mut curl = self.exec();
        curl.args(["curl", "--silent", "--output", "/dev/null", "--unix-socket", "/run/portal/portal.sock"]);
        curl.args(["--header", &format!("Host: {}", self.address)]);
        curl.args(["--header", &format!("X-Forwarded-Host: {}", self.address)]);
        curl.args(["--header", "X-Forwarded-For: 192.0.2.1", "--header", "X-Forwarded-Proto: http"]);
        curl.args(["--header", "X-Leonardo-Port: 8080"]);
        curl
    }
}

/// A connection whose content is read until this is dropped.
pub struct Reader(TcpStream);

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}

/// Removes the container.
pub fn remove(engine: &Engine) -> Result<()> {
    kit::cmd::run(engine.docker().args(["rm", "--force", "--volumes", NAME]))
}
