//! Command line of `cargo xtask up`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use crate::engine::Choice;

/// The name of the container unless another is given.
pub const DEFAULT_NAME: &str = "leonardo";

const EPILOGUE: &str = "\
Examples:
  cargo xtask up
  cargo xtask up --variant cuda-12.4.1-base-22.04
  cargo xtask up --env WEB_PASSWORD --ssh-key ~/.ssh/id_ed25519.pub";

/// Build the image, start it, wait for its portal and check it; a second call changes nothing
#[derive(Debug, clap::Args)]
#[command(after_help = EPILOGUE)]
pub struct Args {
    /// Variant to build and run, as in `bake` [default: cpu-22.04, or cpu-debian-12 without a container registry]
    #[arg(long)]
    pub variant: Option<String>,
    /// Name of the container
    #[arg(long, default_value = DEFAULT_NAME)]
    pub name: String,
    /// Port of the portal on this machine [default: 1111, or the next free one]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub portal_port: Option<u16>,
    /// Port of the SSH server on this machine [default: 2222, or the next free one]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub ssh_port: Option<u16>,
    /// Address on which to publish the ports
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub bind: IpAddr,
    /// Directory to mount at /workspace [default: workspace in the checkout]
    #[arg(long, value_name = "DIRECTORY")]
    pub workspace: Option<PathBuf>,
    /// Set a variable in the container; without `=VALUE`, take the value from the environment
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    pub environment: Vec<String>,
    /// Public key file for SSH
    #[arg(long, value_name = "FILE")]
    pub ssh_key: Option<PathBuf>,
    /// Engine to use
    #[arg(long = "engine", value_enum, default_value_t)]
    pub choice: Choice,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
