//! Commands that the repository's pages print, judged by the tools' own command lines.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use clap::Command;
use kit::variables;
use manual::tools::TOOLS;
use printed_commands::{blocks, commands, error, pages};

/// Names that are links to a tool, beside those with `.sh`.
const LINKS: [(&str, &str); 2] = [("cfqt-url", "direct-url"), ("cfnt-url", "direct-url")];

/// Variables of other programs, and placeholders.
const OTHER_VARIABLES: [&str; 5] = ["COMFYUI_ARGS", "OPEN_BUTTON_PORT", "PATH", "NAME", "X"];

/// The command line of a tool of the image by a name that it is called by.
fn tool(called: &str) -> Option<Command> {
    let name = Path::new(called).file_name()?.to_str()?;
    let name = name.strip_suffix(".sh").unwrap_or(name);
    let name = LINKS.iter().find(|(link, _)| *link == name).map_or(name, |(_, tool)| tool);
    TOOLS.iter().map(|tool| (tool.command)()).find(|command| command.get_name() == name)
}

#[test]
fn every_printed_command_exists_with_its_options() {
    let mut errors = Vec::new();
    let mut checked = 0;
    for (path, page) in pages().unwrap() {
        // It names what is gone.
        if path == Path::new("CHANGELOG.md") {
            continue;
        }
        for command in commands(&page) {
            let Some(tool) = tool(&command.words[0]) else { continue };
            checked += 1;
            let error = error(tool, &command.words, command.is_mention);
            errors.extend(error.map(|error| format!("{}:{}: {error}", path.display(), command.line)));
        }
    }
    assert_eq!(errors, [""; 0]);
    assert!(checked > 200, "only {checked} commands were found");
}

#[test]
fn every_variable_that_a_page_sets_exists() {
    let is_known = |name: &str| {
        variables::ALL.iter().any(|variable| variable.name == name)
            || variables::secret_files().any(|(_, file)| file == name)
            || ["MAPPED_TCP_PORT_", "RCLONE_"].iter().any(|prefix| name.starts_with(prefix))
            || OTHER_VARIABLES.contains(&name)
    };
    for (path, page) in pages().unwrap() {
        let settings = ["-e ", "--env "].iter().flat_map(|option| page.split(option).skip(1));
        let names = settings.filter_map(|rest| Some(rest.split_once('=')?.0));
        let is_name =
            |name: &&str| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        for name in names.filter(|name| !name.is_empty()).filter(is_name) {
            assert!(is_known(name), "{}: {name}", path.display());
        }
    }
}

#[test]
fn a_block_that_no_test_runs_says_why() {
    for (path, page) in pages().unwrap() {
        for block in blocks(&page) {
            let place = format!("{}:{}", path.display(), block.line);
            assert_ne!(block.language, "bash", "{place}: write sh");
            assert_ne!(block.untested_because(), Some(""), "{place}: write sh no-test: REASON");
        }
    }
}
