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

/// True if a registry's refusal means that it does not have the image, and not that it could not be asked.
#[must_use]
pub fn means_missing(error: &str) -> bool {
    // Docker Hub refuses access to repositories that do not exist.
    let texts =
        ["not found", "manifest unknown", "name unknown", "repository does not exist", "insufficient_scope"];
    texts.iter().any(|text| error.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_and_a_dead_network_are_different() {
        for missing in [
            "ERROR: docker.io/nvidia/cuda:9-base: not found",
            "ERROR: unexpected status: manifest unknown",
            "pull access denied, repository does not exist or may require authorization: insufficient_scope",
        ] {
            assert!(means_missing(missing), "{missing}");
        }
        for failed in
            ["dial tcp: i/o timeout", "429 Too Many Requests: toomanyrequests", "503 Service Unavailable"]
        {
            assert!(!means_missing(failed), "{failed}");
        }
    }

    #[test]
    fn a_mirror_has_the_official_images_below_library() {
        assert_eq!(mirrored("ubuntu:22.04", Some("m.example:5000")), "m.example:5000/library/ubuntu:22.04");
        assert_eq!(mirrored("nvidia/cuda:12", Some("m.example")), "m.example/nvidia/cuda:12");
        assert_eq!(mirrored("ubuntu:22.04", None), "ubuntu:22.04");
    }
}
