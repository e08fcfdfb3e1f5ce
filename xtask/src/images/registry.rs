//! Questions to a container registry.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::is_digest;

/// Returns the digest that a reference has in its registry, for all platforms together.
pub fn digest(docker: &dyn Fn() -> Command, reference: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Manifest {
        digest: String,
    }
    let mut inspect = docker();
    inspect.args(["buildx", "imagetools", "inspect", "--format", "{{json .Manifest}}", reference]);
    let Manifest { digest } = serde_json::from_str(&kit::cmd::stdout(&mut inspect)?)
        .with_context(|| format!("the description of {reference} has no digest"))?;
    ensure!(is_digest(&digest), "{digest:?}, the digest of {reference}, is not a SHA-256 digest");
    Ok(digest)
}

/// Reference of an image of Docker Hub at a mirror, which keeps official images in `library`.
#[must_use]
pub fn mirrored(image: &str, mirror: Option<&str>) -> String {
    match mirror {
        None => image.to_owned(),
        Some(host) if image.contains('/') => format!("{host}/{image}"),
        Some(host) => format!("{host}/library/{image}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_has_the_official_images_below_library() {
        assert_eq!(mirrored("ubuntu:22.04", Some("m.example:5000")), "m.example:5000/library/ubuntu:22.04");
        assert_eq!(mirrored("nvidia/cuda:12", Some("m.example")), "m.example/nvidia/cuda:12");
        assert_eq!(mirrored("ubuntu:22.04", None), "ubuntu:22.04");
    }
}
