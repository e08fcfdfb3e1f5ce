//! `cargo xtask images update`: asks the registry for the digests of the base images.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::anyhow;
use kit::atomic::{self, WriteOptions};
use kit::{Exit, HintExt, Outcome};

use super::lock_file::{self, LockFile};
use super::registry;
use crate::bake;
use crate::checkout::Checkout;
use crate::engine;
use crate::repository;

const EPILOGUE: &str = "\
Examples:
  cargo xtask images update
  cargo xtask images update --check
  cargo xtask images update --mirror mirror.example:5000";

/// Write the digests of all base images to docker-bake.lock.hcl, and print what changed
#[derive(Debug, clap::Args)]
#[command(after_help = EPILOGUE)]
pub struct Args {
    /// Print what would change and write nothing; exit code 1 if anything would
    #[arg(long)]
    check: bool,
    /// Ask this mirror of Docker Hub, such as mirror.example:5000
    #[arg(long, value_name = "HOST", value_parser = repository::mirror)]
    mirror: Option<String>,
}

/// Failed requests after which no registry counts as reachable, unless one has answered.
const UNREACHABLE_AFTER: usize = 3;

/// Runs the task; exit code 1 also if the registry did not answer for every image.
pub fn run(args: &Args) -> Outcome {
    let checkout = Checkout::find()?;
    let client = engine::client()?;
    let docker = || {
        let mut docker = client.command();
        docker.current_dir(checkout.root());
        docker
    };
    let old = LockFile::read(checkout.root())?;
    let used = bake::source_images(&bake::print(docker(), bake::EVERYTHING)?)?;
    let mut answers = BTreeMap::new();
    let mut failures = Vec::new();
    let mut failed_requests = 0;
    for image in &used {
        match registry::digest(&docker, &registry::mirrored(image, args.mirror.as_deref())) {
            Ok(digest) => drop(answers.insert(image.clone(), digest)),
            Err(error) => {
                let error = format!("{error:#}");
                failed_requests += usize::from(!registry::means_missing(&error));
                failures.push(format!("{image}: {}", reason(&error)));
            }
        }
        if answers.is_empty() && failed_requests == UNREACHABLE_AFTER {
            break;
        }
    }
    if answers.is_empty() {
        return Err(anyhow!(
            "no digest of any image; the first failure: {}",
            failures.first().map_or("", |line| line)
        ))
        .hint(|| "--mirror names a mirror of Docker Hub; behind a proxy, set HTTPS_PROXY".to_owned());
    }
    let (new, changes) = old.updated(&used, &answers);
    for line in &changes {
        writeln!(io::stdout(), "{line}")?;
    }
    for failure in &failures {
        log::warn!("no digest of {failure}");
    }
    if !args.check {
        atomic::write_if_changed(
            &checkout.root().join(lock_file::FILE),
            new.text().as_bytes(),
            WriteOptions::volatile(0o644),
        )?;
        log::info!("{}: {} images, {} changes", lock_file::FILE, new.0.len(), changes.len());
    }
    let differs = args.check && !changes.is_empty();
    Ok(if differs || !failures.is_empty() { Exit::No } else { Exit::Done })
}

/// The part of buildx's message that says why.
fn reason(error: &str) -> &str {
    error.rsplit_once("ERROR: ").map_or(error, |(_, reason)| reason.trim())
}
