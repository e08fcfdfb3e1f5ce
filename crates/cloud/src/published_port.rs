//! Numbers under which ports are published, as variables state them.

use kit::{Env, Problem};

use crate::NoAddress;

/// First number of vast.ai's and runpod.io's symmetric ports: the container's port gets the number that was assigned outside.
const FIRST_SYMMETRIC: u32 = 70_000;

/// Prefix of the variables of vast.ai.
pub const VAST: &str = "VAST_TCP_PORT_";
/// Prefix of the variables of runpod.io.
pub const RUNPOD: &str = "RUNPOD_TCP_PORT_";
/// Prefix of the variables that `cargo xtask up`, `docker-compose.yaml` and users set.
pub const MAPPED: &str = "MAPPED_TCP_PORT_";

/// All of them.
pub const PREFIXES: [&str; 3] = [VAST, RUNPOD, MAPPED];

/// Returns the public number of a port: the value of `PREFIX_<port>`, or the port itself if it is the value of a symmetric
/// `PREFIX_<n>` with n ≥ 70000. `None` if no variable mentions the port; fails for a value that is not a port.
pub fn published_port(env: &Env, prefix: &'static str, port: u16) -> Result<Option<u16>, NoAddress> {
    let variable = format!("{prefix}{port}");
    if let Some(value) = env.text(&variable) {
        return match parse(prefix, value) {
            Some(number) => Ok(Some(number)),
            None => Err(NoAddress::new(problem(&variable, value).to_string())),
        };
    }
    let is_symmetric = numbered(env, prefix)
        .any(|(_, number, value)| number >= FIRST_SYMMETRIC && parse(prefix, value) == Some(port));
    Ok(is_symmetric.then_some(port))
}

/// Returns a problem for each variable whose value is not a port.
#[must_use]
pub fn port_problems(env: &Env) -> Vec<Problem> {
    let wrong = |prefix: &'static str| {
        let values = numbered(env, prefix).filter(move |(_, _, value)| parse(prefix, value).is_none());
        values.map(|(variable, _, value)| problem(variable, value))
    };
    PREFIXES.into_iter().flat_map(wrong).collect()
}

/// Returns the variables `PREFIX_<number>`: name, number and value. Kubernetes sets others, such as `…_8188_TCP`.
fn numbered<'a>(env: &'a Env, prefix: &'static str) -> impl Iterator<Item = (&'a str, u32, &'a str)> {
    env.iter().filter_map(move |(name, _)| {
        let name = name.to_str()?;
        let digits = name.strip_prefix(prefix)?;
        let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
        Some((name, number, env.text(name)?))
    })
}

/// Parses a port. Compose's `127.0.0.1:1112` is one for users' variables.
fn parse(prefix: &str, value: &str) -> Option<u16> {
    let digits = if prefix == MAPPED { value.rsplit(':').next()? } else { value };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|&port| is_number && port != 0)
}

fn problem(variable: &str, value: &str) -> Problem {
    Problem::new(variable, format!("{value:?} is not a port (1 to 65535); the port has no link"))
}
