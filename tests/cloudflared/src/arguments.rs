//! The command line.

use std::collections::BTreeMap;

/// Options of `cloudflared tunnel` that take a value.
const WITH_VALUE: [&str; 11] = [
    "config",
    "edge-ip-version",
    "grace-period",
    "loglevel",
    "max-edge-addr-retries",
    "metrics",
    "output",
    "protocol",
    "retries",
    "token-file",
    "url",
];
const SWITCHES: [&str; 3] = ["no-autoupdate", "no-prechecks", "no-tls-verify"];

/// A parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// `version`, `--version`.
    Version { short: bool },
    /// `tunnel`, or `tunnel run`.
    Tunnel(Arguments),
}

/// Options of a tunnel, by name; a switch has the value `true`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    pub options: BTreeMap<String, String>,
    /// True for `tunnel run`.
    pub is_named: bool,
}

impl Arguments {
    /// Returns the value of an option.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// Returns the port of `--url`, for a quick tunnel.
    pub fn port(&self) -> Option<u16> {
        let (_, port) = self.get("url")?.rsplit_once(':')?;
        port.parse().ok().filter(|_| !self.is_named)
    }
}

/// Parses the words after the program's name; the error is printed bare.
pub fn parse(words: &[String]) -> Result<Request, String> {
    let mut words = words.iter().map(String::as_str);
    match words.next() {
        Some("--version" | "-v") => return Ok(Request::Version { short: false }),
        Some("version") => return Ok(Request::Version { short: words.next() == Some("--short") }),
        Some("tunnel") => {}
        other => return Err(format!("the stand-in does not know {other:?}")),
    }
    let mut arguments = Arguments::default();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--") else {
            if word != "run" || arguments.is_named {
                return Err(format!("the stand-in does not know {word:?}"));
            }
            arguments.is_named = true;
            continue;
        };
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
        let value = if SWITCHES.contains(&name) {
            value.unwrap_or("true")
        } else if WITH_VALUE.contains(&name) {
            let value = value.or_else(|| words.next());
            value.ok_or_else(|| format!("Incorrect Usage: flag needs an argument: -{name}"))?
        } else {
            return Err(format!("Incorrect Usage: flag provided but not defined: -{name}"));
        };
        arguments.options.insert(name.to_owned(), value.to_owned());
    }
    Ok(Request::Tunnel(arguments))
}
