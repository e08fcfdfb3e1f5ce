//! Random id of this container, `/var/lib/leonardo/sync/container`.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use kit::atomic::{self, WriteOptions};
use kit::hex;

/// Returns the id, and creates it at the first call. It differs between containers, also on other machines; a container
/// made from a saved image has the id of the original.
pub fn load_or_create(state_dir: &Path) -> Result<String> {
    fs::create_dir_all(state_dir).with_context(|| format!("cannot create {}", state_dir.display()))?;
    let path = state_dir.join("container");
    match fs::read_to_string(&path) {
        Ok(id) if id.len() == 32 => return Ok(id),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
        _ => {}
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random).context("cannot get random numbers from the kernel")?;
    let id = hex::encode(&random);
    atomic::write(&path, id.as_bytes(), WriteOptions::durable(0o644))?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_keeps_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        let id = load_or_create(&one).unwrap();
        assert_eq!(load_or_create(&one).unwrap(), id);
        assert_ne!(load_or_create(&other).unwrap(), id);
        assert_eq!(id.len(), 32);
    }
}
