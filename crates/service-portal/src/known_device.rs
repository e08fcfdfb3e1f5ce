//! Signed device cookies: browsers that have logged in before are not slowed down by other guessers at their address.

use std::time::Instant;

use crate::app_state::AppState;
use crate::client::Client;
use crate::cookies;
use crate::throttle::{AttemptKind, Guesser};

/// Lifetime of a device cookie, in seconds: a year.
pub const LIFETIME: u64 = 365 * 24 * 3_600;

/// Returns the name of the device cookie; `session` is the name of the session cookie.
pub fn cookie_name(session: &str) -> String {
    format!("{session}_device")
}

/// Returns the id of a browser that has just logged in: its own, or a new one.
pub fn issue_id(state: &AppState, client: Client<'_>) -> Option<String> {
    read_id(state, client).or_else(|| Some(web_login::instance().ok()? + &web_login::instance().ok()?))
}

/// Returns the value of a device cookie. It gives access only to the browser's own active session; a changed login
/// invalidates it.
pub fn sign_id(state: &AppState, id: &str) -> Option<String> {
    Some(state.key().sign(&purpose(state)?, id))
}

/// Returns the guesser to whom a failed attempt of this visitor is attributed.
///
/// A known device that has to wait is treated as a stranger. Another server that has seen the cookie can therefore not lock
/// its owner out.
pub fn guesser(state: &AppState, client: Client<'_>, kind: AttemptKind) -> Guesser {
    let stranger = || Guesser::stranger(kind, client.address());
    let Some(id) = read_id(state, client) else { return stranger() };
    let device = Guesser::Device(kind, id);
    if state.throttle().own_delay(&device, Instant::now()).is_some() { stranger() } else { device }
}

/// Returns the id in a valid device cookie of the browser.
pub fn read_id(state: &AppState, client: Client<'_>) -> Option<String> {
    let name = cookie_name(&state.cookie_name()?);
    let (cookies, purpose) = (client.cookies(), purpose(state)?);
    let values = cookies::values(&cookies, &name);
    let id =
        values.iter().find_map(|value| state.key().verify(&purpose, std::str::from_utf8(value).ok()?))?;
    Some(id.to_owned())
}

/// Returns the purpose of the signature, which binds it to device cookies and the current login.
fn purpose(state: &AppState) -> Option<String> {
    Some(format!("device {}", state.credentials()?.fingerprint()))
}

/// Returns the seconds to wait; `None` if the attempt must be checked now. Counts as an attempt.
pub fn wait_seconds(state: &AppState, guesser: &Guesser) -> Option<u64> {
    state.throttle().admit(guesser, Instant::now()).map(|wait| wait.as_secs() + 1)
}

/// Returns the seconds to wait for the guesser's own failures. Does not count as an attempt.
pub fn own_wait_seconds(state: &AppState, guesser: &Guesser) -> Option<u64> {
    state.throttle().own_delay(guesser, Instant::now()).map(|wait| wait.as_secs() + 1)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::path::Path;

    use axum::response::Response;
    use clap::Parser;
    use kit::{Env, Secret};
    use web_login::Login;

    use super::*;
    use crate::cli::Cli;
    use crate::client::tests::headers;
    use crate::gate;
    use crate::session_start;
    use crate::throttle::Throttle;
    use crate::verdict::Verdict;

    /// Creates a portal with 2,000 failed attempts at the form, each from another network.
    fn attacked(directory: &Path) -> AppState {
        let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        let login = Login {
            user: "ada".into(),
            password: Secret::new("secret").unwrap(),
            token: Secret::new("token").unwrap(),
            instance: "0badcafe".into(),
            asked: String::new(),
        };
        login.write(&directory.join("login"), (0, 0)).unwrap();
        let arguments = ["portal", "--credentials", &path("login"), "--state", &path("state")];
        let state = AppState::new(&Cli::parse_from(arguments), Env::default()).unwrap();
        let mut throttle = Throttle::with_random(|| 0.999);
        for number in 0..2_000_u32 {
            let guesser =
                Guesser::stranger(AttemptKind::Form, IpAddr::V4((0x0a00_0000 + (number << 8)).into()));
            throttle.admit(&guesser, Instant::now());
            throttle.record_failure(guesser, Instant::now());
        }
        *state.throttle() = throttle;
        state
    }

    /// Returns the wait at the form.
    fn form(state: &AppState, pairs: &[(&'static str, &str)]) -> Option<u64> {
        let headers = headers(pairs);
        wait_seconds(state, &guesser(state, Client(&headers), AttemptKind::Form))
    }

    fn verdict(state: &AppState, from: &str, authorization: &str) -> Verdict {
        gate::verdict_for(
            state,
            Client(&headers(&[("x-forwarded-for", from), ("authorization", authorization)])),
        )
    }

    #[test]
    fn failures_of_strangers_slow_down_forms_and_passwords_but_not_the_token() {
        let directory = tempfile::tempdir().unwrap();
        let state = attacked(directory.path());
        assert_eq!(form(&state, &[("x-forwarded-for", "192.0.2.1")]), Some(1));
        let basic = "Basic YWRhOnNlY3JldA==";
        assert_eq!(verdict(&state, "192.0.2.1", basic), Verdict::Wait(1), "as at the form");
        assert_eq!(verdict(&state, "192.0.2.1", "Bearer guess"), Verdict::Wait(1));
        assert_eq!(verdict(&state, "192.0.2.1", "Bearer token"), Verdict::Program);
        assert_eq!(verdict(&state, "192.0.2.1", basic), Verdict::Program, "the address is known now");
        assert_eq!(form(&state, &[("x-forwarded-for", "192.0.2.1")]), None);
        assert_eq!(verdict(&state, "192.0.2.2", basic), Verdict::Wait(1));
    }

    #[test]
    fn an_owner_becomes_known_by_address_and_browser_and_a_guest_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let state = attacked(directory.path());
        let (owner, guest) =
            (headers(&[("x-forwarded-for", "192.0.2.1")]), headers(&[("x-forwarded-for", "192.0.2.2")]));
        let answer = session_start::start_owner_session(&state, Client(&owner), Response::default()).unwrap();
        let (share, _) = state.shares().create("Echo", 8080, 3_600, None, kit::unix_time::now()).unwrap();
        session_start::start_guest_session(&state, Client(&guest), &share, Response::default()).unwrap();
        assert_eq!(form(&state, &[("x-forwarded-for", "192.0.2.1")]), None);
        assert_eq!(form(&state, &[("x-forwarded-for", "192.0.2.2")]), Some(1));

        let cookies = answer.headers().get_all("set-cookie").iter();
        let device_cookie = cookies
            .filter_map(|cookie| cookie.to_str().unwrap().split(';').next())
            .find(|pair| pair.contains("_device="))
            .unwrap();
        let browser = [("x-forwarded-for", "192.0.2.3"), ("cookie", device_cookie)];
        assert_eq!(form(&state, &browser), None);
        let device = guesser(&state, Client(&headers(&browser)), AttemptKind::Form);
        (0..20).for_each(|_| state.throttle().record_failure(device.clone(), Instant::now()));
        assert_eq!(form(&state, &browser), Some(1), "a device that has to wait is a stranger");
    }
}
