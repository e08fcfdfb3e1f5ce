//! `?token=` in an address: exchanged once for a session, and gone from the address.

use axum::http::StatusCode;
use axum::response::Response;

use crate::answer;
use crate::audit::{self, Outcome};
use crate::client::Client;
use crate::device;
use crate::entry;
use crate::next::local_path;
use crate::state::State;
use crate::throttle::Way;

/// The parameter's name; applications use it too, so a value that is not ours is left alone.
const NAME: &str = "token";

/// Answers a page's address that carries our token; nothing if it carries none, or if the visitor has to wait.
///
/// `has_session` says whether the visitor is the owner already: then a foreign value is the application's own affair, and
/// not a guess.
pub fn exchange(state: &State, client: Client<'_>, uri: &str, has_session: bool) -> Option<Response> {
    if !state.enable_auth() || !client.is_browser_page() {
        return None;
    }
    let (word, rest) = take(uri)?;
    let guesser = device::guesser(state, client, Way::Link);
    if device::wait(state, &guesser).is_some() {
        return None;
    }
    if !state.is_token(word.as_bytes()) {
        if !has_session {
            state.throttle().failed(guesser, std::time::Instant::now());
            audit::attempt(client, "address", "unknown", Outcome::Refused);
        }
        return None;
    }
    audit::attempt(client, "address", "token", Outcome::Accepted);
    let response = answer::see_other(local_path(&rest), StatusCode::SEE_OTHER);
    entry::for_owner(state, client, response).inspect_err(|error| log::error!("{error:#}")).ok()
}

/// The first `token` of a query, decoded, and the address without it, to the byte.
fn take(uri: &str) -> Option<(String, String)> {
    let (path, query) = uri.split_once('?')?;
    let mut found = None;
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| {
            let value = pair.strip_prefix(NAME).and_then(|rest| rest.strip_prefix('='));
            match value {
                Some(_) if found.is_none() => {
                    found =
                        form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned());
                    false
                }
                _ => true,
            }
        })
        .collect();
    let rest = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
    found.map(|word| (word, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_token_is_taken_out_and_the_rest_keeps_its_bytes() {
        for (uri, taken) in [
            ("/?token=abc", Some(("abc", "/"))),
            ("/lab?x=%20&token=a%2Bb&y=1+2", Some(("a+b", "/lab?x=%20&y=1+2"))),
            ("/?token=one&token=two", Some(("one", "/?token=two"))),
            ("/?token=", Some(("", "/"))),
            ("/?atoken=1&tokens=2&token", None),
            ("/token=1", None),
            ("/", None),
        ] {
            let expected = taken.map(|(word, rest): (&str, &str)| (word.to_owned(), rest.to_owned()));
            assert_eq!(take(uri), expected, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn any_address_can_be_looked_at(uri in "\\PC{0,100}") {
            if let Some((_, rest)) = take(&uri) {
                prop_assert!(rest.len() < uri.len());
            }
        }
    }
}
