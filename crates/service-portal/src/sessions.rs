//! Who is logged in. The cookie is a random number; everything that it means is kept here and can be taken back.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// A session that nobody uses ends.
const IDLE: Duration = Duration::from_hours(24);
/// Every session ends.
pub const ABSOLUTE: Duration = Duration::from_hours(24 * 7);
/// More than this many at once are not people; the one unused for longest makes room.
const MOST: usize = 1_000;

/// Sessions by the digest of their cookie: a copy of this table opens nothing.
#[derive(Debug, Default)]
pub struct Sessions(HashMap<[u8; 32], Session>);

#[derive(Debug)]
struct Session {
    began: Instant,
    used: Instant,
}

impl Sessions {
    /// Begins a session and returns the cookie's value.
    pub fn begin(&mut self, now: Instant) -> Result<String> {
        let mut token = [0; 32];
        getrandom::fill(&mut token).context("the kernel gives no random numbers")?;
        let token = URL_SAFE_NO_PAD.encode(token);
        self.make_room(now);
        self.0.insert(digest(token.as_bytes()), Session { began: now, used: now });
        Ok(token)
    }

    /// Whether a cookie belongs to a living session, which counts as using it.
    pub fn touch(&mut self, token: &[u8], now: Instant) -> bool {
        let key = digest(token);
        match self.0.get_mut(&key) {
            Some(session) if session.lives(now) => {
                session.used = now;
                true
            }
            Some(_) => {
                self.0.remove(&key);
                false
            }
            None => false,
        }
    }

    /// Ends one session.
    pub fn end(&mut self, token: &[u8]) {
        self.0.remove(&digest(token));
    }

    /// Ends every session.
    pub fn end_all(&mut self) {
        self.0.clear();
    }

    fn make_room(&mut self, now: Instant) {
        if self.0.len() < MOST {
            return;
        }
        self.0.retain(|_, session| session.lives(now));
        if self.0.len() >= MOST
            && let Some(oldest) = self.0.iter().min_by_key(|(_, session)| session.used).map(|(&key, _)| key)
        {
            self.0.remove(&oldest);
        }
    }
}

impl Session {
    fn lives(&self, now: Instant) -> bool {
        now.duration_since(self.used) < IDLE && now.duration_since(self.began) < ABSOLUTE
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lives_while_it_is_used_and_never_for_ever() {
        let (mut sessions, start) = (Sessions::default(), Instant::now());
        let idle = sessions.begin(start).unwrap();
        let busy = sessions.begin(start).unwrap();
        let mut now = start;
        while now + IDLE / 2 < start + ABSOLUTE {
            assert!(sessions.touch(busy.as_bytes(), now));
            now += IDLE / 2;
        }
        assert!(!sessions.touch(idle.as_bytes(), start + IDLE));
        assert!(!sessions.touch(busy.as_bytes(), start + ABSOLUTE));
        assert_eq!(sessions.0.len(), 0, "dead sessions are forgotten");
    }

    #[test]
    fn logging_out_ends_one_session_and_a_new_password_all() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let (one, other) = (sessions.begin(now).unwrap(), sessions.begin(now).unwrap());
        assert_ne!(one, other);
        sessions.end(one.as_bytes());
        assert!(!sessions.touch(one.as_bytes(), now) && sessions.touch(other.as_bytes(), now));
        sessions.end_all();
        assert!(!sessions.touch(other.as_bytes(), now));
    }

    #[test]
    fn a_flood_of_logins_does_not_grow_without_bound() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        (0..MOST + 10).for_each(|_| drop(sessions.begin(now).unwrap()));
        assert_eq!(sessions.0.len(), MOST);
    }
}
