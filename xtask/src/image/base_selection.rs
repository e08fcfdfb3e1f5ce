//! Variants that can be built on this machine, and their bases.

use super::bootstrap::Bootstrap;

/// Variant that `cargo xtask up` builds where possible.
pub const DEFAULT: &str = "cpu-22.04";
/// Base of the default variant; a request for it shows if a registry is reachable.
pub const DEFAULT_BASE: &str = "ubuntu:22.04";
/// The default variant without a registry.
pub const DEFAULT_WITHOUT_REGISTRY: &str = "cpu-debian-12";

/// Sources from which a base is available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseAvailability {
    /// A container registry answers.
    pub registry: bool,
    /// The engine has the base already.
    pub base_here: bool,
}

/// Base that a variant is built on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// The one that the bake file names.
    Listed,
    /// One that is made here from packages.
    Bootstrapped(Bootstrap),
}

/// Returns the source of the base image `base`; `None` if it cannot be had.
pub fn select_base(base: &str, available: BaseAvailability) -> Option<Base> {
    match (Bootstrap::of_image(base), available) {
        (Some(bootstrap), _) if base == bootstrap.image() => Some(Base::Bootstrapped(bootstrap)),
        (_, BaseAvailability { registry: true, .. } | BaseAvailability { base_here: true, .. }) => {
            Some(Base::Listed)
        }
        (bootstrap, _) => bootstrap.map(Base::Bootstrapped),
    }
}

/// True if an image reference names the host of its registry; others are Docker Hub's.
pub fn names_registry(image: &str) -> bool {
    image.split_once('/').is_some_and(|(host, _)| host.contains(['.', ':']) || host == "localhost")
}

/// Variant to build if none is given: the default, or the one for machines without a registry.
pub fn default_variant(default_base: BaseAvailability) -> &'static str {
    match select_base(DEFAULT_BASE, default_base) {
        Some(Base::Listed) => DEFAULT,
        _ => DEFAULT_WITHOUT_REGISTRY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: BaseAvailability = BaseAvailability { registry: false, base_here: false };
    const REGISTRY: BaseAvailability = BaseAvailability { registry: true, base_here: false };
    const OFFLINE: BaseAvailability = BaseAvailability { registry: false, base_here: true };

    #[test]
    fn without_a_registry_only_what_is_here_or_bootstrapped_can_be_built() {
        let cuda = "nvidia/cuda:12.1.1-base-ubuntu22.04";
        assert_eq!(select_base(cuda, NOTHING), None);
        assert_eq!(select_base(cuda, OFFLINE), Some(Base::Listed));
        for (image, base) in
            [("debian:12-slim", Bootstrap::Debian12), ("ubuntu:22.04", Bootstrap::Ubuntu2204)]
        {
            assert_eq!(select_base(image, NOTHING), Some(Base::Bootstrapped(base)));
            assert_eq!(select_base(image, REGISTRY), Some(Base::Listed));
            assert_eq!(select_base(image, OFFLINE), Some(Base::Listed));
        }
        assert_eq!(
            select_base("leonardo/bootstrap:ubuntu-24.04", REGISTRY),
            Some(Base::Bootstrapped(Bootstrap::Ubuntu2404)),
            "no registry has it"
        );
    }

    #[test]
    fn a_reference_names_its_registry_by_a_host_alone() {
        for (image, expected) in [
            ("127.0.0.1:5000/base:1", true),
            ("localhost/base", true),
            ("ghcr.io/a/b:1", true),
            ("ubuntu:22.04", false),
            ("leonardo/bootstrap:debian-12", false),
        ] {
            assert_eq!(names_registry(image), expected, "{image}");
        }
    }

    #[test]
    fn the_default_is_ubuntu_unless_it_cannot_be_had() {
        assert_eq!(default_variant(REGISTRY), "cpu-22.04");
        assert_eq!(default_variant(OFFLINE), "cpu-22.04");
        assert_eq!(default_variant(NOTHING), "cpu-debian-12");
    }
}
