//! One line for every attempt to get in: who, from where, how, and what came of it; never a secret.

use crate::client::Client;

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Let in.
    Accepted,
    /// Wrong, expired or used up.
    Refused,
    /// Not looked at, because there were too many wrong ones before.
    Slowed,
}

/// Writes the line. `who` is the configured user's name or a word of ours: what a stranger typed as a name may be
/// somebody's password.
pub fn attempt(client: Client<'_>, way: &str, who: &str, outcome: Outcome) {
    let line = line(client, way, who, outcome);
    match outcome {
        Outcome::Accepted => log::info!("{line}"),
        Outcome::Refused | Outcome::Slowed => log::warn!("{line}"),
    }
}

fn line(client: Client<'_>, way: &str, who: &str, outcome: Outcome) -> String {
    let outcome = match outcome {
        Outcome::Accepted => "accepted",
        Outcome::Refused => "refused",
        Outcome::Slowed => "slowed",
    };
    format!("login {outcome} way={way} who={who:?} from={} agent=\"{}\"", client.address(), client.agent())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::headers;

    #[test]
    fn a_line_is_one_line_whatever_a_visitor_sends() {
        let headers = headers(&[("x-forwarded-for", "192.0.2.1"), ("user-agent", "x\" outcome=accepted\t")]);
        assert_eq!(
            line(Client(&headers), "form", "unknown", Outcome::Refused),
            r#"login refused way=form who="unknown" from=192.0.2.1 agent="x outcome=accepted""#
        );
    }
}
