//! Browsers that have logged in before: whoever guesses from the same address cannot slow them down.

use std::time::Instant;

use crate::client::Client;
use crate::cookies;
use crate::state::State;
use crate::throttle::{Guesser, Way};

/// Keeps the signature of a mark from being used as anything else.
const PURPOSE: &str = "device";
/// How long a browser is remembered, in seconds: a year.
pub const LIFE: u64 = 365 * 24 * 3_600;

/// The name of the cookie that marks a device, from that of the session.
pub fn cookie_name(session: &str) -> String {
    format!("{session}_device")
}

/// A mark for a browser that has just logged in; it opens nothing.
pub fn mark(state: &State) -> Option<String> {
    let id = web_login::instance().ok()? + &web_login::instance().ok()?;
    Some(state.key().sign(PURPOSE, &id))
}

/// Whose failures an attempt of this visitor adds to.
pub fn guesser(state: &State, client: Client<'_>, way: Way) -> Guesser {
    let name = state.with_credentials(|known| known.map(|known| cookie_name(known.cookie())));
    let cookies = client.cookies();
    let marks = name.map(|name| cookies::values(&cookies, &name)).unwrap_or_default();
    let device = marks.iter().find_map(|mark| state.key().verify(PURPOSE, std::str::from_utf8(mark).ok()?));
    match device {
        Some(id) => Guesser::Device(id.to_owned()),
        None => Guesser::stranger(way, client.address()),
    }
}

/// How long this visitor has to wait before an attempt is looked at, in whole seconds.
pub fn wait(state: &State, guesser: &Guesser) -> Option<u64> {
    state.throttle().wait(guesser, Instant::now()).map(|wait| wait.as_secs() + 1)
}
