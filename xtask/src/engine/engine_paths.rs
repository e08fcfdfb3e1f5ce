//! Paths of a private engine.
//!
//! Programs and data are below `target/engine`. What the kernel looks up by a short path (a socket's path has
//! at most 107 bytes) or what must not outlive a reboot is below `/run`, in a directory named after the checkout.

use std::path::{Path, PathBuf};

use super::Store;
use crate::checkout::Checkout;

/// The paths and names of one of a checkout's engines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnginePaths {
    home: PathBuf,
    shared: PathBuf,
    id: String,
    store: Store,
}

impl EnginePaths {
    /// The engine of this checkout with that image store; both share the programs and nothing else.
    #[must_use]
    pub fn of(checkout: &Checkout, store: Store) -> Self {
        let engine = checkout.engine_dir();
        match store {
            Store::Overlay2 => Self { home: engine.clone(), shared: engine, id: checkout.id(), store },
            Store::Containerd => {
                let home = engine.join("containerd");
                let mut id = kit::hex::sha256(home.as_os_str().as_encoded_bytes());
                id.truncate(8);
                Self { home, shared: engine, id, store }
            }
        }
    }

    /// The image store.
    #[must_use]
    pub fn store(&self) -> Store {
        self.store
    }

    /// Everything that is kept on the disk.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Eight digits that no other engine of the machine has.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The unpacked packages; this directory exists only when it is complete.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        self.shared.join("root")
    }

    /// Temporary directory of a set-up, removed at its end and before the next one.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.home.join("setup")
    }

    /// Images, containers and the build cache.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The daemon's log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.home.join("dockerd.log")
    }

    /// The daemon's settings.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.home.join("daemon.json")
    }

    /// The client's settings, a directory as `DOCKER_CONFIG` wants it.
    #[must_use]
    pub fn client_settings(&self) -> PathBuf {
        self.shared.join("client")
    }

    /// Held while an engine is set up, started or stopped.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.home.join("lock")
    }

    /// Directory that exists only while the engine runs.
    #[must_use]
    pub fn runtime(&self) -> PathBuf {
        PathBuf::from(format!("/run/leonardo-engine-{}", self.id))
    }

    /// Socket of the daemon.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.runtime().join("docker.sock")
    }

    /// The socket as `DOCKER_HOST` wants it.
    #[must_use]
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The daemon's process number.
    #[must_use]
    pub fn pid_file(&self) -> PathBuf {
        self.runtime().join("dockerd.pid")
    }

    /// State of running containers.
    #[must_use]
    pub fn exec_root(&self) -> PathBuf {
        self.runtime().join("exec")
    }

    /// The name of the bridge and the mark on our packet filter rules; an interface name has at most 15 bytes.
    #[must_use]
    pub fn bridge(&self) -> String {
        format!("leo{}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_short_however_deep_the_checkout_is_and_a_bridge_fits_the_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(200));
        std::fs::create_dir(&deep).unwrap();
        let checkout = Checkout::at(&deep).unwrap();
        let paths = EnginePaths::of(&checkout, Store::Overlay2);
        assert!(paths.exec_root().join("containerd/containerd.sock.ttrpc").as_os_str().len() < 107);
        assert_eq!(paths.bridge().len(), 11);
        assert!(paths.data().starts_with(&deep));
        let other = EnginePaths::of(&checkout, Store::Containerd);
        assert_eq!(paths.programs(), other.programs());
        for differs in [EnginePaths::data, EnginePaths::runtime, EnginePaths::settings, EnginePaths::lock] {
            assert_ne!(differs(&paths), differs(&other));
        }
    }
}
