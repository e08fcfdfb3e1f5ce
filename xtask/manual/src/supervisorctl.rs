//! Actions of supervisorctl, for completion.

use clap::{Arg, Command};

/// Returns the actions that are of use in a container; `supervisorctl help` lists the others.
pub fn command() -> Command {
    const WITH_PROGRAMS: &[(&str, &str)] = &[
        ("clear", "Empty the logs of programs"),
        ("restart", "Stop and start programs"),
        ("start", "Start programs"),
        ("status", "List programs and their states"),
        ("stop", "Stop programs"),
    ];
    const OTHERS: &[(&str, &str)] = &[
        ("avail", "List configured programs"),
        ("help", "Describe an action"),
        ("pid", "Print the process ID of supervisord"),
        ("reread", "Read the configuration and list changes, without applying them"),
        ("update", "Apply changes of the configuration"),
        ("version", "Print the version of supervisord"),
    ];
    let program = || Arg::new("program").value_name("PROGRAM");
    let bare = |&(name, about): &(&'static str, &'static str)| {
        Command::new(name).about(about).disable_help_flag(true)
    };
    Command::new("supervisorctl")
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .subcommands(WITH_PROGRAMS.iter().map(|row| bare(row).arg(program().num_args(0..))))
        .subcommands(OTHERS.iter().map(bare))
        .subcommand(
            bare(&("signal", "Send a signal to programs"))
                .arg(Arg::new("signal").value_parser(["HUP", "INT", "TERM", "USR1", "USR2"]))
                .arg(program().num_args(0..)),
        )
        .subcommand(
            bare(&("tail", "Show the end of a program's log"))
                .arg(Arg::new("follow").short('f').num_args(0).help("Follow new output"))
                .arg(program()),
        )
}
