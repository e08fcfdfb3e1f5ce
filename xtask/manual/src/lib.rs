//! Write the manual pages and the command reference from the tools' command lines
//!
//! `cargo xtask docs` runs this. It is a separate program, because it links every tool of the image and `xtask` must stay
//! quick to build. It is not below `crates/`, because every program there is copied into the image.
//!
//! Each tool of [`tools::TOOLS`] gets `man/NAME.SECTION`, one more manual page per subcommand, and
//! `commands/NAME.md`; `commands/README.md` is the index. `completion/words.tsv` has the words that a shell completes. The
//! pages contain no date or version, so they change only when a command line does. `reference/` has the exit codes, the
//! variables of `kit::variables` and the JSON formats, whose fields come from the types that are serialized. The table of
//! variables in `README.md` comes from `kit::variables` too. Pages of removed tools are deleted; files that this program has
//! not written are not changed.

mod cli;
mod completion;
mod environment;
mod exit_codes;
mod exit_status;
mod json;
mod man;
mod markdown;
mod notice;
mod output_directory;
mod pages;
mod supervisorctl;
pub mod tools;
mod usage;
mod variables;

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use clap::Parser;
use kit::{Exit, HintExt, Outcome};

/// Repository that this program was compiled in, whose sources describe the formats.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = cli::Cli::try_parse()?;
    let mut pages = pages::all(tools::TOOLS)?;
    let sources = json::Sources::read(Path::new(ROOT))?;
    pages.insert(json::PAGE.into(), json::page(&sources)?);
    pages.insert(environment::PAGE.into(), environment::page(sources.texts())?);
    pages.insert(exit_codes::PAGE.into(), exit_codes::page(tools::TOOLS)?);
    let readme = cli.output.join(variables::PAGE);
    let text = fs::read_to_string(&readme).with_context(|| format!("cannot read {}", readme.display()))?;
    pages.insert(variables::PAGE.into(), variables::with_table(&text)?);
    let differences = output_directory::differences(&cli.output, &pages)?;
    if !cli.check {
        output_directory::write_changes(&cli.output, &pages, &differences)?;
        return Ok(Exit::Done);
    }
    if differences.is_empty() {
        return Ok(Exit::Done);
    }
    // In the error and not on stdout: `cargo xtask` shows only this part of a failed program's output when it is quiet.
    let list: Vec<_> = differences.iter().map(ToString::to_string).collect();
    let list = list.join("\n  ");
    Err(anyhow!("the pages in {} are out of date:\n  {list}", cli.output.display()))
        .hint(|| "run: cargo xtask docs".to_owned())
}
