//! `cargo xtask images lint`: an image from outside.

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use kit::quote::escape_control_line;
use kit::{Exit, HintExt, Outcome, cmd};
use serde::Deserialize;

use crate::engine::{self, Choice, Engine};
use crate::image;

use super::{config_findings, layer_archive, layer_findings};

/// Maximum size of a report in bytes.
const MAX_REPORT: u64 = 16 << 20;
const IMAGE_CHECK: &str = "/opt/leonardo/bin/image-check";

const EPILOGUE: &str = "\
Examples:
  cargo xtask images lint
  cargo xtask images lint my-image:latest";

/// Check an image: its files, by its own image-check, its configuration, and what only its layers show
///
/// The configuration is USER, CMD, ENTRYPOINT, HEALTHCHECK and STOPSIGNAL. Layers keep files that a later step removes, and store a
/// file again whose owner or mode a later step changes.
#[derive(Debug, clap::Args)]
#[command(after_help = EPILOGUE)]
pub struct Args {
    /// Image, such as `my-image:latest`; by default the machine's variant of the base image, which is built
    #[arg(value_name = "IMAGE")]
    image: Option<String>,
    /// Engine to use
    #[arg(long = "engine", value_enum, default_value_t)]
    choice: Choice,
}

/// A row of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// True for a failure, false for a warning.
    pub is_failure: bool,
    /// File, variable or layer.
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub fix: String,
}

impl Row {
    /// Returns the row of a failure.
    pub fn fail(place: String, problem: String, fix: &str) -> Self {
        Self { is_failure: true, place, problem, fix: fix.to_owned() }
    }

    /// Returns the row of a warning.
    pub fn warn(place: String, problem: String, fix: &str) -> Self {
        Self { is_failure: false, ..Self::fail(place, problem, fix) }
    }
}

/// Report of `image-check --json`.
#[derive(Debug, Deserialize)]
struct Report {
    findings: Vec<Finding>,
}

#[derive(Debug, Deserialize)]
struct Finding {
    verdict: String,
    place: String,
    problem: String,
    remedy: String,
}

impl From<Finding> for Row {
    fn from(Finding { verdict, place, problem, remedy }: Finding) -> Self {
        Self { is_failure: verdict != "warn", place, problem, fix: remedy }
    }
}

/// Checks the image and prints what was found.
pub fn run(args: &Args) -> Outcome {
    let mut rows = engine::with(args.choice, |_, engine| {
        let image = match &args.image {
            Some(image) => image.clone(),
            None => image::build(engine, None)?.image,
        };
        // A name that begins with a dash would be an option of docker.
        if image.starts_with('-') {
            bail!("{image:?} is not the name of an image");
        }
        let mut rows: Vec<Row> = check_files(engine, &image)?.findings.into_iter().map(Row::from).collect();
        rows.extend(check_archive(engine, &image)?);
        Ok(rows)
    })?;
    rows.sort_by_key(|row| !row.is_failure);
    io::stdout().write_all(listing(&rows).as_bytes()).context("cannot print")?;
    Ok(if rows.iter().any(|row| row.is_failure) { Exit::No } else { Exit::Done })
}

/// Runs the image's own `image-check`: without a network, and without a way to more rights.
fn check_files(engine: &Engine, image: &str) -> Result<Report> {
    let mut command = engine.docker();
    command.args([
        "run",
        "--rm",
        "--network",
        "none",
        "--pids-limit",
        "512",
        "--security-opt",
        "no-new-privileges",
    ]);
    command.args(["--user", "0", "--entrypoint", IMAGE_CHECK, image, "--json"]);
    let mut child = spawn(&mut command)?;
    let mut output = Vec::new();
    let stdout = child.stdout.take().context("docker has no output")?;
    stdout.take(MAX_REPORT).read_to_end(&mut output).context("cannot read the report of image-check")?;
    let status = child.wait().context("cannot wait for docker")?;
    match status.code() {
        Some(0 | 1) if !output.is_empty() => {
            serde_json::from_slice(&output).context("cannot parse the report of image-check")
        }
        Some(127) => Err(anyhow!("{image} has no image-check"))
            .hint(|| "it is not made from the base image, or from one without image-check".to_owned()),
        _ => bail!("{} failed ({status})", cmd::describe(&command)),
    }
}

fn check_archive(engine: &Engine, image: &str) -> Result<Vec<Row>> {
    let mut command = engine.docker();
    command.args(["save", image]);
    let mut child = spawn(&mut command)?;
    let stdout = child.stdout.take().context("docker has no output")?;
    let archive = layer_archive::read(io::BufReader::with_capacity(1 << 20, stdout));
    if archive.is_err() {
        // It would wait for a reader.
        let _ = child.kill();
    }
    let status = child.wait().context("cannot wait for docker")?;
    let archive = archive.with_context(|| format!("cannot read {image}"))?;
    if !status.success() {
        bail!("{} failed ({status})", cmd::describe(&command));
    }
    Ok([config_findings::find(&archive.settings), layer_findings::find(&archive)].concat())
}

fn spawn(command: &mut Command) -> Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().with_context(|| format!("cannot run {}", cmd::describe(command)))
}

/// Returns the rows in three lines each, with names of the image escaped, and their number.
fn listing(rows: &[Row]) -> String {
    let show = |Row { is_failure, place, problem, fix }: &Row| {
        let verdict = if *is_failure { "FAIL" } else { "warn" };
        let [place, problem, fix] = [place, problem, fix].map(|text| escape_control_line(text));
        format!("{verdict}  {place}\n      {problem}\n      fix: {fix}\n")
    };
    let failed = rows.iter().filter(|row| row.is_failure).count();
    let summary = format!("{failed} failed, {} warned\n", rows.len() - failed);
    rows.iter().map(show).chain([summary]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_an_untrusted_image_add_no_line() {
        let rows = [
            Row::fail("/a\nb".to_owned(), "is \u{1b}[31mwrong".to_owned(), "rm it"),
            Row::warn("layer 2".to_owned(), "20 MB".to_owned(), "earlier"),
        ];
        assert_eq!(
            listing(&rows),
            "FAIL  /a\\nb\n      is \\u{1b}[31mwrong\n      fix: rm it\n\
             warn  layer 2\n      20 MB\n      fix: earlier\n1 failed, 1 warned\n"
        );
    }
}
