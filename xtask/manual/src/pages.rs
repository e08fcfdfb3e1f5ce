//! Renders all pages.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Command;

use crate::exit_status;
use crate::notice::GENERATED;
use crate::tools::Tool;
use crate::{completion, man, markdown, supervisorctl};

/// The directory of the command reference.
pub const COMMANDS: &str = "commands";

/// The directory of the manual pages.
pub const MAN: &str = "man";

/// The directory of the words for completion.
pub const COMPLETION: &str = "completion";

/// The directory of the reference.
pub const REFERENCE: &str = "reference";

/// The text of each page, by its path below the output directory.
pub type Pages = BTreeMap<PathBuf, String>;

/// Renders the pages of `tools` and the index of the command reference, which lists them in this order.
pub fn all(tools: &[Tool]) -> Result<Pages> {
    let mut pages = Pages::new();
    let mut commands = Vec::new();
    let mut words = format!("# {GENERATED}\n");
    for tool in tools {
        // Every --help lists the subcommand "help"; a page about it would be empty.
        let mut command = (tool.command)().disable_help_subcommand(true);
        command.build();
        let statuses = exit_status::of(tool.passes_on, None);
        let text = markdown::page(&command, &statuses).context("cannot render a page")?;
        pages.insert(PathBuf::from(COMMANDS).join(format!("{}.md", command.get_name())), text);
        manual(&mut pages, tool, &command, None)?;
        completion::add(&mut words, &command);
        commands.push(command);
    }
    let text = markdown::index(&commands).context("cannot render the index")?;
    pages.insert(PathBuf::from(COMMANDS).join("README.md"), text);
    let mut command = supervisorctl::command();
    command.build();
    completion::add(&mut words, &command);
    pages.insert(PathBuf::from(COMPLETION).join("words.tsv"), words);
    Ok(pages)
}

/// A page for the command and one for each of its subcommands, where the command's own page sends its readers.
fn manual(pages: &mut Pages, tool: &Tool, command: &Command, subcommand: Option<&str>) -> Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let text = man::page(command, tool.section, &exit_status::of(tool.passes_on, subcommand))?;
    pages.insert(PathBuf::from(MAN).join(format!("{name}.{}", tool.section.number())), text);
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        manual(pages, tool, below, Some(below.get_name()))?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::{Arg, ArgAction};

    use super::*;
    use crate::tools::{PassesOn, Section, TOOLS};

    /// A command with one of everything that a page has to show.
    pub fn lamp() -> Command {
        Command::new("lamp")
            .version("9.8.7")
            .about("Make light where it's dark")
            .after_help("Environment:\n  LAMP  which lamp\n\nIt is not a torch.\n\nNor is it\na sun.")
            .disable_help_subcommand(true)
            .arg(
                Arg::new("colour")
                    .short('c')
                    .long("colour")
                    .value_name("COLOUR")
                    .value_parser(["red", "green"])
                    .default_value("red")
                    .help("Take the glass of this colour"),
            )
            .arg(
                Arg::new("socket")
                    .long("socket")
                    .value_name("FILE")
                    .global(true)
                    .help("Use `this|that` <socket>"),
            )
            .arg(Arg::new("secret").long("secret").hide(true).action(ArgAction::SetTrue))
            .subcommand(
                Command::new("blink").about("Blink a message").arg(
                    Arg::new("message").value_name("WORD").required(true).num_args(1..).help("What to say"),
                ),
            )
            .subcommand(Command::new("test").hide(true))
    }

    #[test]
    fn a_tool_has_a_page_of_each_kind_and_its_subcommands_have_manual_pages() {
        let tool = Tool { command: lamp, section: Section::System, passes_on: PassesOn::CommandOf("blink") };
        let pages = all(&[tool]).unwrap();
        let paths: Vec<_> = pages.keys().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(
            paths,
            [
                "commands/README.md",
                "commands/lamp.md",
                "completion/words.tsv",
                "man/lamp-blink.8",
                "man/lamp.8"
            ]
        );
        assert!(pages[&PathBuf::from("man/lamp-blink.8")].contains("\\fB127\\fR"), "blink runs a command");
    }

    #[test]
    fn every_page_can_be_recognised_later() {
        for (path, text) in all(TOOLS).unwrap() {
            assert!(text.contains(GENERATED), "{}", path.display());
        }
    }
}
