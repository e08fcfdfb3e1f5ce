//! Who is logged in. The cookie is a random number; everything that it means is kept here and can be taken back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};
use kit::ReadPolicy;
use kit::atomic::WriteOptions;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::client_network::session_network;
use crate::state_file::StateFile;

/// A session that nobody uses ends, in seconds.
const IDLE: u64 = 24 * 3_600;
/// Every session ends, in seconds.
pub const ABSOLUTE: u64 = 7 * 24 * 3_600;
/// More than this many at once are not people; the one unused for longest makes room, guests first.
const MOST: usize = 1_000;
/// A browser gets its session back this seldom, in seconds.
const RESTORE: u64 = 2;
/// The times of last use are written this seldom, in seconds: they are not worth a write for each request.
const FLUSH: u64 = 30;

/// A thousand of them are a tenth of this, in bytes.
const LARGEST: u64 = 4 << 20;

/// Sessions by the digest of their cookie: a copy of this table opens nothing.
#[derive(Debug)]
pub struct Sessions {
    file: StateFile,
    kept: SessionsFile,
    /// The second of the last write, and whether something has changed since.
    written: u64,
    changed: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct SessionsFile {
    /// Which login they belong to; with another one they are over.
    login: String,
    sessions: HashMap<String, Session>,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// What people and commands call it; opens nothing.
    pub id: String,
    /// When it began.
    pub began: u64,
    /// When it was last used.
    pub used: u64,
    /// Where the visitor came from at first.
    pub address: IpAddr,
    /// What the browser says it is.
    pub agent: String,
    /// What it opens.
    pub scope: Scope,
    /// When it ends at the latest.
    pub ends: u64,
    /// Whether it is good from the visitor's own network only.
    pub bound: bool,
    /// The mark of the browser, by which it gets the session back if another server has taken its cookie.
    #[serde(default)]
    pub device: Option<String>,
    /// Time of the last restore, in seconds since the epoch; 0 if there was none.
    #[serde(default)]
    pub restored: u64,
}

/// What a session opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The portal and every service.
    Everything,
    /// One service, through a share link.
    Share {
        /// The service's public port.
        port: u16,
        /// The service's name: another one may have the port later.
        #[serde(default)]
        service: String,
        /// The link's id: revoking it ends its sessions.
        share: String,
    },
}

/// Who begins a session.
#[derive(Debug, Clone)]
pub struct SessionOrigin {
    /// The address.
    pub address: IpAddr,
    /// The browser.
    pub agent: String,
    /// Whether other servers share the address that the visitor typed, so that they see the cookie too (hazard H13).
    pub bound: bool,
    /// The mark of the browser, if it gets or has one.
    pub device: Option<String>,
}

impl Sessions {
    /// The sessions kept at `path`, if they belong to `login`; a damaged file counts as none.
    pub fn load(path: &Path, login: &str) -> Self {
        let kept = ReadPolicy::max_size(LARGEST)
            .read_if_exists(path)
            .ok()
            .flatten()
            .and_then(|bytes| serde_json::from_slice::<SessionsFile>(&bytes).ok());
        let kept = kept.filter(|kept| kept.login == login);
        let kept =
            kept.unwrap_or_else(|| SessionsFile { login: login.to_owned(), ..SessionsFile::default() });
        Self { file: StateFile::new(path, WriteOptions::volatile(0o600)), kept, written: 0, changed: false }
    }

    /// Begins a session and returns the cookie's value; without one random number, there is no session.
    pub fn create(&mut self, visitor: SessionOrigin, scope: Scope, ends: u64, now: u64) -> Result<String> {
        self.make_room(now);
        let SessionOrigin { address, agent, bound, device } = visitor;
        // A browser whose cookie was overwritten has one session, not two.
        self.kept.sessions.retain(|_, session| device.is_none() || session.device != device);
        let ends = ends.min(now + ABSOLUTE);
        let id = String::new();
        self.insert(
            Session { id, began: now, used: now, address, agent, scope, ends, bound, device, restored: 0 },
            now,
        )
    }

    /// Gives a marked browser its living session back under a new cookie, whose value is returned; from the session's
    /// network only, and seldom: a browser that does not take the cookie would come again and again.
    pub fn restore(&mut self, device: &str, address: IpAddr, now: u64) -> Option<Result<String>> {
        let sessions = &mut self.kept.sessions;
        let (key, _) = sessions.iter().find(|(_, session)| {
            session.device.as_deref() == Some(device)
                && session.lives(now)
                && session_network(session.address) == session_network(address)
                && now >= session.restored + RESTORE
        })?;
        let key = key.clone();
        let session = sessions.remove(&key)?;
        Some(self.insert(Session { used: now, restored: now, ..session }, now))
    }

    fn insert(&mut self, mut session: Session, now: u64) -> Result<String> {
        let token = web_login::token()?;
        let key = digest(token.as_bytes());
        key[..8].clone_into(&mut session.id);
        self.kept.sessions.insert(key, session);
        self.write(now);
        Ok(token)
    }

    /// The living session of a cookie, which counts as using it.
    pub fn touch(&mut self, token: &[u8], address: IpAddr, now: u64) -> Option<&Session> {
        let session = self.kept.sessions.get_mut(&digest(token))?;
        if !session.opens_for(address, now) {
            return None;
        }
        if session.used != now {
            session.used = now;
            self.changed = true;
        }
        Some(session)
    }

    /// Ends the session of a cookie.
    pub fn end(&mut self, token: &[u8], now: u64) {
        let key = digest(token);
        self.end_where(|found, _| found == key, now);
    }

    /// Ends the session that people call `id`; says whether there was one.
    pub fn end_by_id(&mut self, id: &str, now: u64) -> bool {
        self.end_where(|_, session| session.id == id, now)
    }

    /// Ends the sessions of a share link.
    pub fn end_share(&mut self, id: &str, now: u64) {
        self.end_where(|_, session| matches!(&session.scope, Scope::Share { share, .. } if share == id), now);
    }

    /// Ends every session; the next ones belong to `login`.
    pub fn end_all(&mut self, login: &str, now: u64) {
        login.clone_into(&mut self.kept.login);
        self.kept.sessions.clear();
        self.replace_or_remove(now);
    }

    /// The living sessions, the last used one first.
    pub fn list(&self, now: u64) -> Vec<Session> {
        let mut living: Vec<Session> =
            self.kept.sessions.values().filter(|session| session.lives(now)).cloned().collect();
        living.sort_by(|one, other| (other.used, &other.id).cmp(&(one.used, &one.id)));
        living
    }

    /// Writes times of last use that are not written yet, if the last write was long enough ago.
    pub fn flush(&mut self, now: u64, at_once: bool) {
        if self.changed && (at_once || now >= self.written + FLUSH) {
            self.write(now);
        }
    }

    fn end_where(&mut self, which: impl Fn(&str, &Session) -> bool, now: u64) -> bool {
        let before = self.kept.sessions.len();
        self.kept.sessions.retain(|key, session| !which(key, session));
        let ended = self.kept.sessions.len() != before;
        if ended {
            self.replace_or_remove(now);
        }
        ended
    }

    fn make_room(&mut self, now: u64) {
        self.kept.sessions.retain(|_, session| session.lives(now));
        if self.kept.sessions.len() >= MOST {
            let oldest = self
                .kept
                .sessions
                .iter()
                .min_by_key(|(_, session)| (session.scope == Scope::Everything, session.used))
                .map(|(key, _)| key.clone());
            oldest.map(|key| self.kept.sessions.remove(&key));
        }
    }

    /// The reason why sessions do not survive a restart.
    pub fn problem(&self) -> Option<&str> {
        self.file.problem()
    }

    fn write(&mut self, now: u64) {
        let bytes = self.bytes();
        self.file.write(bytes);
        (self.written, self.changed) = (now, self.file.problem().is_some());
    }

    fn replace_or_remove(&mut self, now: u64) {
        let bytes = self.bytes();
        self.file.replace_or_remove(bytes);
        (self.written, self.changed) = (now, self.file.problem().is_some());
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(&self.kept).context("cannot describe the sessions")
    }
}

impl Session {
    fn opens_for(&self, address: IpAddr, now: u64) -> bool {
        self.lives(now) && (!self.bound || session_network(self.address) == session_network(address))
    }

    fn lives(&self, now: u64) -> bool {
        now < self.used + IDLE && now < self.ends
    }
}

fn digest(token: &[u8]) -> String {
    let digest = Sha256::digest(token);
    digest
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_file::tests::FullDisk;

    const ADA: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const EVE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));
    const START: u64 = 1_000_000;

    fn visitor(bound: bool) -> SessionOrigin {
        SessionOrigin { address: ADA, agent: "a browser".into(), bound, device: None }
    }

    struct Table {
        _directory: tempfile::TempDir,
        path: std::path::PathBuf,
        sessions: Sessions,
    }

    fn table() -> Table {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sessions.json");
        let sessions = Sessions::load(&path, "login");
        Table { _directory: directory, path, sessions }
    }

    impl Table {
        fn begin(&mut self, scope: Scope, bound: bool) -> String {
            self.sessions.create(visitor(bound), scope, u64::MAX, START).unwrap()
        }

        fn begin_at(&mut self, now: u64) {
            self.sessions.create(visitor(false), Scope::Everything, u64::MAX, now).unwrap();
        }

        fn lives(&mut self, token: &str, address: IpAddr, now: u64) -> bool {
            self.sessions.touch(token.as_bytes(), address, now).is_some()
        }
    }

    #[test]
    fn a_session_lives_while_it_is_used_and_never_for_ever() {
        let mut table = table();
        let (idle, busy) = (table.begin(Scope::Everything, false), table.begin(Scope::Everything, false));
        let mut now = START;
        while now + IDLE / 2 < START + ABSOLUTE {
            assert!(table.lives(&busy, EVE, now));
            now += IDLE / 2;
        }
        assert!(!table.lives(&idle, ADA, START + IDLE) && !table.lives(&busy, ADA, START + ABSOLUTE));
    }

    #[test]
    fn a_restart_keeps_sessions_and_another_login_ends_them() {
        let mut table = table();
        let token = table.begin(Scope::Everything, false);
        let text = std::fs::read_to_string(&table.path).unwrap();
        assert!(!text.contains(&token), "the file opens nothing");
        let mut restarted = Sessions::load(&table.path, "login");
        assert!(restarted.touch(token.as_bytes(), ADA, START + 1).is_some());
        assert!(Sessions::load(&table.path, "another login").touch(token.as_bytes(), ADA, START).is_none());
        std::fs::write(&table.path, "{").unwrap();
        assert!(Sessions::load(&table.path, "login").touch(token.as_bytes(), ADA, START).is_none());
    }

    #[test]
    fn with_a_full_disk_sessions_live_in_memory_and_are_written_later() {
        let mut table = table();
        let old = table.begin(Scope::Everything, false);
        let disk = FullDisk::with(&[("sessions.json", &std::fs::read(&table.path).unwrap())]);
        let path = disk.path().join("sessions.json");
        table.sessions = Sessions::load(&path, "login");
        let new = table.begin(Scope::Everything, false);
        assert!(table.lives(&new, ADA, START) && table.sessions.problem().is_some());
        let mut restarted = Sessions::load(&path, "login");
        assert_eq!(
            [&old, &new].map(|token| restarted.touch(token.as_bytes(), ADA, START).is_some()),
            [true, false]
        );
        table.sessions.end(old.as_bytes(), START);
        assert_eq!(Sessions::load(&path, "login").list(START), [], "what has ended does not come back");
        disk.free();
        table.sessions.flush(START + FLUSH, false);
        assert_eq!(table.sessions.problem(), None);
        assert!(Sessions::load(&path, "login").touch(new.as_bytes(), ADA, START).is_some());
    }

    #[test]
    fn a_bound_session_is_good_from_its_own_network_only() {
        let mut table = table();
        let token = table.begin(Scope::Everything, true);
        assert!(table.lives(&token, ADA, START) && !table.lives(&token, EVE, START));
    }

    #[test]
    fn sessions_end_one_by_one_by_share_and_all_together() {
        let mut table = table();
        let shared = |share: &str| Scope::Share { port: 8080, service: "Echo".into(), share: share.into() };
        let tokens = [Scope::Everything, Scope::Everything, shared("a"), shared("b")]
            .map(|scope| table.begin(scope, false));
        table.sessions.end(tokens[0].as_bytes(), START);
        table.sessions.end_share("a", START);
        assert_eq!(tokens.clone().map(|token| table.lives(&token, ADA, START)), [false, true, false, true]);
        let id = table
            .sessions
            .list(START)
            .into_iter()
            .find(|session| session.scope == Scope::Everything)
            .unwrap()
            .id;
        assert!(table.sessions.end_by_id(&id, START) && !table.sessions.end_by_id(&id, START));
        table.sessions.end_all("login", START);
        assert_eq!(table.sessions.list(START), []);
    }

    #[test]
    fn a_marked_browser_has_one_session_and_gets_it_back() {
        let mut table = table();
        let marked = |device: &str| SessionOrigin { device: Some(device.into()), ..visitor(true) };
        let begin = |table: &mut Table, device: &str| {
            table.sessions.create(marked(device), Scope::Everything, u64::MAX, START).unwrap()
        };
        let (first, other) = (begin(&mut table, "a"), begin(&mut table, "b"));
        let second = begin(&mut table, "a");
        let lives = [&first, &other, &second].map(|token| table.lives(token, ADA, START));
        assert_eq!(lives, [false, true, true]);
        assert!(table.sessions.restore("a", EVE, START).is_none(), "it is bound to its network");
        assert!(table.sessions.restore("c", ADA, START).is_none());
        let restored = table.sessions.restore("a", ADA, START + 5).unwrap().unwrap();
        assert_eq!(table.sessions.list(START + 5)[0].used, START + 5, "that is a use");
        let lives = [&second, &restored].map(|token| table.lives(token, ADA, START + 5));
        assert_eq!(lives, [false, true]);
        let kept = table.sessions.list(START + 5);
        assert_eq!((kept.len(), kept[0].began, kept[0].used), (2, START, START + 5));
        assert_eq!(kept[0].ends, START + ABSOLUTE, "it does not live longer for it");
        let soon = START + 5 + RESTORE;
        assert!(table.sessions.restore("a", ADA, soon - 1).is_none(), "a browser that takes no cookie");
        let again = table.sessions.restore("a", ADA, soon).unwrap().unwrap();
        assert!(!table.lives(&restored, ADA, soon) && table.lives(&again, ADA, soon));
        table.sessions.end(again.as_bytes(), soon);
        assert!(
            table.sessions.restore("a", ADA, soon + RESTORE).is_none(),
            "what has ended does not come back"
        );
        assert!(table.sessions.restore("b", ADA, START + IDLE).is_none());
    }

    #[test]
    fn a_session_ends_a_day_after_its_last_use_and_after_a_week_or_when_its_link_does() {
        let (mut table, day) = (table(), 86_400);
        let token = table.begin(Scope::Everything, false);
        assert!(table.lives(&token, ADA, START + day - 1));
        assert_eq!(table.sessions.list(START + 2 * day - 2).len(), 1);
        assert_eq!(table.sessions.list(START + 2 * day - 1), []);
        (2..14).for_each(|number| assert!(table.lives(&token, ADA, START + number * day / 2)));
        assert!(table.lives(&token, ADA, START + 7 * day - 1) && !table.lives(&token, ADA, START + 7 * day));
        let guest = table.sessions.create(visitor(false), Scope::Everything, START + 60, START).unwrap();
        assert!(table.lives(&guest, ADA, START + 59) && !table.lives(&guest, ADA, START + 60));
    }

    #[test]
    fn times_of_last_use_are_written_seldom_and_at_the_end() {
        let mut table = table();
        let token = table.begin(Scope::Everything, false);
        let used = |table: &Table| Sessions::load(&table.path, "login").list(START)[0].used - START;
        assert!(table.lives(&token, ADA, START + 1));
        table.sessions.flush(START + FLUSH - 1, false);
        assert_eq!(used(&table), 0);
        table.sessions.flush(START + FLUSH, false);
        assert_eq!(used(&table), 1);
        assert!(table.lives(&token, ADA, START + FLUSH + 1));
        table.sessions.flush(START + FLUSH + 1, false);
        assert_eq!(used(&table), 1);
        table.sessions.flush(START + FLUSH + 1, true);
        assert_eq!(used(&table), FLUSH + 1);
        std::fs::remove_file(&table.path).unwrap();
        assert!(table.lives(&token, ADA, START + FLUSH + 1));
        table.sessions.flush(START + 10 * FLUSH, true);
        assert!(!table.path.exists(), "there is nothing new to write");
    }

    #[test]
    fn the_last_used_session_is_the_first_in_the_list() {
        let mut table = table();
        let [one, other] = [1, 2].map(|after| {
            let token = table.begin(Scope::Everything, false);
            assert!(table.lives(&token, ADA, START + after));
            digest(token.as_bytes())[..8].to_owned()
        });
        let ids: Vec<_> = table.sessions.list(START + 2).into_iter().map(|session| session.id).collect();
        assert_eq!(ids, [other, one]);
    }

    #[test]
    fn a_digest_is_sha_256_in_hexadecimal() {
        assert_eq!(digest(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn where_there_are_too_many_a_guest_makes_room_before_the_one_unused_for_longest() {
        let mut table = table();
        let mut begin = |scope, now| table.sessions.create(visitor(false), scope, u64::MAX, now).unwrap();
        let (oldest, older) = (begin(Scope::Everything, START), begin(Scope::Everything, START + 1));
        let guest = begin(Scope::Share { port: 1, service: "Echo".into(), share: "a".into() }, START + 2);
        let last =
            Session { used: START + 3, scope: Scope::Everything, ..table.sessions.list(START)[0].clone() };
        let kept = &mut table.sessions.kept.sessions;
        (3..MOST).for_each(|number| drop(kept.insert(number.to_string(), last.clone())));
        let mut after = |now| {
            table.begin_at(now);
            let kept = &table.sessions.kept.sessions;
            let stay = [&oldest, &older, &guest].map(|token| kept.contains_key(&digest(token.as_bytes())));
            (stay, kept.len())
        };
        assert_eq!(after(START + 3), ([true, true, false], MOST));
        assert_eq!(after(START + 3), ([false, true, false], MOST));
        assert_eq!(after(START + 3 + IDLE), ([false; 3], 1), "what has ended makes room before");
    }
}
