//! Variables and files that could not be used as given.

use anyhow::Result;
use kit::variables;

use crate::context::Context;
use crate::finding::Finding;

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let problems = context.timeline.iter().flat_map(|timeline| &timeline.problems);
    let found: Vec<Finding> = problems
        .map(|problem| {
            let seen = format!("{}: {}", problem.setting, problem.message);
            Finding::warn(seen, remedy(&problem.setting, &problem.message))
        })
        .collect();
    Ok(if found.is_empty() { vec![Finding::pass("used as given")] } else { found })
}

/// Returns what a message recommends, or what to do about its kind of problem.
fn remedy(setting: &str, message: &str) -> String {
    let after = |marker: &str| message.rsplit_once(marker).map(|(_, rest)| rest);
    if let Some(rest) = after("run: ") {
        return rest.split("; ").next().unwrap_or(rest).to_owned();
    }
    let meant =
        after("; did you mean ").and_then(|rest| rest.strip_suffix('?')).map(|name| format!("-e {name}=…"));
    let option = after("to give it: ").or_else(|| after("start the container with: ")).map(str::to_owned);
    let is_value = ["; using ", "; ignored"].iter().any(|end| message.contains(end));
    let valid = || variables::ALL.iter().any(|variable| is_value && variable.name == setting);
    let volume = message.split_once(" is not a mounted volume").map(|(path, _)| format!("-v VOLUME:{path}"));
    match option.or(meant).or(volume) {
        Some(option) => format!("create the container anew with: {option}"),
        None if valid() => format!("create the container anew with a valid value: -e {setting}=…"),
        None => "remove the cause; then: docker restart NAME".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_has_a_remedy_of_its_kind() {
        let anew = |options: &str| format!("create the container anew with: {options}");
        for (setting, message, expected) in [
            ("WORKSPACE", "/w belongs to root; run: chown -R user: /w", "chown -R user: /w".to_owned()),
            (
                "WORKSPACE",
                "cannot use /w; run: chmod u+rwx /w, and restart the container; x",
                "chmod u+rwx /w, and restart the container".to_owned(),
            ),
            (
                "KILL",
                "the container lacks this capability: x; to give it: --cap-add KILL",
                anew("--cap-add KILL"),
            ),
            (
                "nofile",
                "limited to 64; start the container with: --ulimit nofile=65536",
                anew("--ulimit nofile=65536"),
            ),
            ("WEB_PORT", "unknown variable; did you mean SSH_PORT?", anew("-e SSH_PORT=…")),
            ("WORKSPACE", "/w is not a mounted volume: files in it are lost", anew("-v VOLUME:/w")),
            (
                "SSH_PORT",
                "1111 is the port of the portal; using 22",
                "create the container anew with a valid value: -e SSH_PORT=…".to_owned(),
            ),
            ("home", "cannot set up /home/user: x", "remove the cause; then: docker restart NAME".to_owned()),
        ] {
            assert_eq!(remedy(setting, message), expected, "{message}");
        }
    }
}
