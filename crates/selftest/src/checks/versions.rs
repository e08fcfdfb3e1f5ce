//! All programs are of one build, and Caddy and supervisord new enough.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;
use kit::cmd;

use crate::context::Context;
use crate::finding::Finding;

/// The image's tools, by name; `build.rs` lists them.
const TOOLS: &str = env!("LEONARDO_TOOLS");
const OWN: &str = env!("CARGO_PKG_VERSION");
/// Older releases let a header of the visitor's through the gate.
const CADDY: [u32; 3] = [2, 11, 2];
const SUPERVISORD: [u32; 3] = [4, 2, 0];
const REMEDY: &str = "use an unchanged image: docker pull IMAGE, then create the container anew";

/// Runs the check.
pub fn check(_: &Context) -> Result<Vec<Finding>> {
    let mut findings: Vec<Finding> = TOOLS
        .split(' ')
        .filter_map(|name| {
            let printed = version(&cmd::image_program(name), "--version");
            tool(name, printed.as_deref().map_err(String::as_str))
        })
        .collect();
    let caddy = version(Path::new("/opt/caddy/bin/caddy"), "version");
    let supervisord = version(&cmd::image_program("supervisord"), "--version");
    for (name, printed, oldest) in [("caddy", &caddy, CADDY), ("supervisord", &supervisord, SUPERVISORD)] {
        findings.push(other(name, printed.as_deref().map_err(String::as_str), oldest));
    }
    findings.push(Finding::pass(format!("{} tools of version {OWN}", TOOLS.split(' ').count())));
    Ok(findings)
}

/// Runs a program and returns the first line that it prints.
fn version(program: &Path, argument: &str) -> Result<String, String> {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).env_clear().env("HOME", "/nonexistent").env("LANG", "C.UTF-8");
    let printed = cmd::stdout(&mut command).map_err(|error| format!("{error:#}"))?;
    Ok(printed.lines().next().unwrap_or_default().to_owned())
}

/// Returns the fault of a tool of ours.
fn tool(name: &str, printed: Result<&str, &str>) -> Option<Finding> {
    match printed {
        Ok(line) if line == format!("{name} {OWN}") => None,
        Ok(line) => {
            Some(Finding::fail(format!("{name} reports {line:?}, and selftest is of version {OWN}"), REMEDY))
        }
        Err(error) => Some(Finding::fail(format!("{name} does not run: {error}"), REMEDY)),
    }
}

/// Returns whether another program is new enough.
fn other(name: &str, printed: Result<&str, &str>, oldest: [u32; 3]) -> Finding {
    let line = match printed {
        Ok(line) => line,
        Err(error) => return Finding::fail(format!("{name} does not run: {error}"), REMEDY),
    };
    let word = line.split_ascii_whitespace().next().unwrap_or_default().trim_start_matches('v');
    let mut numbers = word.split(['.', '-', '+']).map(|number| number.parse().unwrap_or(0));
    let found: [u32; 3] = std::array::from_fn(|_| numbers.next().unwrap_or(0));
    if found >= oldest {
        return Finding::pass(format!("{name} {word}"));
    }
    let [major, minor, patch] = oldest;
    Finding::fail(
        format!("{name} is of version {word:?}; at least {major}.{minor}.{patch} is needed"),
        REMEDY,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_or_old_program_is_named() {
        assert_eq!(tool("boot", Ok(&format!("boot {OWN}"))), None);
        assert_eq!(
            tool("boot", Ok("boot 0.0.9")),
            Some(Finding::fail(
                format!("boot reports \"boot 0.0.9\", and selftest is of version {OWN}"),
                REMEDY
            ))
        );
        assert_eq!(
            tool("boot", Err("exec format error")),
            Some(Finding::fail("boot does not run: exec format error", REMEDY))
        );
        let old = |version: &str| {
            Finding::fail(format!("caddy is of version {version:?}; at least 2.11.2 is needed"), REMEDY)
        };
        for (printed, expected) in [
            (Ok("v2.11.7 h1:x"), Finding::pass("caddy 2.11.7")),
            (Ok("v2.11.2"), Finding::pass("caddy 2.11.2")),
            (Ok("v3.0.0-beta.1"), Finding::pass("caddy 3.0.0-beta.1")),
            (Ok("2.6.2"), old("2.6.2")),
            (Ok(""), old("")),
            (Err("x"), Finding::fail("caddy does not run: x", REMEDY)),
        ] {
            assert_eq!(other("caddy", printed, CADDY), expected, "{printed:?}");
        }
    }
}
