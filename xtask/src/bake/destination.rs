//! Where images are built, for which platforms, and where they go.

use std::process::Command;

use super::platform::Platform;

/// Options that are passed on to buildx.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct Destination {
    /// Build with this builder of buildx, for example one on another machine or on Kubernetes
    #[arg(long, value_name = "NAME")]
    pub builder: Option<String>,

    /// Build for these platforms, separated by commas; variants of rocm are for linux/amd64 only
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',')]
    pub platforms: Vec<Platform>,

    /// Load the result into the engine's images, which a builder in a container does not do by itself
    #[arg(long)]
    pub load: bool,

    /// Push the result to the registry in the image's name (see docs/variants.md)
    #[arg(long, conflicts_with = "load")]
    pub push: bool,

    /// Write the result to another destination, as in 'type=oci,dest=image.tar'; passed on to bake
    #[arg(long, value_name = "DESTINATION", conflicts_with_all = ["load", "push"])]
    pub output: Option<String>,
}

impl Destination {
    /// True if the result goes to the engine's images.
    #[must_use]
    pub fn is_engine(&self) -> bool {
        self.load || self.builder.is_none() && !self.push && self.output.is_none()
    }

    /// Adds the options to `docker buildx bake`.
    pub fn add_to(&self, bake: &mut Command) {
        if let Some(builder) = &self.builder {
            bake.args(["--builder", builder]);
        }
        for platform in &self.platforms {
            bake.arg("--set").arg(format!("*.platform={}", platform.name()));
        }
        if self.load {
            bake.arg("--load");
        }
        if self.push {
            bake.arg("--push");
        }
        if let Some(output) = &self.output {
            bake.arg("--set").arg(format!("*.output={output}"));
        }
    }
}
