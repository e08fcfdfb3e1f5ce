//! Browsers that have logged in before: whoever guesses from the same address cannot slow them down.

use std::time::Instant;

use crate::app_state::AppState;
use crate::client::Client;
use crate::cookies;
use crate::throttle::{AttemptKind, Guesser};

/// How long a browser is remembered, in seconds: a year.
pub const LIFE: u64 = 365 * 24 * 3_600;

/// The name of the cookie that marks a device, from that of the session.
pub fn cookie_name(session: &str) -> String {
    format!("{session}_device")
}

/// The id of a browser that has just logged in: the one it has, or a new one.
pub fn issue_id(state: &AppState, client: Client<'_>) -> Option<String> {
    read_id(state, client).or_else(|| Some(web_login::instance().ok()? + &web_login::instance().ok()?))
}

/// The mark that carries an id. It opens nothing but the browser's own living session, and is forgotten with the login.
pub fn sign_id(state: &AppState, id: &str) -> Option<String> {
    Some(state.key().sign(&purpose(state)?, id))
}

/// Whose failures an attempt of this visitor adds to.
///
/// A marked browser that has to wait is treated as the stranger that it would be without the mark: a neighbour who has
/// seen the mark cannot make its owner wait.
pub fn guesser(state: &AppState, client: Client<'_>, way: AttemptKind) -> Guesser {
    let stranger = || Guesser::stranger(way, client.address());
    let Some(id) = read_id(state, client) else { return stranger() };
    let device = Guesser::Device(way, id);
    if state.throttle().own_delay(&device, Instant::now()).is_some() { stranger() } else { device }
}

/// The id that a browser shows.
pub fn read_id(state: &AppState, client: Client<'_>) -> Option<String> {
    let name = cookie_name(&state.cookie_name()?);
    let (cookies, purpose) = (client.cookies(), purpose(state)?);
    let marks = cookies::values(&cookies, &name);
    let id = marks.iter().find_map(|mark| state.key().verify(&purpose, std::str::from_utf8(mark).ok()?))?;
    Some(id.to_owned())
}

/// Keeps the signature of a mark from being used as anything else, or after the login has changed.
fn purpose(state: &AppState) -> Option<String> {
    Some(format!("device {}", state.credentials()?.fingerprint()))
}

/// Returns how many seconds this visitor has to wait; nothing if the attempt is to be looked at now. Ask once for each.
pub fn wait_seconds(state: &AppState, guesser: &Guesser) -> Option<u64> {
    state.throttle().admit(guesser, Instant::now()).map(|wait| wait.as_secs() + 1)
}

/// Returns the same for its own failures alone, which may be asked often.
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

    /// A portal to whose form 2,000 strangers come at once, each with a wrong password.
    fn besieged(directory: &Path) -> AppState {
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

    /// Asks at the form.
    fn form(state: &AppState, pairs: &[(&'static str, &str)]) -> Option<u64> {
        let headers = headers(pairs);
        wait_seconds(state, &guesser(state, Client(&headers), AttemptKind::Form))
    }

    fn judge(state: &AppState, from: &str, authorization: &str) -> Verdict {
        gate::verdict_for(
            state,
            Client(&headers(&[("x-forwarded-for", from), ("authorization", authorization)])),
        )
    }

    #[test]
    fn strangers_together_slow_down_forms_and_passwords_and_no_token() {
        let directory = tempfile::tempdir().unwrap();
        let state = besieged(directory.path());
        assert_eq!(form(&state, &[("x-forwarded-for", "192.0.2.1")]), Some(1));
        let basic = "Basic YWRhOnNlY3JldA==";
        assert_eq!(judge(&state, "192.0.2.1", basic), Verdict::Wait(1), "as at the form");
        assert_eq!(judge(&state, "192.0.2.1", "Bearer guess"), Verdict::Wait(1));
        assert_eq!(judge(&state, "192.0.2.1", "Bearer token"), Verdict::Program);
        assert_eq!(judge(&state, "192.0.2.1", basic), Verdict::Program, "the address is known now");
        assert_eq!(form(&state, &[("x-forwarded-for", "192.0.2.1")]), None);
        assert_eq!(judge(&state, "192.0.2.2", basic), Verdict::Wait(1));
    }

    #[test]
    fn an_owner_is_known_by_address_and_browser_and_a_guest_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let state = besieged(directory.path());
        let (owner, guest) =
            (headers(&[("x-forwarded-for", "192.0.2.1")]), headers(&[("x-forwarded-for", "192.0.2.2")]));
        let answer = session_start::start_owner_session(&state, Client(&owner), Response::default()).unwrap();
        let (share, _) = state.shares().create("Echo", 8080, 3_600, None, crate::unix_time::now()).unwrap();
        session_start::start_guest_session(&state, Client(&guest), &share, Response::default()).unwrap();
        assert_eq!(form(&state, &[("x-forwarded-for", "192.0.2.1")]), None);
        assert_eq!(form(&state, &[("x-forwarded-for", "192.0.2.2")]), Some(1));

        let cookies = answer.headers().get_all("set-cookie").iter();
        let mark = cookies
            .filter_map(|cookie| cookie.to_str().unwrap().split(';').next())
            .find(|pair| pair.contains("_device="))
            .unwrap();
        let browser = [("x-forwarded-for", "192.0.2.3"), ("cookie", mark)];
        assert_eq!(form(&state, &browser), None);
        let device = guesser(&state, Client(&headers(&browser)), AttemptKind::Form);
        (0..20).for_each(|_| state.throttle().record_failure(device.clone(), Instant::now()));
        assert_eq!(form(&state, &browser), Some(1), "one that has to wait is a stranger");
    }
}
