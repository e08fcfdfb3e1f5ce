//! Variants that can be built on this machine, and their bases.

use crate::bake::Variant;

use super::debian_base;

/// Variant that `cargo xtask up` builds where possible.
pub const DEFAULT: &str = "cpu-22.04";
/// Base of the default variant; a request for it shows if a registry is reachable.
pub const DEFAULT_BASE: &str = "ubuntu:22.04";
/// The one variant whose base can be made without a registry.
pub const BOOTSTRAPPED: &str = "cpu-debian-12";
/// The bake file's variable for that base.
pub const BASE_VARIABLE: &str = "LEONARDO_DEBIAN_BASE";

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
    /// One that is made here from Debian's package archive.
    Bootstrapped,
}

impl Base {
    /// The base's image reference.
    pub fn name(self, variant: &Variant) -> &str {
        match self {
            Self::Listed => &variant.base,
            Self::Bootstrapped => debian_base::IMAGE,
        }
    }
}

/// Returns the base of a variant; `None` if the variant cannot be built.
pub fn select_base(variant: &str, available: BaseAvailability) -> Option<Base> {
    match available {
        BaseAvailability { registry: true, .. } | BaseAvailability { base_here: true, .. } => {
            Some(Base::Listed)
        }
        _ if variant == BOOTSTRAPPED => Some(Base::Bootstrapped),
        _ => None,
    }
}

/// Variant to build if none is given: the default, or the one that needs no registry.
pub fn default_variant(default_base: BaseAvailability) -> &'static str {
    if select_base(DEFAULT, default_base).is_some() { DEFAULT } else { BOOTSTRAPPED }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: BaseAvailability = BaseAvailability { registry: false, base_here: false };
    const REGISTRY: BaseAvailability = BaseAvailability { registry: true, base_here: false };
    const OFFLINE: BaseAvailability = BaseAvailability { registry: false, base_here: true };

    #[test]
    fn without_a_registry_only_what_is_here_or_bootstrapped_can_be_built() {
        assert_eq!(select_base("cuda-12.1.1-base-22.04", NOTHING), None);
        assert_eq!(select_base("cuda-12.1.1-base-22.04", OFFLINE), Some(Base::Listed));
        assert_eq!(select_base("cpu-debian-12", NOTHING), Some(Base::Bootstrapped));
        assert_eq!(select_base("cpu-debian-12", REGISTRY), Some(Base::Listed));
        assert_eq!(select_base("cpu-debian-12", OFFLINE), Some(Base::Listed));
    }

    #[test]
    fn the_default_is_ubuntu_unless_it_cannot_be_had() {
        assert_eq!(default_variant(REGISTRY), "cpu-22.04");
        assert_eq!(default_variant(OFFLINE), "cpu-22.04");
        assert_eq!(default_variant(NOTHING), "cpu-debian-12");
    }
}
