//! Builders of buildx that are not the engine itself.

use std::process::Command;

use anyhow::{Context, Result};

/// A builder that runs beside the engine or elsewhere, and so has none of the engine's images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeparateBuilder {
    name: String,
    driver: String,
}

impl SeparateBuilder {
    /// Asks buildx for the builder's driver; none if it is the engine. Fails if there is no builder of that name.
    pub fn find(mut docker: Command, name: Option<&str>) -> Result<Option<Self>> {
        let printed = kit::cmd::stdout(docker.args(["buildx", "inspect"]).args(name))?;
        Self::read(name.unwrap_or("in use"), &printed)
    }

    fn read(name: &str, printed: &str) -> Result<Option<Self>> {
        let driver = printed.lines().find_map(|line| line.strip_prefix("Driver:"));
        let driver =
            driver.with_context(|| format!("buildx does not print the driver of builder {name}"))?.trim();
        Ok((driver != "docker").then(|| Self { name: name.to_owned(), driver: driver.to_owned() }))
    }

    /// True if the builder runs on this machine, behind the same proxies.
    pub fn is_here(&self) -> bool {
        self.driver == "docker-container"
    }

    /// Subject of an error, such as `builder cluster (kubernetes)`.
    pub fn describe(&self) -> String {
        format!("builder {} ({})", self.name, self.driver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_decides_whether_a_builder_has_the_engines_images() {
        let read = |driver: &str| {
            SeparateBuilder::read(
                "x",
                &format!("Name:          x\nDriver:        {driver}\n\nNodes:\nName: x0\n"),
            )
            .unwrap()
        };
        assert_eq!(read("docker"), None);
        let cluster = read("kubernetes").unwrap();
        assert_eq!((cluster.describe().as_str(), cluster.is_here()), ("builder x (kubernetes)", false));
        assert!(read("docker-container").unwrap().is_here());
        assert!(SeparateBuilder::read("x", "").is_err());
    }
}
