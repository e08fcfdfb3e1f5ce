//! The directory of registered services.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use kit::atomic::{self, WriteOptions};
use kit::lock::Lock;
use kit::untrusted_file::{ReadError, ReadErrorKind};
use kit::{Env, ReadPolicy, SettingsReader, variables};

use crate::Service;

/// Maximum size of a registry file.
const INPUT: ReadPolicy = ReadPolicy::max_size(64 * 1024).no_follow();

/// Directory entries that are read at most: a member who fills the directory must not stop the gate.
const MAX_ENTRIES: usize = 1_000;

/// Deadline for other claims, each of which takes about a millisecond; any account can hold the lock longer.
const LOCK_DEADLINE: Duration = Duration::from_secs(2);

/// Timeout for a connection to the holder of a port; on loopback, it is accepted at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);

/// The services of this container.
#[derive(Debug, Clone)]
pub struct Registry {
    directory: PathBuf,
    /// Port of sshd, which no service can have.
    ssh: u16,
}

/// A registry file that was rejected, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedFile {
    /// The file's name.
    pub file: String,
    /// Description of the mistake.
    pub reason: String,
}

/// Result of [`Registry::claim`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The service is registered.
    Ours,
    /// Another service has this port, public or on loopback.
    Taken(u16, Service),
}

impl Registry {
    /// Returns the registry in `directory`. No service can have the port in `SSH_PORT`.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self::with_settings(directory, &Env::from_process())
    }

    /// Returns the registry with these settings in place of the variables of this process.
    #[must_use]
    pub fn with_settings(directory: &Path, settings: &Env) -> Self {
        let ssh = SettingsReader::new(settings).port(&variables::SSH_PORT);
        Self { directory: directory.to_owned(), ssh }
    }

    /// Returns the directory, for a watch.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns all valid services in the order of their public ports, and the rejected files.
    ///
    /// Fails only if the directory itself cannot be read. Of more than a thousand names some are skipped. Names that
    /// begin with a dot are files being written.
    pub fn load(&self) -> Result<(Vec<Service>, Vec<RejectedFile>)> {
        let cannot = || format!("cannot read {}", self.directory.display());
        let (mut services, mut rejected) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.directory).with_context(cannot)?.take(MAX_ENTRIES) {
            let path = entry.with_context(cannot)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            match self.read(&path) {
                // A service may be unregistered during the listing.
                Ok(None) => {}
                Ok(Some(service)) => services.push(service),
                Err(error) => rejected.push(RejectedFile { file: name, reason: format!("{error:#}") }),
            }
        }
        services.sort_by_key(|service| service.proxy_port);
        rejected.sort_by(|one, other| one.file.cmp(&other.file));
        Ok((services, rejected))
    }

    /// Reads one file; `None` if there is none.
    fn read(&self, path: &Path) -> Result<Option<Service>> {
        // Every member of the group can write here: links, FIFOs and large files are rejected.
        let content = match INPUT.read(path) {
            Err(ReadError { reason: ReadErrorKind::Missing, .. }) => return Ok(None),
            Err(refused) => return Err(anyhow!("{}", refused.reason)),
            Ok(content) => content,
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let service = Service::parse(&name, &content)?;
        self.check(&service)?;
        Ok(Some(service))
    }

    fn check(&self, service: &Service) -> Result<()> {
        let is_taken = service.proxy_port == self.ssh || service.listen_ports().contains(&self.ssh);
        ensure!(!is_taken, "port {} is sshd's (SSH_PORT)", self.ssh);
        Ok(())
    }

    /// Registers a service whose `pid` is a `service-run`, unless another one has its public port or one of its ports on
    /// loopback.
    ///
    /// A registration is replaced if its `service-run` has ended or, for one without `pid`, if nothing accepts connections
    /// at its `listen_port`. One whose `service-run` has ended is removed if it leads to a port on loopback of this
    /// service, perhaps without its login. Of several that claim a port in the same instant, one gets it.
    pub fn claim(&self, service: &Service) -> Result<Claim> {
        self.check(service)?;
        let lock = Lock::open_directory(&self.directory)?;
        if let Err(error) = lock.acquire(LOCK_DEADLINE) {
            log::warn!("a claim in the same instant would not be noticed: {error:#}");
        }
        // A file that is rejected serves nothing.
        let holder = self.read(&self.path(service.proxy_port)).ok().flatten();
        let is_other = |holder: &Service| holder.pid.is_none() || holder.pid != service.pid;
        if let Some(holder) = holder.filter(|holder| is_other(holder) && is_running(holder)) {
            return Ok(Claim::Taken(service.proxy_port, holder));
        }
        for other in self.load()?.0.into_iter().filter(|other| other.proxy_port != service.proxy_port) {
            let of_other = [other.listen_ports(), vec![other.proxy_port]].concat();
            match service.listen_ports().into_iter().find(|port| of_other.contains(port)) {
                None => {}
                Some(_) if other.has_ended() => {
                    kit::remove_file(&self.path(other.proxy_port))?;
                }
                Some(port) => return Ok(Claim::Taken(port, other)),
            }
        }
        self.register(service).map(|()| Claim::Ours)
    }

    /// Adds or replaces a service, atomically.
    pub fn register(&self, service: &Service) -> Result<()> {
        service.check()?;
        let path = self.path(service.proxy_port);
        atomic::write(&path, &serde_json::to_vec(service)?, WriteOptions::volatile(0o664))
    }

    /// Replaces the registration that has the service's `pid`, which is this process; nothing replaces that before its end.
    pub fn update(&self, service: &Service) -> Result<()> {
        if self.is_registered(service) { self.register(service) } else { Ok(()) }
    }

    /// Removes the registration of a service, if there is one that has its `pid`.
    pub fn unregister(&self, service: &Service) -> Result<()> {
        if self.is_registered(service) { kit::remove_file(&self.path(service.proxy_port)) } else { Ok(()) }
    }

    fn is_registered(&self, service: &Service) -> bool {
        let registered = self.read(&self.path(service.proxy_port)).ok().flatten();
        registered.is_some_and(|registered| registered.pid == service.pid)
    }

    fn path(&self, proxy_port: u16) -> PathBuf {
        self.directory.join(proxy_port.to_string())
    }
}

/// True if a registered service is running, as far as can be seen from outside.
fn is_running(holder: &Service) -> bool {
    if holder.pid.is_some() {
        return !holder.has_ended();
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, holder.listen_port));
    TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::process::Process;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket};
    use std::net::SocketAddrV4;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;

    fn service(proxy_port: u16) -> Service {
        Service {
            service_name: format!("service {proxy_port}"),
            listen_port: proxy_port + 10_000,
            proxy_port,
            ..Service::default()
        }
    }

    #[test]
    fn bad_files_are_named_and_do_not_affect_good_ones() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path());
        registry.register(&service(8188)).unwrap();
        registry.register(&service(3000)).unwrap();
        fs::write(dir.path().join("7000"), "{").unwrap();
        fs::write(dir.path().join("7001"), vec![b' '; 70_000]).unwrap();
        symlink("/etc/passwd", dir.path().join("7002")).unwrap();
        nix::unistd::mkfifo(&dir.path().join("7003"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::create_dir(dir.path().join("7004")).unwrap();
        fs::write(dir.path().join(".8188.tmp"), "half").unwrap();
        let (services, rejected) = registry.load().unwrap();
        assert_eq!(services, [service(3000), service(8188)]);
        let names: Vec<_> = rejected.iter().map(|rejected| rejected.file.as_str()).collect();
        assert_eq!(names, ["7000", "7001", "7002", "7003", "7004"]);
        let reasons: Vec<_> = rejected[1..].iter().map(|rejected| rejected.reason.as_str()).collect();
        assert_eq!(
            reasons,
            [
                "it is larger than 65.5 kB",
                "it is a symbolic link, not a regular file",
                "it is a FIFO, not a regular file",
                "it is a directory, not a regular file"
            ]
        );
    }

    #[test]
    fn a_service_does_not_get_the_port_of_sshd() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path());
        [3000, 8188].iter().for_each(|&port| registry.register(&service(port)).unwrap());
        for (ssh, refused) in [(22, &[][..]), (8188, &["8188"]), (13000, &["3000"])] {
            let (services, rejected) = Registry { ssh, ..registry.clone() }.load().unwrap();
            assert_eq!(services.len() + refused.len(), 2);
            let reason = format!("port {ssh} is sshd's (SSH_PORT)");
            let expected =
                refused.iter().map(|file| RejectedFile { file: (*file).into(), reason: reason.clone() });
            assert_eq!(rejected, expected.collect::<Vec<_>>());
        }
    }

    fn claimed(proxy_port: u16, pid: Option<u32>) -> Service {
        Service { pid, ..service(proxy_port) }
    }

    #[test]
    fn a_port_is_claimed_from_a_service_that_has_ended_but_not_from_a_running_one() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path());
        let program = dir.path().join(".bin").join("service-run");
        fs::create_dir(dir.path().join(".bin")).unwrap();
        fs::copy("/bin/sleep", &program).unwrap();
        let mut runner = std::process::Command::new(&program).arg("1000").spawn().unwrap();
        let ours = claimed(3000, Some(std::process::id()));
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listening = Service { listen_port: listener.local_addr().unwrap().port(), ..service(3000) };
        let [ended, running] = [u32::MAX, runner.id()].map(|pid| claimed(3000, Some(pid)));
        for holder in [&running, &listening] {
            registry.register(holder).unwrap();
            assert_eq!(registry.claim(&ours).unwrap(), Claim::Taken(3000, holder.clone()));
            // It would lead to the program of another service, perhaps without its login.
            let neighbour = Service { proxy_port: 3001, listen_port: holder.listen_port, ..ours.clone() };
            assert_eq!(registry.claim(&neighbour).unwrap(), Claim::Taken(holder.listen_port, holder.clone()));
        }
        registry.register(&running).unwrap();
        assert_eq!(registry.claim(&running).unwrap(), Claim::Ours, "its own registration");
        runner.kill().unwrap();
        // Bound, so that no other process gets the port, and nothing listens.
        let bound = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
        bind(bound.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))).unwrap();
        let port = getsockname::<SockaddrIn>(bound.as_raw_fd()).unwrap().port();
        let silent = Service { listen_port: port, ..service(3000) };
        let is_zombie = || Process::new(runner.id()).stat().is_some_and(|stat| !stat.is_alive).then_some(());
        kit::wait::until(Duration::from_secs(10), "the zombie", is_zombie).unwrap();
        // `running` is the zombie.
        for holder in [&ended, &running, &silent] {
            registry.register(holder).unwrap();
            assert_eq!(registry.claim(&ours).unwrap(), Claim::Ours, "{holder:?}");
        }
        runner.wait().unwrap();
        registry.register(&ended).unwrap();
        let neighbour = Service { proxy_port: 3001, ..ours.clone() };
        assert_eq!(registry.claim(&neighbour).unwrap(), Claim::Ours);
        assert_eq!(registry.load().unwrap().0, std::slice::from_ref(&neighbour), "it led to the same port");
        registry.unregister(&neighbour).unwrap();
        fs::write(dir.path().join("3000"), "{").unwrap();
        assert_eq!(registry.claim(&ours).unwrap(), Claim::Ours, "a rejected file");
        assert_eq!(registry.load().unwrap(), (vec![ours], vec![]));
    }

    #[test]
    fn of_many_claims_in_the_same_instant_one_gets_the_port() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path());
        // All stay open: a port that is free again could be another claim's.
        let bind = |_| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listeners: Vec<_> = (0..50).map(bind).collect();
        for (port, listener) in (3000..).zip(&listeners) {
            let listen_port = listener.local_addr().unwrap().port();
            // Left by an earlier start; each claimant sees that it may be replaced.
            registry.register(&claimed(port, Some(u32::MAX))).unwrap();
            let claim = |name: usize| {
                let service_name = name.to_string();
                registry.claim(&Service { service_name, listen_port, ..service(port) }).unwrap()
            };
            let claims: Vec<Claim> = std::thread::scope(|scope| {
                let claimants: Vec<_> = (0..4).map(|name| scope.spawn(move || claim(name))).collect();
                claimants.into_iter().map(|claimant| claimant.join().unwrap()).collect()
            });
            assert_eq!(claims.iter().filter(|claim| **claim == Claim::Ours).count(), 1, "{claims:?}");
        }
    }

    #[test]
    fn an_account_that_holds_the_lock_delays_a_claim_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path());
        let foreign = Lock::open_directory(dir.path()).unwrap();
        foreign.acquire(Duration::ZERO).unwrap();
        let ours = claimed(3000, Some(1));
        assert_eq!(registry.claim(&ours).unwrap(), Claim::Ours);
        let renamed = Service { service_name: "renamed".to_owned(), ..ours.clone() };
        registry.update(&renamed).unwrap();
        registry.update(&Service { pid: Some(2), ..ours }).unwrap();
        assert_eq!(registry.load().unwrap().0, std::slice::from_ref(&renamed));
        registry.unregister(&renamed).unwrap();
        assert_eq!(registry.load().unwrap().0, []);
    }

    #[test]
    fn unregistering_twice_is_fine_and_leaves_the_registration_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path());
        let [ours, other] = [1, 2].map(|pid| claimed(3000, Some(pid)));
        registry.register(&other).unwrap();
        registry.unregister(&ours).unwrap();
        assert_eq!(registry.load().unwrap().0, std::slice::from_ref(&other));
        registry.unregister(&other).unwrap();
        registry.unregister(&other).unwrap();
        assert_eq!(registry.load().unwrap().0, []);
    }
}
