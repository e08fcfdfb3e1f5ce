//! Templates to fall back on: the last ones that Caddy accepted, and those that the image came with.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kit::ReadPolicy;
use kit::atomic::{self, WriteOptions};

use crate::configuration::Templates;

/// Two files: each is either whole or not there.
pub struct LastGood {
    good: PathBuf,
    shipped: PathBuf,
}

impl LastGood {
    /// The spare templates beside the generated configuration and in the image.
    pub fn new(output: &Path, shipped: &Path) -> Self {
        Self { good: output.with_file_name("good.json"), shipped: shipped.to_owned() }
    }

    /// All there are, the best first; one that cannot be read is only reported, because others may be fine.
    pub fn read(&self) -> Vec<Templates> {
        let mut found: Vec<Templates> = Vec::new();
        for path in [&self.good, &self.shipped] {
            match read(path) {
                Ok(Some(templates)) if !found.contains(&templates) => found.push(templates),
                Ok(_) => {}
                Err(error) => log::warn!("{error:#}"),
            }
        }
        found
    }

    /// Keeps templates that Caddy has accepted.
    pub fn save(&self, templates: &Templates) -> Result<()> {
        let text = serde_json::to_vec(templates)?;
        atomic::write_if_changed(&self.good, &text, WriteOptions::volatile(0o644)).map(drop)
    }

    /// Keeps the templates of an image that is being built.
    pub fn save_shipped(&self, templates: &Templates) -> Result<()> {
        atomic::write(&self.shipped, &serde_json::to_vec(templates)?, WriteOptions::volatile(0o644))
    }
}

fn read(path: &Path) -> Result<Option<Templates>> {
    // Both are Caddy's: see the limit of a template.
    let Some(bytes) = ReadPolicy::max_size(64 << 20).read_if_exists(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).with_context(|| format!("{} is damaged", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_last_good_ones_come_before_the_shipped_and_a_damaged_file_costs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let templates = |base: &str| {
            write("base_config", base);
            write("service_config", "%PROXY_PORT%");
            Templates::read(dir.path()).unwrap()
        };
        let (one, two) = (templates("one"), templates("two"));
        let last_good = LastGood::new(&dir.path().join("Caddyfile"), &dir.path().join("shipped.json"));
        assert_eq!(last_good.read(), []);
        last_good.save_shipped(&one).unwrap();
        last_good.save(&one).unwrap();
        assert_eq!(last_good.read(), std::slice::from_ref(&one), "the same is not tried twice");
        last_good.save(&two).unwrap();
        assert_eq!(last_good.read(), [two, one.clone()]);
        write("good.json", "{");
        assert_eq!(last_good.read(), [one]);
    }
}
