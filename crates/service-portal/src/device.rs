//! Browsers that have logged in before: whoever guesses from the same address cannot slow them down.

use std::time::Instant;

use crate::client::Client;
use crate::cookies;
use crate::state::State;
use crate::throttle::{Guesser, Way};

/// How long a browser is remembered, in seconds: a year.
pub const LIFE: u64 = 365 * 24 * 3_600;

/// The name of the cookie that marks a device, from that of the session.
pub fn cookie_name(session: &str) -> String {
    format!("{session}_device")
}

/// The id of a browser that has just logged in: the one it has, or a new one.
pub fn id(state: &State, client: Client<'_>) -> Option<String> {
    known(state, client).or_else(|| Some(web_login::instance().ok()? + &web_login::instance().ok()?))
}

/// The mark that carries an id. It opens nothing but the browser's own living session, and is forgotten with the login.
pub fn mark(state: &State, id: &str) -> Option<String> {
    Some(state.key().sign(&purpose(state)?, id))
}

/// Whose failures an attempt of this visitor adds to.
///
/// A marked browser that has to wait is treated as the stranger that it would be without the mark: a neighbour who has
/// seen the mark cannot make its owner wait.
pub fn guesser(state: &State, client: Client<'_>, way: Way) -> Guesser {
    let stranger = || Guesser::stranger(way, client.address());
    let Some(id) = known(state, client) else { return stranger() };
    let device = Guesser::Device(way, id);
    if state.throttle().own_wait(&device, Instant::now()).is_some() { stranger() } else { device }
}

/// The id that a browser shows.
pub fn known(state: &State, client: Client<'_>) -> Option<String> {
    let name = cookie_name(&state.cookie_name()?);
    let (cookies, purpose) = (client.cookies(), purpose(state)?);
    let marks = cookies::values(&cookies, &name);
    let id = marks.iter().find_map(|mark| state.key().verify(&purpose, std::str::from_utf8(mark).ok()?))?;
    Some(id.to_owned())
}

/// Keeps the signature of a mark from being used as anything else, or after the login has changed.
fn purpose(state: &State) -> Option<String> {
    Some(format!("device {}", state.credentials()?.fingerprint()))
}

/// Returns how many seconds this visitor has to wait; nothing if the attempt is to be looked at now. Ask once for each.
pub fn wait(state: &State, guesser: &Guesser) -> Option<u64> {
    state.throttle().wait(guesser, Instant::now()).map(|wait| wait.as_secs() + 1)
}

/// Returns the same for its own failures alone, which may be asked often.
pub fn wait_for_own(state: &State, guesser: &Guesser) -> Option<u64> {
    state.throttle().own_wait(guesser, Instant::now()).map(|wait| wait.as_secs() + 1)
}
