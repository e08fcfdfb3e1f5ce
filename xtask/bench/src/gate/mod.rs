//! Cost of the gate, which asks the portal about every request, and token rotation under load.
//!
//! The service is a second Caddy with a small file. The two ports differ only in the gate: one has the shipped template, the
//! other the same template without its line `import %GATE%`.

mod http;
mod load;
mod token_rotation;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use xtask::engine::{Engine, packages};
use xtask::image;

use http::Connection;

const NAME: &str = "leonardo-bench-gate";
const DEADLINE: Duration = Duration::from_mins(2);
const PORTAL: u16 = 1111;
/// Port of the second Caddy, inside the container.
const SERVICE: u16 = 18_090;
/// The service behind the gate.
const GATED: u16 = 8090;
/// The same service with a template of its own, chosen by its pretended listening port.
const BARE: u16 = 8091;
const BARE_LISTEN: u16 = 18_091;
const SHARE: &str = "/opt/caddy/share";
/// As large as a small page, in bytes.
const PAGE: usize = 2_000;
const PASSWORD: &str = "bench-password";

/// Cost of the gate per request, and a change of the login under load
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rounds of each load, in turns; the median is shown
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Duration of each load, in seconds
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Changes of the token under load
    #[arg(long, default_value_t = 5)]
    changes: usize,
    /// Measure this variant instead of the machine's default
    #[arg(long)]
    variant: Option<String>,
}

/// Measures and prints two tables.
pub fn run(args: &Args, engine: &Engine) -> Result<()> {
    packages::install(&[load::TOOL])?;
    let built = image::build(engine, args.variant.as_deref())?;
    let measured = start(engine, &built.image).and_then(|container| {
        loads(&container, args.rounds.max(1), Duration::from_secs(args.seconds))?;
        changes(&container, args.changes)
    });
    remove(engine)?;
    measured
}

/// A container with both services, and the ways to it.
struct Container<'engine> {
    engine: &'engine Engine,
    address: Ipv4Addr,
    token: String,
    cookie: String,
}

impl Container<'_> {
    fn at(&self, port: u16) -> SocketAddr {
        (self.address, port).into()
    }

    fn exec(&self) -> Command {
        let mut command = self.engine.docker();
        command.args(["exec", NAME]);
        command
    }

    /// Address at which the engine publishes a port.
    fn published(&self, port: u16) -> Result<String> {
        let text = kit::cmd::stdout(self.engine.docker().args(["port", NAME, &format!("{port}/tcp")]))?;
        Ok(text.lines().next().context("the port is not published")?.to_owned())
    }

    /// A file of the container, written as root.
    fn write(&self, path: &str, content: &str) -> Result<()> {
        let mut tee = self.engine.docker();
        kit::cmd::run_with_input(tee.args(["exec", "--interactive", NAME, "tee", path]), content.as_bytes())
    }
}

fn start<'engine>(engine: &'engine Engine, image: &str) -> Result<Container<'engine>> {
    remove(engine)?;
    let mut run = engine.docker();
    run.args(["run", "--detach", "--name", NAME, "--env", &format!("WEB_PASSWORD={PASSWORD}")]);
    for port in [PORTAL, GATED] {
        run.args(["--publish", &format!("127.0.0.1::{port}")]);
    }
    kit::cmd::run(run.arg(image))?;
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = kit::cmd::stdout(engine.docker().args(["inspect", "--format", format, NAME]))?;
    let address = address.trim().parse().context("the container has no address of its own")?;
    let mut container = Container { engine, address, token: String::new(), cookie: String::new() };
    until(&container, PORTAL, "/login", "")?;
    serve(&container)?;
    container.token = kit::cmd::stdout(container.exec().args(["bash", "-lc", "printf %s \"$WEB_TOKEN\""]))?;
    let form = format!("username=user&password={PASSWORD}");
    let answer = Connection::open(container.at(PORTAL))?.post_form("/login", &form)?;
    container.cookie = answer.cookie.context("the login gave no cookie")?;
    until(&container, GATED, "/", &bearer(&container))?;
    until(&container, BARE, "/", "")?;
    Ok(container)
}

/// Starts the service and registers it twice.
fn serve(container: &Container<'_>) -> Result<()> {
    kit::cmd::run(container.exec().args(["mkdir", "-p", "/srv/bench"]))?;
    container.write("/srv/bench/index.html", &"x".repeat(PAGE))?;
    // Without compression, which would cost more than everything that is measured here.
    let mut service = container.engine.docker();
    service.args([
        "exec",
        "--detach",
        NAME,
        "/opt/caddy/bin/caddy",
        "file-server",
        "--no-compress",
        "--root",
        "/srv/bench",
    ]);
    kit::cmd::run(service.args(["--listen", &format!("127.0.0.1:{SERVICE}")]))?;
    let shipped = kit::cmd::stdout(container.exec().args(["cat", &format!("{SHARE}/service_config")]))?;
    let bare = without_gate(&shipped).context("the shipped template has no line import %GATE%")?;
    container.write(&format!("{SHARE}/service_config_{BARE_LISTEN}"), &bare)?;
    kit::cmd::run(container.exec().args(["supervisorctl", "signal", "HUP", "caddy"]))?;
    for (public, listen) in [(GATED, SERVICE), (BARE, BARE_LISTEN)] {
        let text =
            format!(r#"{{"service_name":"bench {public}","listen_port":{listen},"proxy_port":{public}}}"#);
        container.write(&format!("/run/http_ports/{public}"), &text)?;
    }
    Ok(())
}

/// Returns the template without the gate, in front of the same service.
fn without_gate(template: &str) -> Option<String> {
    let rest: Vec<&str> = template.lines().filter(|line| line.trim() != "import %GATE%").collect();
    let found = rest.len() < template.lines().count();
    found.then(|| rest.join("\n").replace("%UPSTREAMS%", &format!("127.0.0.1:{SERVICE}")) + "\n")
}

fn until(container: &Container<'_>, port: u16, path: &str, header: &str) -> Result<()> {
    let header = if header.is_empty() { "X-Bench: 1" } else { header };
    kit::wait::until(DEADLINE, &format!("a page at port {port}"), || {
        let answer = Connection::open(container.at(port)).and_then(|mut server| server.get(path, header));
        answer.is_ok_and(|answer| answer.status == 200).then_some(())
    })
}

fn bearer(container: &Container<'_>) -> String {
    format!("Authorization: Bearer {}", container.token)
}

fn loads(container: &Container<'_>, rounds: usize, duration: Duration) -> Result<()> {
    let url = |port: u16, path: &str| format!("http://{}{path}", container.at(port));
    let bearer = bearer(container);
    let cookie = format!("Cookie: {}", container.cookie);
    let rows: [(&str, String, Option<&str>); 6] = [
        ("page, no gate", url(BARE, "/"), None),
        ("page, gate, Bearer", url(GATED, "/"), Some(&bearer)),
        ("page, gate, session", url(GATED, "/"), Some(&cookie)),
        ("login page", url(PORTAL, "/login"), None),
        ("login page, published port", format!("http://{}/login", container.published(PORTAL)?), None),
        (
            "page, gate, Bearer, published port",
            format!("http://{}/", container.published(GATED)?),
            Some(&bearer),
        ),
    ];
    for connections in [16, 1] {
        let mut measured = vec![Vec::new(); rows.len()];
        // In turns, so that a slow minute of the machine affects all.
        for _ in 0..rounds {
            for ((_, url, header), measured) in rows.iter().zip(&mut measured) {
                measured.push(load::send(url, *header, connections, duration)?);
            }
        }
        let mut bare = None;
        for ((what, _, _), measured) in rows.iter().zip(measured) {
            let load = load::median(measured).context("nothing was measured")?;
            let ratio = 100.0 * load.rate / *bare.get_or_insert(load.rate);
            writeln!(
                io::stdout(),
                "{what:<35} {connections:>2} connections  {load}  {ratio:>3.0} % of no gate"
            )?;
        }
    }
    Ok(())
}

fn changes(container: &Container<'_>, changes: usize) -> Result<()> {
    let mut token = container.token.clone();
    for number in 1..=changes {
        let (outcome, new) = token_rotation::measure(&mut container.exec(), container.at(GATED), &token, 16)?;
        token = new;
        let milliseconds = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        writeln!(
            io::stdout(),
            "change {number} under {} requests: command {}, old refused after {}, new accepted after {}; \
             {} failed, {} refused while it ran, {} connections broke",
            outcome.requests,
            milliseconds(outcome.command),
            milliseconds(outcome.old_refused),
            outcome.new_accepted.map_or_else(|| "never".to_owned(), milliseconds),
            outcome.failed,
            outcome.overlapping,
            outcome.broken
        )?;
        token_rotation::wait_until_accepted(container.at(GATED), &token)?;
    }
    Ok(())
}

fn remove(engine: &Engine) -> Result<()> {
    kit::cmd::run(engine.docker().args(["rm", "--force", "--volumes", NAME]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_gate_is_taken_out_of_the_template() {
        let template = ":%PROXY_PORT% {\n\timport %GATE%\n\treverse_proxy %UPSTREAMS%\n}\n";
        let expected = ":%PROXY_PORT% {\n\treverse_proxy 127.0.0.1:18090\n}\n";
        assert_eq!(without_gate(template).as_deref(), Some(expected));
        assert_eq!(without_gate("reverse_proxy\n"), None);
    }
}
