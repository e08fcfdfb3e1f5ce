//! Platforms of images.

use anyhow::{Result, bail};
use clap::ValueEnum;

use super::catalogue::Variant;

/// A platform in Docker's spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Platform {
    /// 64-bit Intel and AMD
    #[value(name = "linux/amd64")]
    Amd64,
    /// 64-bit ARM
    #[value(name = "linux/arm64")]
    Arm64,
}

impl Platform {
    /// The platform that cargo compiles for on this machine.
    #[must_use]
    pub fn of_this_machine() -> Self {
        if std::env::consts::ARCH == "aarch64" { Self::Arm64 } else { Self::Amd64 }
    }

    /// Docker's name of it, such as `linux/arm64`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "linux/amd64",
            Self::Arm64 => "linux/arm64",
        }
    }

    /// The distribution's name of the architecture, such as `arm64`.
    #[must_use]
    pub fn architecture(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The kernel's name of the architecture, which compilers use: `aarch64`.
    #[must_use]
    pub fn machine(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }
}

/// True if the variant can be built for all of the platforms.
pub fn has_all(variant: &Variant, platforms: &[Platform]) -> bool {
    variant.parts.family != "rocm" || !platforms.contains(&Platform::Arm64)
}

/// Fails for a variant without an image for one of the platforms.
pub fn check(variants: &[&Variant], platforms: &[Platform]) -> Result<()> {
    if let Some(variant) = variants.iter().find(|variant| !has_all(variant, platforms)) {
        bail!("{} does not exist for linux/arm64: AMD publishes packages for amd64 only", variant.name);
    }
    Ok(())
}
