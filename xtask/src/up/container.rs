//! The container of `up`: finds it, decides if it is kept, and starts or removes it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use kit::{HintExt, UsageError};
use serde::Deserialize;

use super::options::Options;
use super::published_ports::{self, Published, ServicePort};
use crate::engine::Engine;
use crate::step;

/// Label of our containers; its value is the digest of their image and options.
const LABEL: &str = "org.leonardo.options";
const PORTAL_INSIDE: u16 = 1111;
/// supervisord ends its programs in order, which may take longer than docker's ten seconds.
const STOP_SECONDS: &str = "30";

/// An existing container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingContainer {
    /// Its full id.
    pub id: String,
    /// The ports of this machine that it holds now.
    pub ports: Vec<u16>,
    running: bool,
    digest: Option<String>,
}

/// Action that `up` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing has changed.
    Keep,
    /// No container exists.
    Create,
    /// It is ours, but has another image or options, or has stopped.
    Replace,
}

/// Decides to keep, replace or create the container; fails if a foreign container has the name.
pub fn decide(existing: Option<&ExistingContainer>, name: &str, digest: &str) -> Result<Action> {
    match existing {
        None => Ok(Action::Create),
        Some(ExistingContainer { digest: None, .. }) => foreign(name),
        Some(ExistingContainer { running: true, digest: Some(old), .. }) if old == digest => Ok(Action::Keep),
        Some(_) => Ok(Action::Replace),
    }
}

fn foreign<T>(name: &str) -> Result<T> {
    Err(anyhow!("container {name} exists and was not created by cargo xtask"))
        .hint(|| "choose another name with --name".to_owned())
}

/// Refuses a name that docker would refuse, before anything is built.
pub fn check_name(name: &str) -> Result<()> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    let valid = name.len() > 1
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(plain);
    if valid {
        Ok(())
    } else {
        Err(UsageError(format!("{name:?} is not a container's name: letters, digits, _ . -")).into())
    }
}

/// The container of that name.
pub fn find(engine: &Engine, name: &str) -> Result<Option<ExistingContainer>> {
    // The filter, a regular expression, prints nothing if there is no container; `inspect` would fail.
    let filter = format!("name=^/?{}$", name.replace('.', "\\."));
    let id = kit::cmd::stdout(engine.docker().args([
        "ps",
        "--all",
        "--quiet",
        "--no-trunc",
        "--filter",
        &filter,
    ]))?;
    match id.trim() {
        "" => Ok(None),
        id => {
            let text = kit::cmd::stdout(engine.docker().args(["container", "inspect", id]))?;
            Ok(Some(
                parse_inspection(&text)
                    .with_context(|| format!("cannot read the output of docker inspect for {name}"))?,
            ))
        }
    }
}

/// The ports that lead to portal, SSH server and the image's services now.
pub fn published(engine: &Engine, name: &str, options: &Options, services: &[u16]) -> Result<Published> {
    let port = |inside: u16| {
        let text = kit::cmd::stdout(engine.docker().args(["port", name, &format!("{inside}/tcp")]))?;
        let port = text.lines().next().and_then(|line| line.rsplit_once(':')?.1.parse().ok());
        port.with_context(|| format!("{name} does not publish port {inside}"))
    };
    let service = |&inside: &u16| port(inside).map(|outside| ServicePort { inside, outside });
    let services = services.iter().map(service).collect::<Result<_>>()?;
    Ok(Published { portal: port(PORTAL_INSIDE)?, ssh: port(options.ssh_inside())?, services })
}

/// Returns the ports of the image's own web services.
pub fn services(engine: &Engine, image: &str) -> Result<Vec<u16>> {
    let format = ["image", "inspect", "--format", "{{json .Config.ExposedPorts}}", image];
    published_ports::of_services(&kit::cmd::stdout(engine.docker().args(format))?)
}

/// Stops and removes a container with its anonymous volumes.
pub fn remove(engine: &Engine, name: &str, id: &str) -> Result<()> {
    step::with(&format!("stop {name}"), || {
        kit::cmd::run(engine.docker().args(["stop", "--time", STOP_SECONDS, id]))?;
        kit::cmd::run(engine.docker().args(["rm", "--force", "--volumes", id]))
    })
}

/// Removes the container of that name if it is ours; returns whether there was one.
pub fn remove_ours(engine: &Engine, name: &str) -> Result<bool> {
    match find(engine, name)? {
        None => Ok(false),
        Some(ExistingContainer { digest: None, .. }) => foreign(name),
        Some(existing) => remove(engine, name, &existing.id).map(|()| true),
    }
}

/// Starts the container.
pub fn start(
    engine: &Engine,
    name: &str,
    image: &str,
    digest: &str,
    options: &Options,
    ports: &Published,
    gpus: &[String],
) -> Result<()> {
    let mut command = engine.docker();
    run_arguments(&mut command, name, digest, options, ports);
    command.args(gpus).arg(image);
    kit::cmd::run(&mut command)
}

/// Adds everything between `docker` and the image. Values of settings travel in the client's environment, because every
/// user can read the arguments of a process.
fn run_arguments(command: &mut Command, name: &str, digest: &str, options: &Options, ports: &Published) {
    command.args(["run", "--detach", "--pull", "never", "--name", name]);
    command.args(["--label", &format!("{LABEL}={digest}")]);
    let address =
        if options.bind.is_ipv6() { format!("[{}]", options.bind) } else { options.bind.to_string() };
    for ServicePort { inside, outside } in all(options, ports) {
        command.args(["--publish", &format!("{address}:{outside}:{inside}")]);
    }
    command.arg("--mount").arg(mount(options));
    for (setting, value) in addresses(options, ports) {
        if !options.environment.contains_key(&setting) {
            command.args(["--env", &format!("{setting}={value}")]);
        }
    }
    for (setting, value) in &options.environment {
        if is_read_by_client(setting) {
            command.args(["--env", &format!("{setting}={value}")]);
        } else {
            command.args(["--env", setting]).env(setting, value);
        }
    }
}

/// Returns all ports that are published.
fn all(options: &Options, ports: &Published) -> Vec<ServicePort> {
    let portal = ServicePort { inside: PORTAL_INSIDE, outside: ports.portal };
    let ssh = ServicePort { inside: options.ssh_inside(), outside: ports.ssh };
    [portal, ssh].into_iter().chain(ports.services.iter().copied()).collect()
}

/// Returns the variables by which the container knows where it is reached.
fn addresses(options: &Options, ports: &Published) -> Vec<(String, String)> {
    let mapped = |port: ServicePort| (format!("MAPPED_TCP_PORT_{}", port.inside), port.outside.to_string());
    let mut variables: Vec<_> = all(options, ports).into_iter().map(mapped).collect();
    if !options.bind.is_loopback() && !options.bind.is_unspecified() {
        variables.push(("DIRECT_ADDRESS".to_owned(), options.bind.to_string()));
    }
    variables
}

/// True for variables that would affect the client itself; none of them is a secret.
fn is_read_by_client(name: &str) -> bool {
    ["PATH", "HOME", "TMPDIR", "TZ"].contains(&name) || name.starts_with("LD_") || name.starts_with("GO")
}

/// The value of `--mount` is a line of CSV, so a quoted field may hold a comma.
fn mount(options: &Options) -> OsString {
    let mut text = OsString::from("type=bind,target=/workspace,\"source=");
    text.push(options.workspace.to_string_lossy().replace('"', "\"\""));
    text.push("\"");
    text
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    state: State,
    config: Config,
    host_config: HostConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    port_bindings: Option<BTreeMap<String, Option<Vec<Binding>>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Binding {
    host_port: String,
}

/// Reads `docker container inspect`.
fn parse_inspection(text: &str) -> Result<ExistingContainer> {
    let mut all: Vec<Inspected> = serde_json::from_str(text)?;
    let Some(one) = all.pop() else { bail!("it is empty") };
    let bindings = one.host_config.port_bindings.unwrap_or_default();
    let ports =
        bindings.into_values().flatten().flatten().filter_map(|binding| binding.host_port.parse().ok());
    Ok(ExistingContainer {
        id: one.id,
        // A stopped container holds no port.
        ports: ports.filter(|_| one.state.running).collect(),
        running: one.state.running,
        digest: one.config.labels.unwrap_or_default().remove(LABEL),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(running: bool, digest: Option<&str>) -> ExistingContainer {
        ExistingContainer { id: "1".into(), ports: vec![], running, digest: digest.map(str::to_owned) }
    }

    #[test]
    fn only_an_unchanged_running_container_of_ours_is_kept() {
        let decide = |existing: Option<ExistingContainer>| {
            decide(existing.as_ref(), "leonardo", "d").map_err(|error| error.to_string())
        };
        assert_eq!(decide(None), Ok(Action::Create));
        assert_eq!(decide(Some(container(true, Some("d")))), Ok(Action::Keep));
        assert_eq!(decide(Some(container(false, Some("d")))), Ok(Action::Replace));
        assert_eq!(decide(Some(container(true, Some("other")))), Ok(Action::Replace));
        let refused = Err("container leonardo exists and was not created by cargo xtask".into());
        assert_eq!(decide(Some(container(false, None))), refused);
    }

    #[test]
    fn the_output_of_docker_is_read() {
        let text = |running: bool, labels: &str| {
            format!(
                r#"[{{"Id":"abc","State":{{"Running":{running}}},"Config":{{"Labels":{labels}}},"HostConfig":{{"PortBindings":
                {{"1111/tcp":[{{"HostIp":"127.0.0.1","HostPort":"1112"}}],"22/tcp":null}}}}}}]"#
            )
        };
        let ours = ExistingContainer {
            id: "abc".into(),
            ports: vec![1112],
            running: true,
            digest: Some("d".into()),
        };
        assert_eq!(parse_inspection(&text(true, r#"{"org.leonardo.options":"d","x":"y"}"#)).unwrap(), ours);
        let foreign = ExistingContainer { id: "abc".into(), ports: vec![], running: false, digest: None };
        assert_eq!(parse_inspection(&text(false, "null")).unwrap(), foreign);
    }

    #[test]
    fn a_secret_is_in_the_environment_and_not_in_the_arguments() {
        let environment = [("WEB_PASSWORD", "hunt\ner2="), ("PATH", "/x"), ("SSH_PORT", "2200")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let options = Options::for_test("/w,x\"y", environment);
        let mut command = Command::new("docker");
        let services = vec![ServicePort { inside: 8888, outside: 8889 }];
        run_arguments(&mut command, "n", "d", &options, &Published { portal: 1111, ssh: 2222, services });
        let words: Vec<_> = command.get_args().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(
            words,
            [
                "run",
                "--detach",
                "--pull",
                "never",
                "--name",
                "n",
                "--label",
                "org.leonardo.options=d",
                "--publish",
                "127.0.0.1:1111:1111",
                "--publish",
                "127.0.0.1:2222:2200",
                "--publish",
                "127.0.0.1:8889:8888",
                "--mount",
                "type=bind,target=/workspace,\"source=/w,x\"\"y\"",
                "--env",
                "MAPPED_TCP_PORT_1111=1111",
                "--env",
                "MAPPED_TCP_PORT_2200=2222",
                "--env",
                "MAPPED_TCP_PORT_8888=8889",
                "--env",
                "PATH=/x",
                "--env",
                "SSH_PORT",
                "--env",
                "WEB_PASSWORD"
            ]
        );
        let environment: Vec<_> =
            command.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?))).collect();
        assert_eq!(environment, [("SSH_PORT", "2200"), ("WEB_PASSWORD", "hunt\ner2=")]);
    }

    #[test]
    fn the_container_knows_its_addresses_unless_the_user_states_others() {
        let arguments = |bind: &str, given: &[(&str, &str)]| {
            let given = given.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
            let mut options = Options::for_test("/w", given.collect());
            options.bind = bind.parse().unwrap();
            let mut command = Command::new("docker");
            let ports = Published { portal: 1112, ssh: 2223, services: Vec::new() };
            run_arguments(&mut command, "n", "d", &options, &ports);
            let words: Vec<_> = command.get_args().map(|word| word.to_str().unwrap().to_owned()).collect();
            words[14..].iter().filter(|word| *word != "--env").cloned().collect::<Vec<_>>()
        };
        let [portal, ssh] = ["MAPPED_TCP_PORT_1111=1112", "MAPPED_TCP_PORT_22=2223"];
        assert_eq!(arguments("127.0.0.1", &[]), [portal, ssh]);
        assert_eq!(arguments("::", &[]), [portal, ssh]);
        assert_eq!(arguments("192.0.2.7", &[]), [portal, ssh, "DIRECT_ADDRESS=192.0.2.7"]);
        assert_eq!(arguments("2001:db8::7", &[]), [portal, ssh, "DIRECT_ADDRESS=2001:db8::7"]);
        let given = [("DIRECT_ADDRESS", "lab"), ("MAPPED_TCP_PORT_1111", "80")];
        assert_eq!(arguments("192.0.2.7", &given), [ssh, "DIRECT_ADDRESS", "MAPPED_TCP_PORT_1111"]);
    }

    #[test]
    fn a_name_that_docker_refuses_is_a_usage_error() {
        for right in ["leonardo", "a.b_c-1"] {
            check_name(right).unwrap();
        }
        for wrong in ["", "a", "-rm", "a/b", "a b", "ä1", "a\n"] {
            assert!(check_name(wrong).unwrap_err().is::<UsageError>(), "{wrong:?}");
        }
    }
}
