//! `cargo xtask base`: base images from package archives.

use kit::{Exit, Outcome};

use crate::checkout::Checkout;
use crate::engine::{self, Choice};
use crate::image::Builder;
use crate::image::bootstrap::{self, Bootstrap};

/// Make base images from package archives, for builds without a container registry
///
/// The image leonardo/bootstrap:NAME takes the place of the registry's. `cargo xtask bake` and `up` make it themselves
/// where no registry answers, and then keep it; this command makes it anew, with today's packages.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Bases to make
    #[arg(value_name = "NAME", required = true)]
    names: Vec<Bootstrap>,
    /// Compile the image's tools too, into target/image/tools, for docker-compose.bootstrap.yaml
    #[arg(long)]
    tools: bool,
    /// Engine to use
    #[arg(long = "engine", value_enum, default_value_t)]
    choice: Choice,
}

/// Makes the bases.
pub fn run(args: &Args) -> Outcome {
    let checkout = Checkout::find()?;
    let engine = engine::find(args.choice)?;
    for base in &args.names {
        bootstrap::make(*base, &|| engine.docker(), &checkout.image_dir())?;
    }
    if args.tools {
        Builder::new(checkout, || engine.docker()).compile_tools()?;
    }
    Ok(Exit::Done)
}
