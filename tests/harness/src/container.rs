//! A container that lives as long as its test.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use crate::{HttpClient, Output};

const IMAGE: &str = "LEONARDO_TEST_IMAGE";
/// Certificates that the machine trusts, on Debian and Ubuntu.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// A variable with another default in tests.
const QUICK_TUNNELS: &str = "CF_QUICK_TUNNELS";
/// Long, because the machine may be busy with other tests.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Options of `docker run`.
#[derive(Default)]
pub struct RunOptions {
    env: Vec<(String, String)>,
    options: Vec<String>,
    command: Vec<String>,
    image: Option<String>,
}

impl RunOptions {
    pub fn new() -> Self {
        Self::default()
    }

    /// A variable; any value that a process can have.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// A host directory or file at a path in the container; `how` is a mode such as `ro`, or empty.
    pub fn mount(mut self, from: &Path, to: &str, how: &str) -> Self {
        let suffix = if how.is_empty() { String::new() } else { format!(":{how}") };
        self.options.extend(["--volume".into(), format!("{}:{to}{suffix}", from.display())]);
        self
    }

    /// Any other option of `docker run`.
    pub fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// An image built on the one under test.
    pub fn image(mut self, image: &Image) -> Self {
        self.image = Some(image.tag.clone());
        self
    }

    /// Another command than the image's own.
    pub fn command(mut self, words: &[&str]) -> Self {
        self.command = words.iter().map(ToString::to_string).collect();
        self
    }

    /// Publishes a port of the container on a free loopback port.
    pub fn publish(mut self, port: u16) -> Self {
        self.options.extend(["--publish".into(), format!("127.0.0.1::{port}")]);
        self
    }

    /// Publishes a port under the same number at a loopback address.
    pub fn publish_at(mut self, address: &str, port: u16) -> Self {
        self.options.extend(["--publish".into(), format!("{address}:{port}:{port}")]);
        self
    }

    /// A loopback address that no other test uses, for `publish_at`.
    pub fn loopback() -> String {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let [high, low] = (std::process::id() as u16).to_be_bytes();
        format!("127.{high}.{low}.{}", NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Starts the container in the background.
    #[track_caller]
    pub fn start(self) -> Container {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("leonardo-e2e-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let container = Container { name };
        let run = self.publish(1111).publish(22);
        let mut command = docker(&["run", "--detach", "--name", &container.name]);
        run.add_to(&mut command);
        Output::from(command.output().expect("docker")).text();
        container
    }

    /// Starts the container, and waits until the portal answers.
    #[track_caller]
    pub fn start_and_wait(self) -> Container {
        let container = self.start();
        container.wait_for_portal();
        container
    }

    /// Runs the container to its end.
    pub fn run_to_end(self) -> Output {
        let mut command = docker(&["run", "--rm"]);
        self.add_to(&mut command);
        command.output().expect("docker").into()
    }

    fn add_to(mut self, command: &mut Command) {
        // An image that was built with a network would open tunnels to the internet.
        if !self.env.iter().any(|(name, _)| name == QUICK_TUNNELS) {
            self = self.env(QUICK_TUNNELS, "false");
        }
        for (name, value) in &self.env {
            // In docker's environment, because a value may contain bytes that a command line or file cannot.
            command.env(name, value).args(["--env", name]);
        }
        command.args(&self.options).arg(self.image.unwrap_or_else(image)).args(&self.command);
    }
}

/// An image built on the one under test, removed with its test.
pub struct Image {
    tag: String,
}

impl Image {
    /// Builds an image from the instructions of a Dockerfile that come after its `FROM`.
    #[track_caller]
    pub fn extended(instructions: &str) -> Self {
        let tag = Self::fresh_tag();
        let mut build = docker(&["build", "--quiet", "--tag", &tag, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("docker");
        let file = format!("FROM {}\n{instructions}\n", image());
        build.stdin.take().expect("a pipe").write_all(file.as_bytes()).expect("a listening builder");
        assert!(build.wait().expect("docker").success(), "cannot build:\n{file}");
        Self { tag }
    }

    /// Builds a folder of the repository whose Dockerfile begins with `FROM base` or `FROM ${BASE}`, with named contexts of it.
    /// Packages are downloaded with the certificates of this machine.
    #[track_caller]
    pub fn of_folder(folder: &str, contexts: &[(&str, &str)]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let tag = Self::fresh_tag();
        let base = format!("base=docker-image://{}", image());
        let mut build =
            docker(&["buildx", "build", "--quiet", "--load", "--tag", &tag, "--build-context", &base]);
        build.arg("--build-arg").arg(format!("BASE={}", image()));
        for (name, directory) in contexts {
            build.arg("--build-context").arg(format!("{name}={}", root.join(directory).display()));
        }
        if Path::new(CERTIFICATES).exists() {
            build.args(["--secret", &format!("id=ca_bundle,src={CERTIFICATES}")]);
        }
        Output::from(build.arg(root.join(folder)).output().expect("docker")).text();
        Self { tag }
    }

    /// Name of the image.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    fn fresh_tag() -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("leonardo-e2e-{}:{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = docker(&["rmi", "--force", &self.tag]).output();
    }
}

/// A running container, removed with its test.
pub struct Container {
    name: String,
}

impl Container {
    /// Its name in the engine.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a command as root.
    pub fn exec(&self, words: &[&str]) -> Output {
        docker(&["exec", &self.name]).args(words).output().expect("docker").into()
    }

    /// Runs a command as root on a terminal of its own.
    pub fn terminal(&self, words: &[&str]) -> Output {
        docker(&["exec", "--tty", &self.name]).args(words).output().expect("docker").into()
    }

    /// Runs a shell script as root.
    pub fn sh(&self, script: &str) -> Output {
        self.exec(&["bash", "-c", script])
    }

    /// Starts a command in the background.
    #[track_caller]
    pub fn background(&self, words: &[&str]) {
        let mut command = docker(&["exec", "--detach", &self.name]);
        Output::from(command.args(words).output().expect("docker")).text();
    }

    /// Writes a file.
    #[track_caller]
    pub fn write(&self, path: &str, content: &str) {
        let mut child = docker(&["exec", "--interactive", &self.name, "tee", path])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("docker");
        child.stdin.take().expect("a pipe").write_all(content.as_bytes()).expect("a listening tee");
        assert!(child.wait().expect("docker").success(), "cannot write {path}");
    }

    /// The loopback address at which a published port is reached.
    #[track_caller]
    pub fn address(&self, port: u16) -> String {
        let mut command = docker(&["port", &self.name, &format!("{port}/tcp")]);
        Output::from(command.output().expect("docker"))
            .text()
            .lines()
            .next()
            .expect("a published port")
            .to_owned()
    }

    /// A client for a published port.
    #[track_caller]
    pub fn web(&self, port: u16) -> HttpClient {
        HttpClient::new(self.address(port))
    }

    /// Waits until the portal answers.
    #[track_caller]
    pub fn wait_for_portal(&self) {
        self.wait_for(1111);
    }

    /// Waits until the gate answers on a port.
    #[track_caller]
    pub fn wait_for(&self, port: u16) {
        let web = self.web(port);
        self.wait_until("the health check", || {
            web.get("/leonardo/health-check").ok_text().as_deref() == Some("ok\n")
        });
    }

    /// Waits until every stage but sync and permissions has ended.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        let web = self.web(1111);
        self.wait_until("ready", || web.get("/leonardo/ready").ok_text().is_some());
    }

    /// Waits until the log of a program contains a text, and returns it: supervisord writes it after the program.
    #[track_caller]
    pub fn log_with(&self, program: &str, text: &str) -> String {
        let log = || self.sh(&format!("cat /var/log/supervisor/{program}.log")).text();
        self.wait_until(&format!("{text:?} in the log of {program}"), || log().contains(text));
        log()
    }

    /// Waits for a condition; panics with the container's log at the timeout.
    #[track_caller]
    pub fn wait_until(&self, what: &str, mut ask: impl FnMut() -> bool) {
        if let Err(error) = kit::wait::until(DEADLINE, what, || ask().then_some(())) {
            let logs = self.sh("tail -n 40 /var/log/supervisor/*.log").stdout;
            panic!("{error}\n{}\n{}", self.logs(), String::from_utf8_lossy(&logs));
        }
    }

    /// User, password and token of the web services.
    #[track_caller]
    pub fn login(&self) -> [String; 3] {
        let text = self.exec(&["cat", "/opt/leonardo/etc/web_credentials.json"]).text();
        let login: serde_json::Value = serde_json::from_str(&text).expect("a login");
        ["web_user", "web_password", "web_token"].map(|name| login[name].as_str().expect("a text").to_owned())
    }

    /// Output of the container so far.
    pub fn logs(&self) -> String {
        let output = Output::from(docker(&["logs", &self.name]).output().expect("docker"));
        String::from_utf8_lossy(&output.stdout).into_owned() + &output.stderr
    }

    /// State of the engine's health check, and the output of the last one.
    #[track_caller]
    pub fn health(&self) -> (String, String) {
        let format = "{{.State.Health.Status}} {{range .State.Health.Log}}\u{1e}{{.Output}}{{end}}";
        let text =
            Output::from(docker(&["inspect", "--format", format, &self.name]).output().expect("docker"))
                .text();
        let (status, printed) = text.split_once(' ').unwrap_or((&text, ""));
        (status.to_owned(), printed.rsplit('\u{1e}').next().unwrap_or_default().to_owned())
    }

    /// `docker diff`: what differs from the image, as `A`, `C` or `D` with a path.
    #[track_caller]
    pub fn docker_diff(&self) -> Vec<String> {
        let text = Output::from(docker(&["diff", &self.name]).output().expect("docker")).text();
        text.lines().map(str::to_owned).collect()
    }

    /// `docker commit`.
    #[track_caller]
    pub fn commit(&self) -> Image {
        let tag = Image::fresh_tag();
        Output::from(docker(&["commit", &self.name, &tag]).output().expect("docker")).text();
        Image { tag }
    }

    /// `docker restart`.
    #[track_caller]
    pub fn restart(&self) {
        Output::from(docker(&["restart", &self.name]).output().expect("docker")).text();
    }

    /// `docker stop` with its default timeout; returns the container's exit code.
    #[track_caller]
    pub fn stop(&self) -> i32 {
        Output::from(docker(&["stop", &self.name]).output().expect("docker")).text();
        let mut inspect = docker(&["inspect", "--format", "{{.State.ExitCode}}", &self.name]);
        Output::from(inspect.output().expect("docker")).text().parse().expect("a number")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // A container that cannot be removed uses memory, but must not hide this test's result.
        let _ = docker(&["rm", "--force", "--volumes", &self.name]).output();
    }
}

fn docker(words: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(words);
    command
}

fn image() -> String {
    std::env::var(IMAGE)
        .unwrap_or_else(|_| panic!("{IMAGE} is not set: run the tests with `cargo xtask e2e`"))
}
