//! The pages of the command reference.

use std::fmt::{self, Write};

use clap::{Arg, Command};

use crate::exit_status::Status;
use crate::notice::GENERATED;
use crate::usage;

/// The page of a built command, its subcommands included.
pub fn page(command: &Command, statuses: &[Status]) -> Result<String, fmt::Error> {
    let mut page = format!("<!-- {GENERATED} -->\n\n# {}\n", command.get_name());
    body(&mut page, command, |_| true)?;
    for subcommand in visible_subcommands(command) {
        write!(page, "\n## {}\n", subcommand.get_bin_name().unwrap_or_else(|| subcommand.get_name()))?;
        // Global options are described once, above.
        body(&mut page, subcommand, |argument| !argument.is_global_set() && argument.get_id() != "help")?;
    }
    page.push_str("\n## Exit status\n\n| Status | Meaning |\n|---|---|\n");
    for status in statuses {
        writeln!(page, "| {} | {} |", status.code, prose(&status.meaning))?;
    }
    Ok(page)
}

/// The list of all commands; one must have been [built](Command::build) to be described.
pub fn index<'a>(commands: impl IntoIterator<Item = &'a Command>) -> Result<String, fmt::Error> {
    let mut page = format!(
        "<!-- {GENERATED} -->\n\n# Commands\n\nThe manual pages are in [`man`](../man). In the container, `man NAME` shows them, and `NAME --help` prints the same text.\n\n| Command | What it does |\n|---|---|\n"
    );
    for command in commands {
        let name = command.get_name();
        writeln!(page, "| [`{name}`]({name}.md) | {} |", prose(&about(command)))?;
    }
    Ok(page)
}

fn body(page: &mut String, command: &Command, shown: fn(&Arg) -> bool) -> fmt::Result {
    write!(page, "\n{}.\n", prose(&about(command)))?;
    write!(page, "\n```text\n{}\n```\n", usage::lines(command).join("\n"))?;
    table(page, command, shown)?;
    match command.get_after_long_help().or_else(|| command.get_after_help()) {
        Some(notes) => write!(page, "\n```text\n{}\n```\n", notes.to_string().trim_end()),
        None => Ok(()),
    }
}

fn table(page: &mut String, command: &Command, shown: fn(&Arg) -> bool) -> fmt::Result {
    let arguments = || command.get_arguments().filter(|argument| !argument.is_hide_set() && shown(argument));
    if arguments().next().is_none() {
        return Ok(());
    }
    page.push_str("\n| Argument | Meaning |\n|---|---|\n");
    let positional = arguments().filter(|argument| argument.is_positional());
    for argument in positional.chain(arguments().filter(|argument| !argument.is_positional())) {
        let everywhere = argument.is_global_set() && visible_subcommands(command).next().is_some();
        writeln!(page, "| {} | {} |", spelling(argument), meaning(argument, everywhere))?;
    }
    Ok(())
}

fn visible_subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set())
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn spelling(argument: &Arg) -> String {
    let full = code(&argument.to_string());
    match (argument.get_short(), argument.get_long()) {
        (Some(short), Some(_)) => format!("{}, {full}", code(&format!("-{short}"))),
        _ => full,
    }
}

fn meaning(argument: &Arg, everywhere: bool) -> String {
    let help = argument.get_long_help().or_else(|| argument.get_help());
    let mut text = help.map(|help| prose(&help.to_string())).unwrap_or_default();
    if !argument.is_hide_possible_values_set() {
        let values = argument.get_possible_values();
        let values: Vec<_> =
            values.iter().filter(|value| !value.is_hide_set()).map(|value| code(value.get_name())).collect();
        if !values.is_empty() {
            text.extend(["; one of ", &values.join(", ")]);
        }
    }
    if !argument.is_hide_default_value_set()
        && argument.get_action().takes_values()
        && let [value] = argument.get_default_values()
    {
        text.extend([" ", &prose(&format!("[default: {}]", value.to_string_lossy()))]);
    }
    if everywhere {
        text.push_str("; can also follow the subcommand");
    }
    text
}

/// A code span for a table cell, where `|` ends the cell even inside of code.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

/// One line of text that is code between backticks and plain elsewhere.
fn prose(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let pieces = text.split('`').enumerate().map(|(index, piece)| {
        let piece = piece.replace('|', "\\|");
        if index % 2 == 1 { piece } else { piece.replace('<', "&lt;").replace('*', "\\*") }
    });
    pieces.collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_status;
    use crate::pages::tests::lamp;
    use crate::tools::PassesOn;

    #[test]
    fn a_page_has_the_usage_the_arguments_and_the_exit_status() {
        let mut command = lamp();
        command.build();
        let statuses = exit_status::of(PassesOn::CommandOf("blink"), None);
        assert_eq!(page(&command, &statuses).unwrap(), include_str!("../tests/lamp.md"));
    }

    #[test]
    fn text_cannot_end_a_cell_or_become_markup() {
        assert_eq!(prose("a|b <c> *d*\n `e|<f>`"), "a\\|b &lt;c> \\*d\\* `e\\|<f>`");
        assert_eq!(code("<a|b>"), "`<a\\|b>`");
    }

    #[test]
    fn the_index_links_each_command() {
        let commands = [Command::new("lamp").about("Make <light>")];
        assert_eq!(index(&commands).unwrap().lines().last(), Some("| [`lamp`](lamp.md) | Make &lt;light> |"));
    }
}
