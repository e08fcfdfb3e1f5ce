//! `cargo xtask docs`: manual pages and command references, generated from the tools' own command lines, the table of
//! variants, and the READMEs of extended images.

use anyhow::Result;
use kit::{Exit, Outcome};

use crate::cargo::cargo;
use crate::checkout::Checkout;
use crate::images::readme;
use crate::{engine, step, system_packages, variants_page};

/// Generate manual pages and command references from the tools' command lines
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Change nothing; fail if something would change
    #[arg(long)]
    check: bool,
}

/// Generates or checks the pages.
pub fn run(args: &Args) -> Outcome {
    let checkout = Checkout::find()?;
    if args.check {
        check(&checkout)?;
    } else {
        manual("generate pages", &checkout, &[])?;
        let docker = engine::client();
        if let Err(error) = &docker {
            log::warn!("docker-bake.hcl cannot be read, so docs/variants.md may be old: {error:#}");
        }
        variants_page::write(&checkout, docker.ok().map(|client| client.command()))?;
        readme::write(&checkout, None)?;
    }
    Ok(Exit::Done)
}

/// Fails if a page is out of date.
pub fn check(checkout: &Checkout) -> Result<()> {
    manual("check generated pages", checkout, &["--check"])?;
    variants_page::check(checkout)?;
    readme::check(checkout)
}

fn manual(title: &str, checkout: &Checkout, more: &[&str]) -> Result<()> {
    system_packages::for_compiling()?;
    let mut command = cargo(checkout);
    command.args(["run", "--locked", "--package", "manual", "--", "--output", "docs"]).args(more);
    step::run(title, &mut command)
}
