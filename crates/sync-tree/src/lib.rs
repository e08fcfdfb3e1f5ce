//! Lay out a directory below `/opt` so that users can keep it on their volume
//!
//! `RUN sync-tree add NAME` in a Dockerfile makes `/opt/NAME` a link to `/opt/.image/NAME`. A container then switches the
//! tree to the user's copy with one rename of the link (`workspace-sync`). `ENV OPT_SYNC=NAME` selects the tree for every
//! container with `WORKSPACE_SYNC=true`. The line that is printed has all trees, because another line replaces it.
//!
//! A directory that already exists is moved, which works in the step that created it. The kernel does not rename a directory of
//! an earlier step (overlayfs answers EXDEV), and a copy would be stored in the image a second time: it is refused, with
//! the line that avoids it. A second run changes nothing.
//!
//! In a running container it is refused: the layout is the image's, and a tree may already be switched.

mod cli;
mod layout;
mod selection;

use std::io::{self, Write};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use kit::exit::with_hint;
use kit::{Env, Exit, HintExt, Outcome, UsageError};

pub use cli::command;
use cli::{Cli, Task};
pub use layout::Entry;
use layout::Layout;
pub use selection::{missing_line, trees};

/// Socket of a container's supervisord.
const SUPERVISORD: &str = "/run/supervisor.sock";

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    let Task::Add { name } = &cli.task;
    workspace_sync::check_tree_name(name).map_err(|reason| UsageError(format!("{name:?} {reason}")))?;
    if is_running_container() {
        return Err(anyhow!("this container is running, and only an image has a layout"))
            .hint(|| format!("add it to the Dockerfile: RUN sync-tree add {name}"));
    }
    let layout = Layout::new(&cli.opt, name);
    let (link, tree) = layout.read()?;
    let steps = layout
        .plan(&link, &tree)
        .map_err(|conflict| with_hint(anyhow!("{}", conflict.message), conflict.remedy))?;
    let gid = group(&cli.group)?;
    for step in steps {
        layout.apply(step, gid)?;
    }
    writeln!(io::stdout(), "{} -> {}", layout.link.display(), layout.tree.display())?;
    let selected = Env::from_process();
    if let Some(line) = missing_line(selected.text("OPT_SYNC"), &trees(&cli.opt)?) {
        log::info!("to select it in every container with WORKSPACE_SYNC=true, add the line: {line}");
    }
    Ok(Exit::Done)
}

/// True in a container, and not in the build of an image.
#[must_use]
pub fn is_running_container() -> bool {
    UnixStream::connect(SUPERVISORD).is_ok()
}

fn group(name: &str) -> Result<u32> {
    let group = uzers::get_group_by_name(name).with_context(|| format!("group {name} does not exist"));
    group
        .map(|group| group.gid())
        .hint(|| "sync-tree runs in the build of an image made from the base image".to_owned())
}
