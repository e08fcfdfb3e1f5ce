//! Waits for the end of provisioning: until its marker is removed.

use std::path::PathBuf;
use std::time::Duration;

/// The marker, and the pauses between checks of waiting trees.
#[derive(Debug)]
pub struct ProvisioningGate {
    marker: PathBuf,
    /// Time without changes after which a tree is switched without waiting for the marker.
    pub quiet_after: Duration,
    /// Pause after a failed attempt.
    pub retry_after: Duration,
    pause: Duration,
}

impl ProvisioningGate {
    /// Waits until `marker` is removed.
    pub fn new(marker: PathBuf, quiet_after: Duration, retry_after: Duration) -> Self {
        Self { marker, quiet_after, retry_after, pause: quiet_after / 60 }
    }

    /// True once provisioning has ended.
    pub fn is_open(&self) -> bool {
        self.marker.symlink_metadata().is_err()
    }

    /// Pauses, each time for longer, until the next check or the end of provisioning.
    pub fn pause(&mut self) {
        // A timeout is the end of the pause.
        let _ = kit::wait::until(self.pause, "the end of provisioning", || self.is_open().then_some(()));
        self.pause = (self.pause * 2).min(self.quiet_after / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_of_the_quiet_time_and_end_with_the_marker() {
        let dir = tempfile::tempdir().unwrap();
        let marker = dir.path().join("container_config");
        std::fs::write(&marker, "").unwrap();
        let mut gate = ProvisioningGate::new(marker.clone(), Duration::from_millis(60), Duration::ZERO);
        assert!(!gate.is_open());
        let pauses: Vec<_> = (0..7)
            .map(|_| {
                gate.pause();
                gate.pause.as_millis()
            })
            .collect();
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30, 30]);
        let mut gate = ProvisioningGate::new(marker.clone(), Duration::from_hours(60), Duration::ZERO);
        std::fs::remove_file(marker).unwrap();
        gate.pause();
        assert!(gate.is_open());
    }
}
