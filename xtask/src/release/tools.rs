//! The image's tools, built once by the Dockerfile's own stage for all images of a release.

use kit::{Exit, Outcome};

use super::Runner;
use crate::checkout::Checkout;

/// Builds the stage `tools` into the directory that every image takes them from.
pub fn run(runner: Runner) -> Outcome {
    let checkout = Checkout::find()?;
    let mut build = runner.docker()?();
    build.current_dir(checkout.root());
    build.args(["buildx", "build", "--file", "images/base/Dockerfile", "--target", "tools", "--output"]);
    let mut output = std::ffi::OsString::from("type=local,dest=");
    output.push(checkout.image_dir().join("tools"));
    runner.run("build the image's tools", build.arg(output).arg("."))?;
    Ok(Exit::Done)
}
