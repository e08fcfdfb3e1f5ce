//! Command line of `service-run`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{CommandFactory, Parser, ValueEnum};
use journal::Stage;

const EPILOGUE: &str = "\
Examples:
  service-run --name ComfyUI --port 8188 -- python main.py --port {listen}
  service-run --name vLLM --port 8000 --health /health --per-gpu -- \\
      vllm serve MODEL --host 127.0.0.1 --port {listen}";

/// Run a web service: register its port, wait for its stage, and stay with its program.
#[derive(Debug, Parser)]
#[command(name = "service-run", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    /// Name in the portal
    #[arg(long)]
    pub name: String,
    /// Public port, behind the login
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Boot stage to wait for, whatever its result
    #[arg(long, value_name = "STAGE", default_value = "provisioning")]
    pub after: After,
    /// Path that answers 2xx or 3xx once the service can be used [default: the port accepts connections]
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub health: Option<String>,
    /// Path that the portal's link opens
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub url: String,
    /// Ask for no login at this port
    #[arg(long)]
    pub open: bool,
    /// Port on 127.0.0.1 of a program that cannot take {listen}
    #[arg(long, value_name = "PORT", conflicts_with = "per_gpu", value_parser = clap::value_parser!(u16).range(1..))]
    pub listen_port: Option<u16>,
    /// Run one instance for each visible GPU and balance them; without a GPU, run one
    #[arg(long)]
    pub per_gpu: bool,
    /// Account of the program [default: the system user]
    #[arg(long)]
    pub user: Option<String>,
    /// Registry of services, for tests
    #[arg(long, hide = true, value_name = "DIRECTORY", default_value = ports::PATH)]
    pub registry: PathBuf,
    /// Environment store, for tests
    #[arg(long, hide = true, value_name = "FILE", default_value = env_store::PATH)]
    pub store: PathBuf,
    /// Directory with the kernel's files, for tests
    #[arg(long, hide = true, value_name = "DIRECTORY", default_value = "/")]
    pub root: PathBuf,
    /// Program and arguments; {listen} is its port on 127.0.0.1, {instance} its number from 0
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Stage to wait for, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After(pub Option<Stage>);

impl ValueEnum for After {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [After; 7] = [
            After(Some(Stage::Provisioning)),
            After(Some(Stage::Preflight)),
            After(Some(Stage::Sync)),
            After(Some(Stage::Permissions)),
            After(Some(Stage::Programs)),
            After(Some(Stage::Ready)),
            After(None),
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self.0 {
            Some(stage) => stage.to_possible_value(),
            None => Some(PossibleValue::new("none").help("Start at once")),
        }
    }
}

/// Parses the path of a request.
fn path(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path {
        Ok(text.to_owned())
    } else {
        Err("not a path of printable ASCII that begins with a slash".to_owned())
    }
}

/// Returns the command line, for the generator of the manual pages.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
