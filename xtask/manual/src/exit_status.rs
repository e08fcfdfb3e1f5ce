//! Meaning of the exit codes; the numbers come from `kit::exit`.

use crate::tools::PassesOn;

/// One row of the section EXIT STATUS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// A number, or `any`.
    pub code: &'static str,
    /// Plain text without a full stop.
    pub meaning: String,
}

/// The exit codes of a tool, or of one subcommand of it.
#[must_use]
pub fn of(passes_on: PassesOn, subcommand: Option<&str>) -> Vec<Status> {
    let mut rows = vec![
        row("0", "Success"),
        row("1", "Failure, or the answer is \"no\"; errors are printed to standard error"),
        row("2", "Usage error"),
    ];
    match passes_on {
        PassesOn::Server(name) => rows.push(passed_on(name)),
        PassesOn::Command => rows.extend(of_command()),
        PassesOn::CommandOf(name) | PassesOn::CommandAfterWait(name)
            if subcommand.is_none_or(|this| this == name) =>
        {
            if matches!(passes_on, PassesOn::CommandAfterWait(_)) {
                rows.push(row("124", "The time limit was exceeded"));
            }
            rows.extend(of_command());
        }
        PassesOn::CommandOf(_) | PassesOn::CommandAfterWait(_) | PassesOn::Nothing => {}
    }
    rows
}

fn of_command() -> [Status; 3] {
    [row("126", "COMMAND cannot be run"), row("127", "COMMAND was not found"), passed_on("COMMAND")]
}

fn row(code: &'static str, meaning: &str) -> Status {
    Status { code, meaning: meaning.to_owned() }
}

fn passed_on(name: &str) -> Status {
    row("any", &format!("Once {name} runs, its exit code, or 128+n if signal n ended it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(passes_on: PassesOn, subcommand: Option<&str>) -> Vec<&'static str> {
        of(passes_on, subcommand).iter().map(|status| status.code).collect()
    }

    #[test]
    fn only_what_runs_another_program_passes_its_status_on() {
        assert_eq!(codes(PassesOn::Nothing, None), ["0", "1", "2"]);
        assert_eq!(codes(PassesOn::Server("sshd"), None), ["0", "1", "2", "any"]);
        assert_eq!(codes(PassesOn::Command, None), ["0", "1", "2", "126", "127", "any"]);
        assert_eq!(codes(PassesOn::CommandOf("exec"), None), ["0", "1", "2", "126", "127", "any"]);
        assert_eq!(codes(PassesOn::CommandOf("exec"), Some("exec")), ["0", "1", "2", "126", "127", "any"]);
        assert_eq!(codes(PassesOn::CommandOf("exec"), Some("list")), ["0", "1", "2"]);
        let wait = PassesOn::CommandAfterWait("wait");
        assert_eq!(codes(wait, Some("wait")), ["0", "1", "2", "124", "126", "127", "any"]);
        assert_eq!(codes(wait, Some("report")), ["0", "1", "2"]);
    }
}
