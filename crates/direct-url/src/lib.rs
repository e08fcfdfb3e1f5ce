//! Print the address at which a port of this container is reached.
//!
//! The address follows from the provider's variables, `DIRECT_ADDRESS` and `MAPPED_TCP_PORT_<n>`. As `cfqt-url` and
//! `cfnt-url`, it is that of the quick or the named tunnel. If there is none, the reason is on stderr and the exit code is 1.

mod cli;
mod wan;

use std::io::{self, Write};

use anyhow::anyhow;
use clap::Parser;
use kit::exit::with_hint;
use kit::{Env, Exit, Outcome};
use serde::Serialize;
use tunnels::{Kind, NoTunnel, Tunnels};

use cli::Cli;
pub use cli::command;

/// Output of `--json`.
#[derive(Serialize)]
struct Answer {
    /// Port in the container.
    port: u16,
    /// Address of the port; nothing if it has none.
    url: Option<String>,
    /// Provider that was detected, such as `runpod`; `local` without one.
    provider: &'static str,
    /// True if neither you nor the provider states the address.
    assumed: bool,
    /// Reason for which there is no address.
    reason: Option<String>,
}

/// An address, and whether it is assumed; or the reason why there is none, and the next step.
type Found = Result<(String, bool), (String, Option<String>)>;

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    if cli.find_wan {
        wan::find(&cli.curl, &cli.wan_address, cli.retry);
        return Ok(Exit::Done);
    }
    let port = cli.port();
    let env = Env::from_process();
    let tunnels = Tunnels::read(&cli.status);
    let (provider, found) = match cli.tunnel(&kit::exit::called_name()) {
        None => (cloud::detect(&env).name(), address(&env, port)),
        Some(Kind::Quick) => ("Cloudflare", tunnel(tunnels.quick_url(port), "quick", port)),
        Some(Kind::Named) => ("Cloudflare", tunnel(tunnels.named_url(port), "named", port)),
    };
    print(&cli, provider, found)
}

fn address(env: &Env, port: u16) -> Found {
    let address = cloud::address(env, port);
    address.map(|address| (address.url, address.is_assumed)).map_err(|reason| {
        let tunnel = format!("use its tunnel: cfqt-url {port}");
        let hint = reason.hint().map_or_else(|| tunnel.clone(), |hint| format!("{hint}, or {tunnel}"));
        (reason.to_string(), Some(hint))
    })
}

fn tunnel(url: Result<&str, NoTunnel>, kind: &str, port: u16) -> Found {
    url.map(|url| (url.to_owned(), false))
        .map_err(|NoTunnel { reason, hint }| (format!("no {kind} tunnel to port {port}: {reason}"), hint))
}

fn print(cli: &Cli, provider: &'static str, found: Found) -> Outcome {
    let port = cli.port();
    let mut answer = Answer { port, url: None, provider, assumed: false, reason: None };
    let mut refusal = None;
    match found {
        Ok((url, assumed)) => (answer.url, answer.assumed) = (Some(url + cli.path()), assumed),
        Err((reason, hint)) => {
            refusal = Some((anyhow!("{reason}"), hint));
            answer.reason = Some(reason);
        }
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
    match refusal {
        None => Ok(Exit::Done),
        Some((reason, Some(hint))) => Err(with_hint(reason, hint)),
        Some((reason, None)) => Err(reason),
    }
}
