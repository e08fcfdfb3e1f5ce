//! Create a temporary link to one service.
//!
//! The portal signs the link; a browser that opens it gets a session for that service and nothing else, without the
//! password. A link ends when it expires, is used up, or is revoked here or in the portal, and its sessions end with it.

mod cli;

use std::io::{self, Write};

use clap::Parser;
use kit::{Env, Exit, Outcome};
use portal_control::{Client, CreateShare, CreatedShare, PublicOrigin, RevokedCount, Share, public_origin};
use serde::Serialize;

use cli::Cli;
pub use cli::command;

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    let client = Client::new(&cli.socket);
    match (&cli.service, &cli.revoke) {
        (Some(service), _) => create(&cli, &client, service),
        (None, Some(id)) => revoke(&client, id, cli.json),
        (None, None) => list(&client, cli.json),
    }
}

/// Output of `share SERVICE --json`.
#[derive(Serialize)]
struct CreatedLink<'a> {
    /// Address of the link.
    url: &'a str,
    #[serde(flatten)]
    share: &'a Share,
}

fn create(cli: &Cli, client: &Client, service: &str) -> Outcome {
    let wanted =
        CreateShare { service: service.to_owned(), seconds: cli.expires.as_secs(), max_uses: cli.max_uses };
    let CreatedShare { share, path } = client.request("POST", "/shares", &wanted)?;
    let origin = public_origin(&Env::from_process(), share.port);
    let url = format!("{}{path}", origin.url());
    if cli.json {
        writeln!(io::stdout(), "{}", serde_json::to_string(&CreatedLink { url: &url, share: &share })?)?;
    } else {
        writeln!(io::stdout(), "{url}")?;
    }
    if matches!(origin, PublicOrigin::Guessed(_)) {
        log::info!(
            "replace the host and port with those at which you reach port {} of this container",
            share.port
        );
    }
    log::info!("to revoke it, run: share --revoke {}", share.id);
    Ok(Exit::Done)
}

fn revoke(client: &Client, id: &str, json: bool) -> Outcome {
    let revoked: RevokedCount = client.request("DELETE", &format!("/shares/{}", sanitize_id(id)), &())?;
    if json {
        writeln!(io::stdout(), "{}", serde_json::to_string(&revoked)?)?;
    }
    if revoked.ended == 0 {
        log::error!("no such link: {id}");
        return Ok(Exit::No);
    }
    Ok(Exit::Done)
}

/// Keeps the characters that an id can have, so that no other path of the API is requested.
fn sanitize_id(id: &str) -> String {
    id.chars().filter(char::is_ascii_alphanumeric).collect()
}

fn list(client: &Client, json: bool) -> Outcome {
    let shares: Vec<Share> = client.request("GET", "/shares", &())?;
    let now = kit::unix_time::now();
    let mut out = io::stdout().lock();
    for share in &shares {
        if json {
            writeln!(out, "{}", serde_json::to_string(share)?)?;
        } else {
            writeln!(out, "{}", format_share(share, now))?;
        }
    }
    Ok(Exit::Done)
}

/// Formats a link as one line of `share --list`.
fn format_share(share: &Share, now: u64) -> String {
    let left = kit::duration::words(share.expires.saturating_sub(now));
    let uses =
        share.max_uses.map_or_else(|| share.uses.to_string(), |most| format!("{} of {most}", share.uses));
    format!("{}  {}  port {}  ends in {left}  used {uses}", share.id, share.service, share.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_link_is_one_line() {
        let share = Share {
            id: "ab12".into(),
            service: "Echo".into(),
            port: 8080,
            created: 0,
            expires: 7_200,
            max_uses: Some(3),
            uses: 1,
        };
        assert_eq!(format_share(&share, 0), "ab12  Echo  port 8080  ends in 2 h  used 1 of 3");
    }
}
