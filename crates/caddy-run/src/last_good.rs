//! Fallback templates: the last ones that Caddy accepted, and those of the image.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kit::ReadPolicy;
use kit::atomic::{self, WriteOptions};

use crate::configuration::Templates;

/// Files of the fallback templates.
pub struct LastGood {
    accepted: PathBuf,
    shipped: PathBuf,
}

impl LastGood {
    /// Uses `good.json` beside the generated configuration, and the file of the image.
    pub fn new(output: &Path, shipped: &Path) -> Self {
        Self { accepted: output.with_file_name("good.json"), shipped: shipped.to_owned() }
    }

    /// Returns all fallback templates, the accepted ones first; a file that cannot be read is logged and skipped.
    pub fn read(&self) -> Vec<Templates> {
        let mut found: Vec<Templates> = Vec::new();
        for path in [&self.accepted, &self.shipped] {
            match read(path) {
                Ok(Some(templates)) if !found.contains(&templates) => found.push(templates),
                Ok(_) => {}
                Err(error) => log::warn!("{error:#}"),
            }
        }
        found
    }

    /// Saves templates that Caddy has accepted.
    pub fn save(&self, templates: &Templates) -> Result<()> {
        let text = serde_json::to_vec(templates)?;
        atomic::write_if_changed(&self.accepted, &text, WriteOptions::volatile(0o644)).map(drop)
    }

    /// Saves templates as those of the image, at its build.
    pub fn save_shipped(&self, templates: &Templates) -> Result<()> {
        atomic::write(&self.shipped, &serde_json::to_vec(templates)?, WriteOptions::volatile(0o644))
    }
}

fn read(path: &Path) -> Result<Option<Templates>> {
    // Larger than any number of templates of 1 MiB that users have.
    let Some(bytes) = ReadPolicy::max_size(64 << 20).read_if_exists(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).with_context(|| format!("{} is corrupt", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn accepted_templates_come_first_and_a_corrupt_file_is_skipped() {
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
        assert_eq!(last_good.read(), std::slice::from_ref(&one), "equal templates are listed once");
        last_good.save(&two).unwrap();
        assert_eq!(last_good.read(), [two, one.clone()]);
        write("good.json", "{");
        assert_eq!(last_good.read(), [one]);
    }
}
