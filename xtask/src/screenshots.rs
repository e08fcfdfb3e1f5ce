//! `cargo xtask screenshots`: pictures of the portal's pages for `docs/images`.

use std::io::{self, Write};

use anyhow::{Context, bail};
use kit::{Exit, Outcome};

use crate::cargo::cargo;
use crate::engine::{self, Choice, packages};
use crate::{e2e, image, step};

/// Build an image, and take pictures of the portal's pages in a container made from it
///
/// Each page is taken in both colour schemes, 1280 and 390 pixels wide.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Use this variant instead of the machine's default
    #[arg(long)]
    variant: Option<String>,
    /// Engine to use
    #[arg(long = "engine", value_enum, default_value_t)]
    choice: Choice,
    /// Pages, such as `logs`; all by default
    #[arg(value_name = "PAGE")]
    pages: Vec<String>,
}

/// Takes the pictures and prints the bytes of each.
pub fn run(args: &Args) -> Outcome {
    let printed = engine::with(args.choice, |checkout, engine| {
        packages::install(e2e::BROWSER)?;
        packages::install(&[("cwebp", "webp")])?;
        let built = image::build(engine, args.variant.as_deref())?;
        let mut command = cargo(checkout);
        command.args(["run", "--quiet", "--locked", "--package", "showcase", "--"]).args(&args.pages);
        e2e::talk_to(engine, &mut command);
        command.env("LEONARDO_TEST_IMAGE", &built.image);
        let (status, output) = step::status("take pictures", &mut command)?;
        if !status.success() {
            bail!("{} failed ({status}):\n{}", kit::cmd::describe(&command), step::tail(&output));
        }
        Ok(output)
    })?;
    io::stdout().write_all(printed.as_bytes()).context("cannot print")?;
    Ok(Exit::Done)
}
