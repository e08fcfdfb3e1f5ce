//! Our token in an address (`?token=…`): taken out before a service sees it, and worth a session on the way.

use std::time::Instant;

use axum::http::StatusCode;
use axum::response::Response;

use crate::answer;
use crate::audit::{self, Outcome};
use crate::client::Client;
use crate::device;
use crate::entry;
use crate::gate::Verdict;
use crate::next::local_path;
use crate::state::State;
use crate::throttle::Way;

/// The parameter's name; applications use it too, so a value that is not ours is left alone.
const NAME: &str = "token";

/// Result of a search for our token in an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing of ours.
    Nothing,
    /// Our token; this is the address without it, to the byte.
    Ours(String),
    /// Something that is not compared yet, because there were too many wrong ones from there: how many seconds to wait.
    Wait(u64),
}

/// Looks for our token in an address. Everybody but the owner is slowed down, so that guessing is not quicker here.
pub fn look(state: &State, client: Client<'_>, uri: &str, is_owner: bool) -> Found {
    let candidates: Vec<String> = values(uri).filter(|value| state.may_be_token(value.as_bytes())).collect();
    if candidates.is_empty() {
        return Found::Nothing;
    }
    let guesser = device::guesser(state, client, Way::Link);
    if !is_owner && let Some(wait) = device::wait(state, &guesser) {
        audit::attempt(client, "address", "unknown", Outcome::Slowed);
        return Found::Wait(wait);
    }
    let is_ours = candidates.iter().fold(false, |found, value| found | state.is_token(value.as_bytes()));
    if is_ours {
        return Found::Ours(without(uri, |value| state.is_token(value.as_bytes())));
    }
    // An application's own token may be as long as ours: it costs one mistake, and none from then on.
    candidates.iter().for_each(|value| state.is_no_token(value.as_bytes()));
    if !is_owner {
        state.throttle().failed(guesser, Instant::now());
        audit::attempt(client, "address", "unknown", Outcome::Refused);
    }
    Found::Nothing
}

/// Answers the address of a page of ours that carries our token: with a session, and without the token.
pub fn log_in(state: &State, client: Client<'_>, uri: &str, verdict: Verdict) -> Option<Response> {
    if !client.is_browser_page() || matches!(verdict, Verdict::Foreign | Verdict::UnknownHost) {
        return None;
    }
    let Found::Ours(rest) = look(state, client, uri, verdict.owns()) else { return None };
    let response = answer::see_other(local_path(&rest), StatusCode::SEE_OTHER);
    if verdict.owns() {
        return Some(response);
    }
    audit::attempt(client, "address", "token", Outcome::Accepted);
    entry::for_owner(state, client, response).inspect_err(|error| log::error!("{error:#}")).ok()
}

/// Values of the parameter, decoded and without blanks around them; its name may be encoded, too.
fn values(uri: &str) -> impl Iterator<Item = String> {
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == NAME)
        .map(|(_, value)| value.trim().to_owned())
}

/// The address without those parameters whose values are `ours`; the rest keeps its bytes.
fn without(uri: &str, ours: impl Fn(&str) -> bool) -> String {
    let Some((path, query)) = uri.split_once('?') else { return uri.to_owned() };
    let is_kept = |pair: &&str| {
        let parsed = form_urlencoded::parse(pair.as_bytes()).next();
        !parsed.is_some_and(|(name, value)| name == NAME && ours(value.trim()))
    };
    let kept: Vec<&str> = query.split('&').filter(is_kept).collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_token_is_taken_out_and_the_rest_keeps_its_bytes() {
        for (uri, rest) in [
            ("/?token=a%2Bb", "/"),
            ("/lab?x=%20&token=a%2Bb&y=1+2", "/lab?x=%20&y=1+2"),
            ("/?token=one&token=a%2bb", "/?token=one"),
            ("/?token=a%2Bb&token=a%2Bb&", "/?"),
            ("/?%74ok%65n=a%2Bb&x", "/?x"),
            ("/?token=+a%2Bb%20&x", "/?x"),
            ("/?token=", "/?token="),
            ("/?atoken=a%2Bb&tokens=a%2Bb&token", "/?atoken=a%2Bb&tokens=a%2Bb&token"),
            ("/token=a%2Bb", "/token=a%2Bb"),
            ("/", "/"),
        ] {
            assert_eq!(without(uri, |value| value == "a+b"), rest, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn any_address_can_be_looked_at(uri in "\\PC{0,100}") {
            prop_assert!(values(&uri).count() < 100);
            prop_assert_eq!(without(&uri, |_| false), uri.clone());
            prop_assert_eq!(values(&without(&uri, |_| true)).count(), 0);
        }
    }
}
