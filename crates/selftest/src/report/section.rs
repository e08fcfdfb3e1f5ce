//! Sections of the report, each written by a process of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use kit::units::format_bytes;
use kit::variables::{self, Kind};
use kit::{Env, cmd, mounts};
use redact::MASK;
use system_metrics::{Monitor, Paths};

use crate::context::Context;

/// Sections in the order of the report.
pub const SECTIONS: [&str; 6] = ["boot", "versions", "variables", "programs", "mounts", "resources"];

/// Variables without secrets that are not in the documented table: `init`'s facts, and devices.
const HARMLESS: [&str; 9] = [
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "LEONARDO_SERVICE",
    "NVIDIA_VISIBLE_DEVICES",
    "PATH",
    "ROCR_VISIBLE_DEVICES",
    "WORKSPACE_GID",
    "WORKSPACE_MOUNTED",
    "WORKSPACE_UID",
];

/// Returns the text of a section.
pub fn section(name: &str, context: &Context) -> Result<String> {
    match name {
        "boot" => printed(Command::new(cmd::image_program("boot")).arg("report")),
        "versions" => Ok(versions(context)),
        "variables" => Ok(variables(&context.env)),
        "programs" => programs(),
        "mounts" => mount_table(),
        "resources" => resources(context),
        _ => anyhow::bail!("no section {name:?}"),
    }
}

/// Returns everything that a program prints, also if it fails.
fn printed(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", cmd::describe(command)))?;
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn versions(context: &Context) -> String {
    let line = |path: &str, prefix: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix(prefix))
            .unwrap_or("unknown")
            .trim_matches('"')
            .to_owned()
    };
    let tool = |program: &str, argument: &str| {
        printed(Command::new(program).arg(argument))
            .map_or_else(|error| format!("{error:#}"), |text| text.trim().to_owned())
    };
    let rows = [
        ("tools", env!("CARGO_PKG_VERSION").to_owned()),
        ("image", context.workspace.slug.clone()),
        ("distribution", line("/etc/os-release", "PRETTY_NAME=")),
        ("kernel", line("/proc/sys/kernel/osrelease", "")),
        ("machine", std::env::consts::ARCH.to_owned()),
        ("first process", line("/proc/1/comm", "")),
        ("caddy", tool("/opt/caddy/bin/caddy", "version")),
        ("supervisord", tool("/usr/local/bin/supervisord", "--version")),
        ("nvidia driver", line("/proc/driver/nvidia/version", "NVRM version: ")),
        ("user", if context.is_root { "root" } else { "not root" }.to_owned()),
    ];
    table(rows.iter().map(|(name, value)| (*name, value.as_str())))
}

/// Returns all variables by name; only switches, and values of those whose kind is known to be harmless.
fn variables(env: &Env) -> String {
    let shown = |name: &str, value: &str| {
        let variable = variables::ALL.iter().find(|variable| variable.name == name);
        let is_harmless =
            variable.is_some_and(|variable| !matches!(variable.kind, Kind::Secret | Kind::Keys));
        match is_harmless || HARMLESS.contains(&name) || ["true", "false"].contains(&value) {
            true => value.to_owned(),
            false if value.is_empty() => "(empty)".to_owned(),
            false => MASK.to_owned(),
        }
    };
    let rows: BTreeMap<String, String> = env
        .iter()
        .map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            let value = shown(&name, &value.to_string_lossy().replace('\n', "\\n"));
            (name, value)
        })
        .collect();
    table(rows.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

fn programs() -> Result<String> {
    let path = Path::new(journal::PATH).with_file_name("programs.json");
    let exits = Path::new(journal::PATH).with_file_name("program-exits.json");
    let read =
        |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    Ok(read(&path)? + "\n" + &read(&exits).unwrap_or_default())
}

/// Without the options of file systems, which may contain secrets of network volumes.
fn mount_table() -> Result<String> {
    let all = mounts::all().context("cannot read the table of mounts")?;
    let kernel = ["proc", "sysfs", "cgroup", "cgroup2", "mqueue", "devpts"];
    let shown = all.iter().filter(|mount| !kernel.contains(&mount.file_system.as_str()));
    let rows: Vec<(String, String)> =
        shown.map(|mount| (mount.point.display().to_string(), mount.file_system.clone())).collect();
    Ok(table(rows.iter().map(|(point, kind)| (point.as_str(), kind.as_str()))))
}

fn resources(context: &Context) -> Result<String> {
    let monitor = Monitor::default();
    monitor.start(&Paths::new(&context.workspace.path)).context("cannot measure")?;
    let mut text = String::new();
    if let Some(sample) = monitor.latest() {
        for system in &sample.file_systems {
            let path = system.path.display();
            // Writing to a String cannot fail.
            let _ = match system.usage() {
                Some(usage) => writeln!(
                    text,
                    "{path}: {} free of {}, inodes {:?} of {:?}, read-only: {}",
                    format_bytes(usage.available),
                    format_bytes(usage.size),
                    usage.inodes_used,
                    usage.inodes,
                    usage.read_only
                ),
                None => writeln!(text, "{path}: {:?}", system.state),
            };
        }
        let _ = writeln!(
            text,
            "memory: {:?}\nprocesses: {:?}\ncpu limit: {:?}",
            sample.memory, sample.pids, sample.cpu.limit
        );
        for gpu in &sample.gpus {
            let _ = writeln!(text, "GPU: {gpu:?}");
        }
    }
    text.push_str(&fs::read_to_string("/proc/self/limits").unwrap_or_default());
    Ok(text)
}

fn table<'a>(rows: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in rows {
        let _ = writeln!(text, "{name:<32} {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_names_and_only_harmless_values() {
        let env: Env = [
            ("HF_TOKEN", "hf_1"),
            ("MY_NOTE", "private"),
            ("SSH_PORT", "2222"),
            ("SSH_PUBKEY", "ssh-ed25519 AAAA me@home"),
            ("WEB_PASSWORD", "x"),
            ("EMPTY", ""),
            ("LEONARDO_AUTOSTART_SSHD", "false"),
            ("LEONARDO_LICENSE", "x"),
            ("WORKSPACE_KEY", "x"),
            ("WORKSPACE_UID", "1000"),
        ]
        .into_iter()
        .collect();
        let names_and_values: Vec<(String, String)> = variables(&env)
            .lines()
            .map(|line| line.split_once(' ').unwrap())
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let expected = [
            ("EMPTY", "(empty)"),
            ("HF_TOKEN", MASK),
            ("LEONARDO_AUTOSTART_SSHD", "false"),
            ("LEONARDO_LICENSE", MASK),
            ("MY_NOTE", MASK),
            ("SSH_PORT", "2222"),
            ("SSH_PUBKEY", MASK),
            ("WEB_PASSWORD", MASK),
            ("WORKSPACE_KEY", MASK),
            ("WORKSPACE_UID", "1000"),
        ];
        assert_eq!(names_and_values, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
