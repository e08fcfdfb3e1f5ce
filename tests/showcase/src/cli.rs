//! The command line, and what it does.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Parser;
use harness::RunOptions;
use kit::{Exit, Outcome};

use crate::pages::{PAGES, Page};
use crate::pictures;
use crate::scene::Showcase;

/// Take pictures of the portal's pages in a container of the image that LEONARDO_TEST_IMAGE names
#[derive(Debug, Parser)]
#[command(name = "showcase")]
struct Cli {
    /// Directory of the pictures
    #[arg(long, default_value = "docs/images")]
    output: PathBuf,
    /// Pages, such as `logs`; all by default
    #[arg(value_name = "PAGE")]
    pages: Vec<String>,
}

/// Takes the pictures and prints the bytes of each.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    let pages = selected(&cli.pages)?;
    let showcase = Showcase::start(RunOptions::new());
    let taken = pictures::take(&showcase, &pages, &cli.output)?;
    let mut lines: String = taken.iter().map(|(name, size)| format!("{size:>8}  {name}\n")).collect();
    let total: usize = taken.iter().map(|(_, size)| size).sum();
    lines.push_str(&format!("{total:>8}  bytes in {} pictures\n", taken.len()));
    io::stdout().write_all(lines.as_bytes()).context("cannot print")?;
    Ok(Exit::Done)
}

fn selected(names: &[String]) -> anyhow::Result<Vec<&'static Page>> {
    if names.is_empty() {
        return Ok(PAGES.iter().collect());
    }
    let known = || PAGES.iter().map(|page| page.name).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = names.iter().find(|name| PAGES.iter().all(|page| page.name != **name)) {
        bail!("there is no page {unknown:?}; pages are {}", known());
    }
    // In the order of the list, because the first page is taken before the login.
    Ok(PAGES.iter().filter(|page| names.iter().any(|name| name == page.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn pages_are_taken_in_the_order_of_the_list() {
        let names = |words: &[&str]| -> anyhow::Result<Vec<&str>> {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            Ok(selected(&words)?.iter().map(|page| page.name).collect())
        };
        assert_eq!(names(&["access", "login"]).unwrap(), ["login", "access"]);
        assert_eq!(names(&[]).unwrap().len(), PAGES.len());
        assert!(
            names(&["nonsense"])
                .unwrap_err()
                .to_string()
                .starts_with("there is no page \"nonsense\"; pages are login, ")
        );
    }
}
