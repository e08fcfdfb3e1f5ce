//! Release notes: the version's section of the changelog, and the images by digest.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};

use anyhow::{Context, Result};
use kit::{Exit, Outcome};

use super::pushed_image::{self, PushedImage};
use super::{Runner, github};
use crate::bake::shell_line;
use crate::checkout::Checkout;

const CHANGELOG: &str = "CHANGELOG.md";

/// Print the notes of a release: its section of CHANGELOG.md, and the images that were pushed
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Version or its tag, such as 1.2.0 or v1.2.0, or Unreleased
    version: String,
    /// Create the release on GitHub, or replace its notes, instead of printing them
    #[arg(long)]
    create: bool,
}

/// Runs the task.
pub fn run(args: &Args, runner: Runner) -> Outcome {
    let checkout = Checkout::find()?;
    let path = checkout.root().join(CHANGELOG);
    let changelog = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let images = pushed_image::read_all(&checkout.root().join(pushed_image::DIRECTORY))?;
    let notes = notes(section(&changelog, &args.version)?, &images);
    if !args.create {
        io::stdout().write_all(notes.as_bytes())?;
        return Ok(Exit::Done);
    }
    let mut view = github::client();
    let exists = !runner.dry_run && kit::cmd::run(view.args(["release", "view", &args.version])).is_ok();
    let mut release = github::client();
    release.args(["release", if exists { "edit" } else { "create" }, &args.version]);
    release.args(["--verify-tag", "--title", &args.version, "--notes-file", "-"]);
    if runner.dry_run {
        writeln!(io::stdout(), "{}", shell_line::line(&release))?;
    } else {
        kit::cmd::run_with_input(&mut release, notes.as_bytes())?;
    }
    Ok(Exit::Done)
}

/// Returns a version's section, without its heading.
fn section<'text>(changelog: &'text str, version: &str) -> Result<&'text str> {
    let version = version.strip_prefix('v').unwrap_or(version);
    let heading = format!("\n## [{version}]");
    let (_, rest) = changelog
        .split_once(&heading)
        .with_context(|| format!("{CHANGELOG} has no section ## [{version}]"))?;
    let (_, text) = rest.split_once('\n').unwrap_or_default();
    let text = text.split("\n## ").next().unwrap_or_default().trim();
    (!text.is_empty())
        .then_some(text)
        .with_context(|| format!("the section [{version}] of {CHANGELOG} is empty"))
}

/// Adds the images, for those who pin one.
fn notes(section: &str, images: &[PushedImage]) -> String {
    let mut notes = format!("{section}\n");
    if !images.is_empty() {
        notes += "\n### Images\n\nAll are signed: see docs/releases.md.\n\n| tag | digest |\n|---|---|\n";
    }
    for image in images {
        // Writing into a string cannot fail.
        let _ = writeln!(notes, "| `{}` | `{}` |", image.by_tag(), image.digest);
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_versions_section_ends_at_the_next_one() {
        let log = "# Changelog\n\n## [Unreleased]\n\n## [1.10.0] - 2026-12-01\n\n### Added\n\n- Ten.\n\n## [1.1.0]\n\n- One.\n";
        assert_eq!(section(log, "v1.10.0").unwrap(), "### Added\n\n- Ten.");
        assert_eq!(section(log, "1.1.0").unwrap(), "- One.");
        let error = |version: &str| section(log, version).unwrap_err().to_string();
        assert_eq!(error("v1.1"), "CHANGELOG.md has no section ## [1.1]");
        assert_eq!(error("Unreleased"), "the section [Unreleased] of CHANGELOG.md is empty");
    }

    #[test]
    fn notes_name_the_images_by_digest() {
        let image = PushedImage {
            tag: "cpu-22.04".to_owned(),
            repository: "r.example/i".to_owned(),
            digest: "sha256:0".to_owned(),
        };
        assert_eq!(notes("- One.", &[]), "- One.\n");
        assert!(notes("- One.", &[image]).ends_with("|---|---|\n| `r.example/i:cpu-22.04` | `sha256:0` |\n"));
    }
}
