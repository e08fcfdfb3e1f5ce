//! Variables and files that could not be used as given.

use anyhow::Result;

use crate::context::Context;
use crate::finding::Finding;

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let problems = context.timeline.iter().flat_map(|timeline| &timeline.problems);
    let found: Vec<Finding> = problems
        .map(|problem| {
            Finding::warn(format!("{}: {}", problem.setting, problem.message), remedy(&problem.message))
        })
        .collect();
    Ok(if found.is_empty() { vec![Finding::pass("used as given")] } else { found })
}

/// Returns the command that a message recommends, which others do not have.
fn remedy(message: &str) -> &str {
    let command = message.rsplit_once("run: ").map(|(_, rest)| rest.split("; ").next().unwrap_or(rest));
    command.unwrap_or("boot report")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_in_the_message_is_the_remedy() {
        for (message, expected) in [
            ("/w belongs to root; run: chown -R user: /w", "chown -R user: /w"),
            (
                "cannot use /w; run: chmod u+rwx /w, and restart the container; x",
                "chmod u+rwx /w, and restart the container",
            ),
            ("flase is not a switch", "boot report"),
        ] {
            assert_eq!(remedy(message), expected);
        }
    }
}
