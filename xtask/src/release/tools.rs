//! The image's tools, built once for all images of a release.

use std::ffi::OsString;

use anyhow::Result;

use super::Runner;
use crate::checkout::Checkout;
use crate::image::Builder;

/// Builds the stage `tools` of the Dockerfile into the directory that every image takes them from; without a registry, the
/// host's cargo compiles them.
pub fn make(runner: Runner) -> Result<()> {
    let checkout = Checkout::find()?;
    let docker = runner.docker()?;
    let builder = Builder::new(checkout.clone(), &docker);
    if !runner.dry_run && !builder.registry() {
        return builder.compile_tools();
    }
    let mut build = docker();
    build.current_dir(checkout.root());
    build.args(["buildx", "build", "--file", "images/base/Dockerfile", "--target", "tools", "--output"]);
    let mut output = OsString::from("type=local,dest=");
    output.push(builder.tools());
    runner.run("build the image's tools", build.arg(output).arg("."))
}
