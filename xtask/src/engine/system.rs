//! The engine that the machine already has.

use std::env;
use std::time::Duration;

use super::client::Client;
use crate::timed_command;

const DEADLINE: Duration = Duration::from_secs(10);

/// The first Docker release whose own BuildKit knows named contexts and here-documents.
const OLDEST: u32 = 23;

/// A client of the machine's engine and the engine's address; the error is the reason why it cannot be used.
pub fn probe() -> Result<(Client, String), String> {
    let client = client()?;
    let version = timed_command::stdout_within(
        client.command().args(["version", "--format", "{{.Server.Version}}"]),
        DEADLINE,
    );
    suitable(version.ok().as_deref())?;
    let host = address(&client);
    Ok((client, host))
}

/// Returns a client that can read a bake file, with or without an engine; the error names what is missing.
pub fn client() -> Result<Client, String> {
    let program = which::which("docker").map_err(|_| "docker is not installed".to_owned())?;
    let client = Client::of_system(program);
    timed_command::stdout_within(client.command().args(["buildx", "version"]), DEADLINE)
        .map_err(|_| "docker has no buildx plugin".to_owned())?;
    Ok(client)
}

fn suitable(version: Option<&str>) -> Result<(), String> {
    let version =
        version.filter(|version| !version.is_empty()).ok_or("cannot connect to the Docker daemon")?;
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major >= OLDEST => Ok(()),
        _ => Err(format!("Docker {version} is too old; {OLDEST}.0 or newer is required")),
    }
}

fn address(client: &Client) -> String {
    let asked = || {
        let mut command = client.command();
        timed_command::stdout_within(
            command.args(["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]),
            DEADLINE,
        )
    };
    env::var("DOCKER_HOST")
        .ok()
        .filter(|host| !host.is_empty())
        .or_else(|| asked().ok())
        .unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_daemon_that_answers_and_is_new_enough_will_do() {
        assert_eq!(suitable(Some("28.2.2")), Ok(()));
        assert_eq!(suitable(Some("26.1.5+dfsg1")), Ok(()));
        assert_eq!(suitable(None), Err("cannot connect to the Docker daemon".into()));
        assert_eq!(suitable(Some("")), Err("cannot connect to the Docker daemon".into()));
        let old = suitable(Some("20.10.24+dfsg1")).unwrap_err();
        assert_eq!(old, "Docker 20.10.24+dfsg1 is too old; 23.0 or newer is required");
    }
}
