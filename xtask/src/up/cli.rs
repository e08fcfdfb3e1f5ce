//! The command line of `cargo xtask up`; no behaviour.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use crate::engine::Choice;

/// The name of the container unless another is given.
pub const DEFAULT_NAME: &str = "leonardo";

/// Build the image, start it and wait until its portal answers; a second call changes nothing
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Variant to build and run, as in `bake` [default: cpu-22.04, or cpu-debian-12 without a container registry]
    #[arg(long)]
    pub variant: Option<String>,
    /// The container's name
    #[arg(long, default_value = DEFAULT_NAME)]
    pub name: String,
    /// The portal's port on this machine [default: 1111, or the next free one]
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..))]
    pub portal_port: Option<u16>,
    /// The SSH server's port on this machine [default: 2222, or the next free one]
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..))]
    pub ssh_port: Option<u16>,
    /// The address of this machine on which the ports are open
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub bind: IpAddr,
    /// The directory that becomes /workspace [default: workspace in the checkout]
    #[arg(long, value_name = "DIR")]
    pub workspace: Option<PathBuf>,
    /// A setting of the container; with the name alone it has the value that it has here
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    pub environment: Vec<String>,
    /// A file with the public key that may log in by SSH
    #[arg(long, value_name = "FILE")]
    pub ssh_key: Option<PathBuf>,
    /// Engine to use
    #[arg(long = "engine", value_enum, default_value_t)]
    pub choice: Choice,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
