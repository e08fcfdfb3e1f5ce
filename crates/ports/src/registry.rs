//! The folder of registered services.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kit::atomic::{self, Placement};

use crate::Service;

/// No honest description is larger, in bytes.
const LARGEST_FILE: u64 = 16 * 1024;

/// Names that are looked at; nobody has more services, and whoever fills the folder must not stop the gate.
const MOST_FILES: usize = 1_000;

/// The services of this container.
#[derive(Debug, Clone)]
pub struct Registry {
    directory: PathBuf,
}

/// A registry file that was not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The file's name.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Registry {
    /// The registry in `directory`.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Where the registry is, for a watch.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// All good services in the order of their public ports, and what was not taken.
    ///
    /// Fails only when the folder itself cannot be read. Of a folder with more than a thousand names some are not looked
    /// at. Names that begin with a dot are files being written.
    pub fn load(&self) -> Result<(Vec<Service>, Vec<Rejected>)> {
        let cannot = || format!("cannot read {}", self.directory.display());
        let (mut services, mut rejected) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.directory).with_context(cannot)?.take(MOST_FILES) {
            let path = entry.with_context(cannot)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            match read(&path).and_then(|content| Service::parse(&name, &content)) {
                Ok(service) => services.push(service),
                Err(error) if is_gone(&error) => {}
                Err(error) => rejected.push(Rejected { file: name, reason: format!("{error:#}") }),
            }
        }
        services.sort_by_key(|service| service.proxy_port);
        rejected.sort_by(|one, other| one.file.cmp(&other.file));
        Ok((services, rejected))
    }

    /// Adds or replaces a service, atomically.
    pub fn register(&self, service: &Service) -> Result<()> {
        service.check()?;
        let path = self.directory.join(service.proxy_port.to_string());
        atomic::write(&path, &serde_json::to_vec(service)?, Placement::volatile(0o664))
    }

    /// Removes the service on a public port; one that is not there is fine.
    pub fn unregister(&self, proxy_port: u16) -> Result<()> {
        let path = self.directory.join(proxy_port.to_string());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

/// Reads a regular file and nothing else: no link, no FIFO that never answers, nothing endless.
fn read(path: &Path) -> Result<Vec<u8>> {
    const PLAIN: i32 = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(PLAIN).open(path)?;
    let meta = file.metadata()?;
    ensure!(meta.is_file(), "not a regular file");
    ensure!(meta.len() <= LARGEST_FILE, "larger than {LARGEST_FILE} bytes");
    let mut content = Vec::new();
    file.take(LARGEST_FILE).read_to_end(&mut content)?;
    Ok(content)
}

/// A service may go while the folder is being listed.
fn is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
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
        let registry = Registry::at(dir.path());
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
    }

    #[test]
    fn unregistering_twice_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::at(dir.path());
        registry.register(&service(3000)).unwrap();
        registry.unregister(3000).unwrap();
        registry.unregister(3000).unwrap();
        assert_eq!(registry.load().unwrap().0, []);
    }
}
