//! Session store. A cookie is a random number; what it gives access to is stored here and can be revoked.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};
use kit::atomic::WriteOptions;
use kit::{ReadPolicy, hex};
use serde::{Deserialize, Serialize};

use crate::client_network::session_network;
use crate::state_file::StateFile;

/// Time after which an unused session ends, in seconds.
const IDLE_TIMEOUT: u64 = 24 * 3_600;
/// Maximum lifetime of a session, in seconds.
pub const MAX_LIFETIME: u64 = 7 * 24 * 3_600;
/// Maximum number of sessions. Beyond it, the one unused for longest ends, guests first.
const MAX_SESSIONS: usize = 1_000;
/// Minimum time between two restores of a session, in seconds.
const RESTORE_INTERVAL: u64 = 2;
/// Maximum size of the file, in bytes: ten times that of the maximum number of sessions.
const MAX_BYTES: u64 = 4 << 20;

/// Sessions by the digest of their cookie: a copy of the file gives no access.
#[derive(Debug)]
pub struct Sessions {
    file: StateFile,
    kept: SessionsFile,
}

/// Content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct SessionsFile {
    /// Fingerprint of the login; a changed login ends all sessions.
    login: String,
    sessions: HashMap<String, Session>,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Public identifier, which gives no access.
    pub id: String,
    /// Time of the start, in seconds since the epoch.
    pub began: u64,
    /// Time of the last use, in seconds since the epoch.
    pub used: u64,
    /// Address of the visitor at the start.
    pub address: IpAddr,
    /// User agent of the browser.
    pub agent: String,
    /// Services that it gives access to.
    pub scope: Scope,
    /// Latest end, in seconds since the epoch.
    pub ends: u64,
    /// True if it is valid only from the visitor's network.
    pub bound: bool,
    /// Id of the known device, which gets the session back if another server has overwritten its cookie.
    #[serde(default)]
    pub device: Option<String>,
    /// Time of the last restore, in seconds since the epoch; 0 if there was none.
    #[serde(default)]
    pub restored: u64,
}

/// Services that a session gives access to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The portal and every service.
    Everything,
    /// One service, through a share link.
    Share {
        /// Public port of the service.
        port: u16,
        /// Name of the service, because another one may use the port later.
        #[serde(default)]
        service: String,
        /// Id of the link; revoking it ends its sessions.
        share: String,
    },
}

/// Properties of the visitor who starts a session.
#[derive(Debug, Clone)]
pub struct SessionOrigin {
    /// Address of the visitor.
    pub address: IpAddr,
    /// User agent of the browser.
    pub agent: String,
    /// True if other servers may share the host that the visitor entered, so that they get the cookie too (hazard H13).
    pub bound: bool,
    /// Id of the known device.
    pub device: Option<String>,
}

impl Sessions {
    /// Loads the sessions at `path` if they belong to `login`; a corrupt file counts as empty.
    pub fn load(path: &Path, login: &str) -> Self {
        let kept = ReadPolicy::max_size(MAX_BYTES)
            .read_if_exists(path)
            .ok()
            .flatten()
            .and_then(|bytes| serde_json::from_slice::<SessionsFile>(&bytes).ok());
        let kept = kept.filter(|kept| kept.login == login);
        let kept =
            kept.unwrap_or_else(|| SessionsFile { login: login.to_owned(), ..SessionsFile::default() });
        Self { file: StateFile::new(path, WriteOptions::volatile(0o600)), kept }
    }

    /// Creates a session and returns the value of its cookie; fails only without random numbers.
    pub fn create(&mut self, origin: SessionOrigin, scope: Scope, ends: u64, now: u64) -> Result<String> {
        self.drop_excess(now);
        let SessionOrigin { address, agent, bound, device } = origin;
        // Replaces an earlier session of this device, whose cookie may have been overwritten.
        self.kept.sessions.retain(|_, session| device.is_none() || session.device != device);
        let ends = ends.min(now + MAX_LIFETIME);
        let id = String::new();
        self.insert(Session {
            id,
            began: now,
            used: now,
            address,
            agent,
            scope,
            ends,
            bound,
            device,
            restored: 0,
        })
    }

    /// Restores the active session of a known device and returns the value of a new cookie; `None` if there is none for this
    /// network. The interval between restores stops a loop with a browser that rejects the cookie.
    pub fn restore(&mut self, device: &str, address: IpAddr, now: u64) -> Option<Result<String>> {
        let sessions = &mut self.kept.sessions;
        let (key, _) = sessions.iter().find(|(_, session)| {
            session.device.as_deref() == Some(device)
                && session.is_active(now)
                && session_network(session.address) == session_network(address)
                && now >= session.restored + RESTORE_INTERVAL
        })?;
        let key = key.clone();
        let session = sessions.remove(&key)?;
        Some(self.insert(Session { used: now, restored: now, ..session }))
    }

    fn insert(&mut self, mut session: Session) -> Result<String> {
        let token = web_login::token()?;
        let key = hex::sha256(token.as_bytes());
        key[..8].clone_into(&mut session.id);
        self.kept.sessions.insert(key, session);
        self.write();
        Ok(token)
    }

    /// Returns the active session of a cookie, and marks it as used.
    pub fn touch(&mut self, token: &[u8], address: IpAddr, now: u64) -> Option<&Session> {
        let session = self.kept.sessions.get_mut(&hex::sha256(token))?;
        if !session.is_valid_for(address, now) {
            return None;
        }
        if session.used != now {
            session.used = now;
            self.file.mark_changed();
        }
        Some(session)
    }

    /// Ends the session of a cookie.
    pub fn end(&mut self, token: &[u8]) {
        let key = hex::sha256(token);
        self.end_where(|found, _| found == key);
    }

    /// Ends the session with this public id; returns true if there was one.
    pub fn end_by_id(&mut self, id: &str) -> bool {
        self.end_where(|_, session| session.id == id)
    }

    /// Ends the sessions of a share link.
    pub fn end_share(&mut self, id: &str) {
        self.end_where(|_, session| matches!(&session.scope, Scope::Share { share, .. } if share == id));
    }

    /// Ends every session; later ones belong to `login`.
    pub fn end_all(&mut self, login: &str) {
        login.clone_into(&mut self.kept.login);
        self.kept.sessions.clear();
        self.replace_or_remove();
    }

    /// Returns the active sessions, the most recently used first.
    pub fn list(&self, now: u64) -> Vec<Session> {
        let mut active: Vec<Session> =
            self.kept.sessions.values().filter(|session| session.is_active(now)).cloned().collect();
        active.sort_by(|one, other| (other.used, &other.id).cmp(&(one.used, &one.id)));
        active
    }

    /// Writes pending changes.
    pub fn flush(&mut self) {
        if self.file.needs_write() {
            self.write();
        }
    }

    fn end_where(&mut self, which: impl Fn(&str, &Session) -> bool) -> bool {
        let before = self.kept.sessions.len();
        self.kept.sessions.retain(|key, session| !which(key, session));
        let ended = self.kept.sessions.len() != before;
        if ended {
            self.replace_or_remove();
        }
        ended
    }

    /// Removes ended sessions, and one more if there is no space for another.
    fn drop_excess(&mut self, now: u64) {
        self.kept.sessions.retain(|_, session| session.is_active(now));
        if self.kept.sessions.len() >= MAX_SESSIONS {
            let oldest = self
                .kept
                .sessions
                .iter()
                .min_by_key(|(_, session)| (session.scope == Scope::Everything, session.used))
                .map(|(key, _)| key.clone());
            oldest.map(|key| self.kept.sessions.remove(&key));
        }
    }

    /// Returns the reason why sessions would not survive a restart.
    pub fn problem(&self) -> Option<&str> {
        self.file.problem()
    }

    fn write(&mut self) {
        let bytes = self.bytes();
        self.file.write(bytes);
    }

    fn replace_or_remove(&mut self) {
        let bytes = self.bytes();
        self.file.replace_or_remove(bytes);
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(&self.kept).context("cannot serialize the sessions")
    }
}

impl Session {
    fn is_valid_for(&self, address: IpAddr, now: u64) -> bool {
        self.is_active(now) && (!self.bound || session_network(self.address) == session_network(address))
    }

    fn is_active(&self, now: u64) -> bool {
        now < self.expires()
    }

    /// Returns its end if it is not used again, in seconds since the epoch.
    pub fn expires(&self) -> u64 {
        self.ends.min(self.used + IDLE_TIMEOUT)
    }
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

        fn is_active(&mut self, token: &str, address: IpAddr, now: u64) -> bool {
            self.sessions.touch(token.as_bytes(), address, now).is_some()
        }
    }

    #[test]
    fn a_session_lasts_while_it_is_used_up_to_a_maximum() {
        let mut table = table();
        let (idle, busy) = (table.begin(Scope::Everything, false), table.begin(Scope::Everything, false));
        let mut now = START;
        while now + IDLE_TIMEOUT / 2 < START + MAX_LIFETIME {
            assert!(table.is_active(&busy, EVE, now));
            now += IDLE_TIMEOUT / 2;
        }
        assert!(
            !table.is_active(&idle, ADA, START + IDLE_TIMEOUT)
                && !table.is_active(&busy, ADA, START + MAX_LIFETIME)
        );
    }

    #[test]
    fn sessions_survive_a_restart_and_end_with_the_login() {
        let mut table = table();
        let token = table.begin(Scope::Everything, false);
        let text = std::fs::read_to_string(&table.path).unwrap();
        assert!(!text.contains(&token), "the file gives no access");
        let mut restarted = Sessions::load(&table.path, "login");
        assert!(restarted.touch(token.as_bytes(), ADA, START + 1).is_some());
        assert!(Sessions::load(&table.path, "another login").touch(token.as_bytes(), ADA, START).is_none());
        std::fs::write(&table.path, "{").unwrap();
        assert!(Sessions::load(&table.path, "login").touch(token.as_bytes(), ADA, START).is_none());
    }

    #[test]
    fn with_a_full_disk_sessions_are_kept_in_memory_and_written_later() {
        let mut table = table();
        let old = table.begin(Scope::Everything, false);
        let disk = FullDisk::with(&[("sessions.json", &std::fs::read(&table.path).unwrap())]);
        let path = disk.path().join("sessions.json");
        table.sessions = Sessions::load(&path, "login");
        let new = table.begin(Scope::Everything, false);
        assert!(table.is_active(&new, ADA, START) && table.sessions.problem().is_some());
        let mut restarted = Sessions::load(&path, "login");
        assert_eq!(
            [&old, &new].map(|token| restarted.touch(token.as_bytes(), ADA, START).is_some()),
            [true, false]
        );
        table.sessions.end(old.as_bytes());
        assert_eq!(Sessions::load(&path, "login").list(START), [], "an ended session stays ended");
        disk.free();
        table.sessions.flush();
        assert_eq!(table.sessions.problem(), None);
        assert!(Sessions::load(&path, "login").touch(new.as_bytes(), ADA, START).is_some());
    }

    #[test]
    fn a_bound_session_is_valid_from_its_own_network_only() {
        let mut table = table();
        let token = table.begin(Scope::Everything, true);
        assert!(table.is_active(&token, ADA, START) && !table.is_active(&token, EVE, START));
    }

    #[test]
    fn sessions_end_one_by_one_by_share_and_all_together() {
        let mut table = table();
        let shared = |share: &str| Scope::Share { port: 8080, service: "Echo".into(), share: share.into() };
        let tokens = [Scope::Everything, Scope::Everything, shared("a"), shared("b")]
            .map(|scope| table.begin(scope, false));
        table.sessions.end(tokens[0].as_bytes());
        table.sessions.end_share("a");
        assert_eq!(
            tokens.clone().map(|token| table.is_active(&token, ADA, START)),
            [false, true, false, true]
        );
        let id = table
            .sessions
            .list(START)
            .into_iter()
            .find(|session| session.scope == Scope::Everything)
            .unwrap()
            .id;
        assert!(table.sessions.end_by_id(&id) && !table.sessions.end_by_id(&id));
        table.sessions.end_all("login");
        assert_eq!(table.sessions.list(START), []);
    }

    #[test]
    fn a_known_device_has_one_session_and_gets_it_back() {
        let mut table = table();
        let from_device = |device: &str| SessionOrigin { device: Some(device.into()), ..visitor(true) };
        let begin = |table: &mut Table, device: &str| {
            table.sessions.create(from_device(device), Scope::Everything, u64::MAX, START).unwrap()
        };
        let (first, other) = (begin(&mut table, "a"), begin(&mut table, "b"));
        let second = begin(&mut table, "a");
        let active = [&first, &other, &second].map(|token| table.is_active(token, ADA, START));
        assert_eq!(active, [false, true, true]);
        assert!(table.sessions.restore("a", EVE, START).is_none(), "it is bound to its network");
        assert!(table.sessions.restore("c", ADA, START).is_none());
        let restored = table.sessions.restore("a", ADA, START + 5).unwrap().unwrap();
        assert_eq!(table.sessions.list(START + 5)[0].used, START + 5, "a restore counts as a use");
        let active = [&second, &restored].map(|token| table.is_active(token, ADA, START + 5));
        assert_eq!(active, [false, true]);
        let kept = table.sessions.list(START + 5);
        assert_eq!((kept.len(), kept[0].began, kept[0].used), (2, START, START + 5));
        assert_eq!(kept[0].ends, START + MAX_LIFETIME, "a restore does not extend the lifetime");
        let soon = START + 5 + RESTORE_INTERVAL;
        assert!(table.sessions.restore("a", ADA, soon - 1).is_none(), "a browser that rejects the cookie");
        let again = table.sessions.restore("a", ADA, soon).unwrap().unwrap();
        assert!(!table.is_active(&restored, ADA, soon) && table.is_active(&again, ADA, soon));
        table.sessions.end(again.as_bytes());
        assert!(
            table.sessions.restore("a", ADA, soon + RESTORE_INTERVAL).is_none(),
            "an ended session stays ended"
        );
        assert!(table.sessions.restore("b", ADA, START + IDLE_TIMEOUT).is_none());
    }

    #[test]
    fn a_session_ends_a_day_after_its_last_use_and_after_a_week_or_when_its_link_does() {
        let (mut table, day) = (table(), 86_400);
        let token = table.begin(Scope::Everything, false);
        assert!(table.is_active(&token, ADA, START + day - 1));
        assert_eq!(table.sessions.list(START + 2 * day - 2).len(), 1);
        assert_eq!(table.sessions.list(START + 2 * day - 1), []);
        (2..14).for_each(|number| assert!(table.is_active(&token, ADA, START + number * day / 2)));
        assert!(
            table.is_active(&token, ADA, START + 7 * day - 1)
                && !table.is_active(&token, ADA, START + 7 * day)
        );
        let guest = table.sessions.create(visitor(false), Scope::Everything, START + 60, START).unwrap();
        assert!(table.is_active(&guest, ADA, START + 59) && !table.is_active(&guest, ADA, START + 60));
    }

    #[test]
    fn times_of_last_use_are_written_later() {
        let mut table = table();
        let token = table.begin(Scope::Everything, false);
        let used = |table: &Table| Sessions::load(&table.path, "login").list(START)[0].used - START;
        assert!(table.is_active(&token, ADA, START + 1));
        assert_eq!(used(&table), 0);
        table.sessions.flush();
        assert_eq!(used(&table), 1);
        std::fs::remove_file(&table.path).unwrap();
        assert!(table.is_active(&token, ADA, START + 1));
        table.sessions.flush();
        assert!(!table.path.exists(), "nothing has changed");
    }

    #[test]
    fn the_most_recently_used_session_is_listed_first() {
        let mut table = table();
        let [one, other] = [1, 2].map(|after| {
            let token = table.begin(Scope::Everything, false);
            assert!(table.is_active(&token, ADA, START + after));
            hex::sha256(token.as_bytes())[..8].to_owned()
        });
        let ids: Vec<_> = table.sessions.list(START + 2).into_iter().map(|session| session.id).collect();
        assert_eq!(ids, [other, one]);
    }

    #[test]
    fn beyond_the_maximum_guests_are_dropped_before_the_owners_oldest_session() {
        let mut table = table();
        let mut begin = |scope, now| table.sessions.create(visitor(false), scope, u64::MAX, now).unwrap();
        let (oldest, older) = (begin(Scope::Everything, START), begin(Scope::Everything, START + 1));
        let guest = begin(Scope::Share { port: 1, service: "Echo".into(), share: "a".into() }, START + 2);
        let last =
            Session { used: START + 3, scope: Scope::Everything, ..table.sessions.list(START)[0].clone() };
        let kept = &mut table.sessions.kept.sessions;
        (3..MAX_SESSIONS).for_each(|number| drop(kept.insert(number.to_string(), last.clone())));
        let mut after = |now| {
            table.begin_at(now);
            let kept = &table.sessions.kept.sessions;
            let stay =
                [&oldest, &older, &guest].map(|token| kept.contains_key(&hex::sha256(token.as_bytes())));
            (stay, kept.len())
        };
        assert_eq!(after(START + 3), ([true, true, false], MAX_SESSIONS));
        assert_eq!(after(START + 3), ([false, true, false], MAX_SESSIONS));
        assert_eq!(after(START + 3 + IDLE_TIMEOUT), ([false; 3], 1), "ended sessions are dropped first");
    }
}
