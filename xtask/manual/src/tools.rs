//! Tools that have pages, and facts about them that are not in their command lines.

use clap::Command;

/// One tool of the image.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// Its command line.
    pub command: fn() -> Command,
    /// Section of its manual page.
    pub section: Section,
    /// Program whose exit code it passes on.
    pub passes_on: PassesOn,
}

/// A section of the manual (man-pages(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Section 1: user commands.
    User,
    /// Section 8: system administration.
    System,
}

impl Section {
    /// As in a page's file name.
    #[must_use]
    pub const fn number(self) -> &'static str {
        match self {
            Self::User => "1",
            Self::System => "8",
        }
    }

    /// As in the middle of a page's first line.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::User => "User Commands",
            Self::System => "System Administration",
        }
    }
}

/// Program whose exit code a tool passes on, besides its own statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassesOn {
    /// None.
    Nothing,
    /// The server that it becomes or supervises.
    Server(&'static str),
    /// The command that it runs.
    Command,
    /// The command that this subcommand becomes.
    CommandOf(&'static str),
    /// The same, for a subcommand that may time out before.
    CommandAfterWait(&'static str),
}

/// Every tool of the image, by name.
pub const TOOLS: &[Tool] = &[
    Tool { command: boot::command, section: Section::System, passes_on: PassesOn::CommandAfterWait("wait") },
    Tool { command: caddy_run::command, section: Section::System, passes_on: PassesOn::Server("caddy") },
    Tool { command: direct_url::command, section: Section::User, passes_on: PassesOn::Nothing },
    Tool { command: env_store::command, section: Section::User, passes_on: PassesOn::CommandOf("exec") },
    Tool { command: fix_perms::command, section: Section::System, passes_on: PassesOn::Nothing },
    Tool { command: gpu_limit::command, section: Section::User, passes_on: PassesOn::CommandOf("exec") },
    Tool { command: image_check::command, section: Section::User, passes_on: PassesOn::Nothing },
    Tool { command: init::command, section: Section::System, passes_on: PassesOn::Server("supervisord") },
    Tool { command: logtail::command, section: Section::User, passes_on: PassesOn::Nothing },
    Tool { command: portal_link::command, section: Section::User, passes_on: PassesOn::Nothing },
    Tool { command: process_control::command, section: Section::System, passes_on: PassesOn::Nothing },
    Tool { command: provision::command, section: Section::User, passes_on: PassesOn::Nothing },
    Tool { command: rclone_run::command, section: Section::System, passes_on: PassesOn::Nothing },
    Tool { command: selftest::command, section: Section::User, passes_on: PassesOn::Nothing },
    Tool { command: service_portal::command, section: Section::System, passes_on: PassesOn::Nothing },
    Tool { command: service_run::command, section: Section::User, passes_on: PassesOn::Command },
    Tool { command: set_web_credentials::command, section: Section::System, passes_on: PassesOn::Nothing },
    Tool { command: share::command, section: Section::User, passes_on: PassesOn::Nothing },
    Tool { command: sshd_run::command, section: Section::System, passes_on: PassesOn::Server("sshd") },
    Tool { command: storage_monitor::command, section: Section::User, passes_on: PassesOn::Nothing },
    Tool { command: sync_tree::command, section: Section::User, passes_on: PassesOn::Nothing },
    Tool { command: tunnel_run::command, section: Section::System, passes_on: PassesOn::Nothing },
    Tool { command: workspace_sync::command, section: Section::User, passes_on: PassesOn::Nothing },
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_program_below_crates_is_in_the_list_and_nothing_else() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates");
        let mut programs: Vec<String> = fs::read_dir(&crates)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().join("src/main.rs").exists())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        programs.sort();
        let listed: Vec<String> = TOOLS.iter().map(|tool| (tool.command)().get_name().to_owned()).collect();
        assert_eq!(listed, programs, "left: src/tools.rs, right: crates/*/src/main.rs, by name");
    }

    #[test]
    fn an_epilogue_has_examples_and_fits_into_80_columns() {
        // clap wraps at the terminal's width, but at 100 at most: longer lines would be broken twice.
        const WIDTH: usize = 78;
        let mut problems = Vec::new();
        for tool in TOOLS {
            let command = (tool.command)();
            let epilogue = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = epilogue.lines().skip(1).take_while(|line| line.starts_with("  "));
            if !epilogue.starts_with("Examples:\n") || !(2..=3).contains(&examples.count()) {
                problems.push(format!("{}: it has not two or three examples", command.get_name()));
            }
            let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
            for command in visible.chain([&command]) {
                let epilogue = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                let long = epilogue.lines().filter(|line| line.chars().count() > WIDTH);
                problems.extend(long.map(|line| format!("{}: too long: {line}", command.get_name())));
            }
        }
        assert_eq!(problems, Vec::<String>::new());
    }

    #[test]
    fn a_subcommand_that_passes_a_status_on_exists() {
        for tool in TOOLS {
            if let PassesOn::CommandOf(name) | PassesOn::CommandAfterWait(name) = tool.passes_on {
                let command = (tool.command)();
                assert!(command.find_subcommand(name).is_some(), "{} has no {name}", command.get_name());
            }
        }
    }
}
