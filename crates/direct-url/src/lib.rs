//! Print the address at which a port of this container is reached.
//!
//! The address follows from the provider's variables, `DIRECT_ADDRESS` and `MAPPED_TCP_PORT_<n>`. If there is none, the
//! reason is on stderr and the exit code is 1.

mod cli;
mod wan;

use std::io::{self, Write};

use anyhow::anyhow;
use clap::Parser;
use kit::exit::with_hint;
use kit::{Env, Exit, Outcome};
use serde::Serialize;

use cli::Cli;
pub use cli::command;

/// Output of `--json`.
#[derive(Serialize)]
struct Answer {
    port: u16,
    url: Option<String>,
    provider: &'static str,
    assumed: bool,
    reason: Option<String>,
}

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    if cli.find_wan {
        wan::find(&cli.curl, &cli.wan_address, cli.retry);
        return Ok(Exit::Done);
    }
    let (env, port) = (Env::from_process(), cli.port());
    let address = cloud::address(&env, port);
    let mut answer =
        Answer { port, url: None, provider: cloud::detect(&env).name(), assumed: false, reason: None };
    match &address {
        Ok(address) => {
            answer.url = Some(address.url.clone() + cli.path());
            answer.assumed = address.is_assumed;
        }
        Err(reason) => answer.reason = Some(reason.to_string()),
    }
    if cli.json {
        writeln!(io::stdout(), "{}", serde_json::to_string(&answer)?)?;
    } else if let Some(url) = &answer.url {
        writeln!(io::stdout(), "{url}")?;
    }
    if answer.assumed {
        log::info!(
            "assumed: a container does not know under which number its host publishes port {port}; set \
             MAPPED_TCP_PORT_{port} or DIRECT_ADDRESS"
        );
    }
    let Err(reason) = address else { return Ok(Exit::Done) };
    let error = anyhow!("{reason}");
    Err(reason.hint().map_or(error, |hint| with_hint(anyhow!("{reason}"), hint.to_owned())))
}
