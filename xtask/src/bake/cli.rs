//! Command line of `cargo xtask bake`.

use super::destination::Destination;

const EPILOGUE: &str = "\
Examples:
  cargo xtask bake cuda-12.1-runtime-22.04
  cargo xtask bake --list cpu jupyter
  cargo xtask bake cpu-22.04 --output type=oci,dest=image.tar";

/// Build variants of the base image and extended images, or list them
///
/// A VARIANT is a tag, such as cuda-12.1.1-runtime-22.04. Its version may be shortened (cuda-12.1-runtime-22.04 is the
/// newest listed patch), and cuDNN's may be left out. The name of an extended image comes first: jupyter-cpu-22.04. A
/// target of docker-bake.hcl, an image reference that ends in a tag, a pattern in quotes ('cuda-12.1*') and a group work
/// too: all, cpu, cuda, rocm, newest (one of each kind), runtime, devel (of the base image), extended, jupyter, comfyui,
/// default. Without a VARIANT, the group default is built.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(after_help = EPILOGUE)]
#[allow(clippy::struct_excessive_bools, reason = "one for each flag")]
pub struct Args {
    /// Variants to build
    #[arg(value_name = "VARIANT")]
    pub variants: Vec<String>,

    /// List tags and base images, of all variants unless some are named; with --platform, those that exist for it
    #[arg(long, conflicts_with_all = ["print", "dry_run", "sets", "builder", "load", "push", "output"])]
    pub list: bool,

    /// Print the resolved build as bake's JSON instead of building
    #[arg(long, conflicts_with = "dry_run")]
    pub print: bool,

    /// Print the docker command of a real run instead of running it
    #[arg(long)]
    pub dry_run: bool,

    /// Build on the base images' digests in docker-bake.lock.hcl; refused if one is not listed
    #[arg(long)]
    pub locked: bool,

    /// Override a value of a target, as in '*.args.NAME=VALUE'; passed on to bake
    #[arg(long = "set", value_name = "TARGET.KEY=VALUE")]
    pub sets: Vec<String>,

    /// Builder, platforms and output
    #[command(flatten)]
    pub destination: Destination,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &[&str]) -> Result<Args, clap::error::ErrorKind> {
        let words = std::iter::once("bake").chain(words.iter().copied());
        Alone::try_parse_from(words).map(|alone| alone.args).map_err(|error| error.kind())
    }

    #[test]
    fn the_definition_is_sound() {
        Alone::command().debug_assert();
    }

    #[test]
    fn one_answer_at_a_time() {
        let set = "*.args.A=b".to_owned();
        assert_eq!(
            parse(&["cpu", "--print", "--set", "*.args.A=b"]),
            Ok(Args { variants: vec!["cpu".to_owned()], print: true, sets: vec![set], ..Args::default() })
        );
        for both in [
            ["--list", "--print"],
            ["--list", "--push"],
            ["--list", "--output=x"],
            ["--list", "--dry-run"],
            ["--print", "--dry-run"],
            ["--list", "--set=x"],
        ] {
            assert_eq!(parse(&both), Err(clap::error::ErrorKind::ArgumentConflict), "{both:?}");
        }
    }
}
