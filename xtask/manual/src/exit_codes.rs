//! The reference of exit codes.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use clap::Command;

use crate::exit_status;
use crate::notice::GENERATED;
use crate::tools::Tool;

/// The page, from the output directory.
pub const PAGE: &str = "reference/exit-codes.md";

const INTRODUCTION: &str = "\
# Exit codes

An error is printed once, on standard error: `tool: what happened`, and `hint: what to do` where we know it. Standard output
has the result and nothing else. A closed standard output is a success. What \"no\" means is in the help of each tool.

";

/// Renders the page: each code with the commands that exit with it.
pub fn page(tools: &[Tool]) -> Result<String, fmt::Error> {
    let mut commands: BTreeMap<(u16, String), Vec<String>> = BTreeMap::new();
    let mut all = 0;
    for tool in tools {
        for (name, subcommand) in names(&(tool.command)()) {
            all += 1;
            for status in exit_status::of(tool.passes_on, subcommand.as_deref()) {
                let order = status.code.parse().unwrap_or(u16::MAX);
                commands.entry((order, status.meaning)).or_default().push(format!("`{name}`"));
            }
        }
    }
    let mut page =
        format!("<!-- {GENERATED} -->\n\n{INTRODUCTION}| code | meaning | commands |\n|---|---|---|\n");
    for ((order, meaning), names) in commands {
        let code = if order == u16::MAX { "any other".to_owned() } else { order.to_string() };
        let names = if names.len() == all { "all".to_owned() } else { names.join(", ") };
        writeln!(page, "| {code} | {meaning} | {names} |")?;
    }
    Ok(page)
}

/// The command, or its subcommands if it has some: name, and name of the subcommand.
fn names(command: &Command) -> Vec<(String, Option<String>)> {
    let name = command.get_name();
    let below: Vec<_> = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
        .map(|below| (format!("{name} {}", below.get_name()), Some(below.get_name().to_owned())))
        .collect();
    if below.is_empty() { vec![(name.to_owned(), None)] } else { below }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::TOOLS;

    #[test]
    fn a_code_lists_the_commands_that_exit_with_it() {
        let page = page(TOOLS).unwrap();
        assert!(page.contains("| 2 | Usage error | all |\n"), "{page}");
        assert!(page.contains("| 124 | The time limit was exceeded | `boot wait` |\n"), "{page}");
    }
}
