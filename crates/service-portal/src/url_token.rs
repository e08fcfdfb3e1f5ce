//! Our token in a URL (`?token=…`): removed before a service sees it, and exchanged for a session in a browser.

use std::time::Instant;

use axum::http::StatusCode;
use axum::response::Response;

use crate::app_state::AppState;
use crate::audit::{self, Outcome};
use crate::client::Client;
use crate::known_device;
use crate::response;
use crate::return_path::safe_path;
use crate::session_start;
use crate::throttle::AttemptKind;
use crate::verdict::Verdict;

/// Name of the parameter. Services use it too, so other values are kept.
const PARAMETER: &str = "token";

/// Result of a search for our token in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSearch {
    /// No token of ours.
    Nothing,
    /// Our token; the value is the URL without it.
    Ours(String),
    /// A possible token that was not compared after too many failures; the value is the seconds to wait.
    Wait(u64),
}

/// Looks for our token in a URL. Visitors other than the owner are slowed down, as at the login form.
pub fn find_token(state: &AppState, client: Client<'_>, uri: &str, is_owner: bool) -> TokenSearch {
    let candidates: Vec<String> =
        token_values(uri).filter(|value| state.may_be_token(value.as_bytes())).collect();
    if candidates.is_empty() {
        return TokenSearch::Nothing;
    }
    let guesser = known_device::guesser(state, client, AttemptKind::Link);
    if !is_owner && let Some(wait) = known_device::wait_seconds(state, &guesser) {
        audit::log_attempt(client, "address", "unknown", Outcome::Slowed);
        return TokenSearch::Wait(wait);
    }
    let is_ours = candidates.iter().fold(false, |found, value| found | state.is_token(value.as_bytes()));
    if is_ours {
        return TokenSearch::Ours(without_tokens(uri, |value| state.is_token(value.as_bytes())));
    }
    // A service's own token may be as long as ours: it counts as a failure once and is remembered.
    candidates.iter().for_each(|value| state.remember_mismatch(value.as_bytes()));
    if !is_owner {
        state.throttle().record_failure(guesser, Instant::now());
        audit::log_attempt(client, "address", "unknown", Outcome::Refused);
    }
    TokenSearch::Nothing
}

/// Redirects a request for a page of the portal to its URL without the token, with a session; `None` if there is no token.
pub fn exchange_for_session(
    state: &AppState,
    client: Client<'_>,
    uri: &str,
    verdict: Verdict,
) -> Option<Response> {
    if !client.is_browser_page() || matches!(verdict, Verdict::CrossOrigin | Verdict::UnknownHost) {
        return None;
    }
    let TokenSearch::Ours(rest) = find_token(state, client, uri, verdict.is_owner()) else { return None };
    let response = response::redirect(safe_path(&rest), StatusCode::SEE_OTHER);
    if verdict.is_owner() {
        return Some(response);
    }
    audit::log_attempt(client, "address", "token", Outcome::Accepted);
    session_start::start_owner_session(state, client, response)
        .inspect_err(|error| log::error!("{error:#}"))
        .ok()
}

/// Returns the decoded and trimmed values of the parameter, whose name may be percent-encoded.
fn token_values(uri: &str) -> impl Iterator<Item = String> {
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == PARAMETER)
        .map(|(_, value)| value.trim().to_owned())
}

/// Returns the URL without the parameters whose values are `ours`; the rest keeps its bytes.
fn without_tokens(uri: &str, ours: impl Fn(&str) -> bool) -> String {
    let Some((path, query)) = uri.split_once('?') else { return uri.to_owned() };
    let is_kept = |pair: &&str| {
        let parsed = form_urlencoded::parse(pair.as_bytes()).next();
        !parsed.is_some_and(|(name, value)| name == PARAMETER && ours(value.trim()))
    };
    let kept: Vec<&str> = query.split('&').filter(is_kept).collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_token_is_removed_and_the_rest_keeps_its_bytes() {
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
            assert_eq!(without_tokens(uri, |value| value == "a+b"), rest, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn any_url_can_be_searched(uri in "\\PC{0,100}") {
            prop_assert!(token_values(&uri).count() < 100);
            prop_assert_eq!(without_tokens(&uri, |_| false), uri.clone());
            prop_assert_eq!(token_values(&without_tokens(&uri, |_| true)).count(), 0);
        }
    }
}
