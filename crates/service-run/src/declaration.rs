//! A line with `service-run`, read without running it; for checks of an image.

use std::ffi::OsString;

use anyhow::Result;
use clap::Parser;
use ports::Service;

use crate::cli::Cli;
use crate::registration;

/// A service as its line declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// Public port.
    pub port: u16,
    /// Fixed port on 127.0.0.1, if it has one.
    pub listen_port: Option<u16>,
    /// Account of the program, if it is not the system user.
    pub user: Option<String>,
    /// Program and arguments.
    pub command: Vec<OsString>,
}

impl Declaration {
    /// Parses `service-run` and its arguments; fails where `service-run` itself would refuse them.
    pub fn parse(words: &[OsString]) -> Result<Self> {
        let cli = Cli::try_parse_from(words)?;
        crate::check_listen(&cli)?;
        // Any port on loopback that differs from the public one.
        let listen_port = cli.listen_port.unwrap_or(if cli.port == 1 { 2 } else { 1 });
        Service { listen_port, ..registration::service(&cli) }.check()?;
        Ok(Self { port: cli.port, listen_port: cli.listen_port, user: cli.user, command: cli.command })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_refused_for_the_reason_that_service_run_has() {
        let parse = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            Declaration::parse(&words).map_err(|error| format!("{error:#}"))
        };
        let declared = parse("service-run --name x --port 8188 -- main.py --port {listen}").unwrap();
        let command = ["main.py", "--port", "{listen}"].map(OsString::from).to_vec();
        assert_eq!(declared, Declaration { port: 8188, listen_port: None, user: None, command });
        for (line, reason) in [
            ("service-run --name x --port 22 -- x {listen}", "port 22 is reserved"),
            ("service-run --name x --port 8188 -- x", "the command does not contain {listen}"),
            (
                "service-run --name x --port 8188 --listen-port 8188 -- x",
                "listen_port and proxy_port are the same",
            ),
        ] {
            assert_eq!(parse(line).unwrap_err(), reason);
        }
        assert!(parse("service-run --port 8188 -- x").unwrap_err().contains("--name"));
    }
}
