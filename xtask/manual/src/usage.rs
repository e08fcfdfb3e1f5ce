//! Usage line of a command, as clap renders it.

use clap::Command;

/// One line per way to call a built command, without the word "Usage".
pub fn lines(command: &Command) -> Vec<String> {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage:").unwrap_or(&usage);
    usage.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn each_way_to_call_a_command_is_a_line() {
        let command = Command::new("gate")
            .args_conflicts_with_subcommands(true)
            .arg(Arg::new("now").long("now").num_args(0))
            .subcommand(Command::new("open"));
        assert_eq!(lines(&command), ["gate [OPTIONS]", "gate <COMMAND>"]);
    }
}
