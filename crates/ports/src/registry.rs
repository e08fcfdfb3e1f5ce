//! The directory of registered services.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use kit::atomic::{self, WriteOptions};
use kit::untrusted_file::{ReadError, ReadErrorKind};
use kit::{Env, ReadPolicy, SettingsReader, variables};

use crate::Service;

/// Maximum size of a registry file.
const INPUT: ReadPolicy = ReadPolicy::max_size(16 * 1024).no_follow();

/// Directory entries that are read at most: a member who fills the directory must not stop the gate.
const MAX_ENTRIES: usize = 1_000;

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

impl Registry {
    /// Returns the registry in `directory`. No service can have the port in `SSH_PORT`.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        let ssh = SettingsReader::new(&Env::from_process()).port(&variables::SSH_PORT);
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
            // Every member of the group can write here: links, FIFOs and large files are rejected.
            let service = match INPUT.read(&path) {
                // A service may be unregistered during the listing.
                Err(ReadError { reason: ReadErrorKind::Missing, .. }) => continue,
                Err(refused) => Err(anyhow!("{}", refused.reason)),
                Ok(content) => Service::parse(&name, &content).and_then(|service| self.check(service)),
            };
            match service {
                Ok(service) => services.push(service),
                Err(error) => rejected.push(RejectedFile { file: name, reason: format!("{error:#}") }),
            }
        }
        services.sort_by_key(|service| service.proxy_port);
        rejected.sort_by(|one, other| one.file.cmp(&other.file));
        Ok((services, rejected))
    }

    fn check(&self, service: Service) -> Result<Service> {
        let is_taken = [service.proxy_port, service.listen_port].contains(&self.ssh);
        ensure!(!is_taken, "port {} is sshd's (SSH_PORT)", self.ssh);
        Ok(service)
    }

    /// Adds or replaces a service, atomically.
    pub fn register(&self, service: &Service) -> Result<()> {
        service.check()?;
        let path = self.directory.join(service.proxy_port.to_string());
        atomic::write(&path, &serde_json::to_vec(service)?, WriteOptions::volatile(0o664))
    }

    /// Removes the service on a public port, if it exists.
    pub fn unregister(&self, proxy_port: u16) -> Result<()> {
        kit::remove_file(&self.directory.join(proxy_port.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn service(proxy_port: u16) -> Service {
        Service {
            service_name: format!("service {proxy_port}"),
            listen_port: proxy_port + 10_000,
            proxy_port,
            metrics_port: None,
            proxy_secure: true,
            service_url: "/".into(),
            log: None,
        }
    }

    #[test]
    fn bad_files_are_named_and_do_not_affect_good_ones() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path());
        registry.register(&service(8188)).unwrap();
        registry.register(&service(3000)).unwrap();
        fs::write(dir.path().join("7000"), "{").unwrap();
        fs::write(dir.path().join("7001"), vec![b' '; 20_000]).unwrap();
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
                "it is larger than 16.4 kB",
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

    #[test]
    fn unregistering_twice_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path());
        registry.register(&service(3000)).unwrap();
        registry.unregister(3000).unwrap();
        registry.unregister(3000).unwrap();
        assert_eq!(registry.load().unwrap().0, []);
    }
}
