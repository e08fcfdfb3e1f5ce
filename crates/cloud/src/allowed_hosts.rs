//! Host names under which services without a login may be reached.

use kit::settings::is_host;
use kit::{Env, Problem};

/// Setting with additional host names.
pub const ALLOWED_HOSTS: &str = "WEB_ALLOWED_HOSTS";

/// Returns the names of the setting, separated by blanks or commas; `*.example.org` matches every name below it. A word
/// that is not a host name is reported and ignored.
#[must_use]
pub fn allowed_hosts(env: &Env) -> (Vec<String>, Vec<Problem>) {
    let (mut names, mut problems) = (Vec::new(), Vec::new());
    let separator = |character: char| character.is_whitespace() || character == ',';
    let value = env.text(ALLOWED_HOSTS).unwrap_or_default();
    for word in value.split(separator).filter(|word| !word.is_empty()) {
        let name = word.strip_prefix("*.").unwrap_or(word);
        if is_host(name) && name.contains('.') {
            names.push(word.to_owned());
        } else {
            let message =
                format!("{word:?} is not a host name such as gpu.example.org or *.example.org; ignored");
            problems.push(Problem::new(ALLOWED_HOSTS, message));
        }
    }
    (names, problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_host_names_and_anything_else_is_reported() {
        let env: Env = [(ALLOWED_HOSTS, "gpu.example.org, *.lab.example\n* *. http://x.example a.b:1 gpu")]
            .into_iter()
            .collect();
        let (names, problems) = allowed_hosts(&env);
        assert_eq!(names, ["gpu.example.org", "*.lab.example"]);
        assert_eq!(problems.len(), 5);
        assert_eq!(
            problems[0].to_string(),
            "WEB_ALLOWED_HOSTS: \"*\" is not a host name such as gpu.example.org or *.example.org; ignored"
        );
    }
}
