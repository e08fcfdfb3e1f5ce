//! Start, stop and list the programs of supervisord for the portal.
//!
//! Access to supervisord's socket equals root: its interface starts, signals and reconfigures anything. The portal faces
//! the network, so its account must not have it. This program stands in between: it runs as root, listens on a socket for
//! the portal's account, and knows four requests only: list, start, stop and restart of programs that supervisord has.

mod client;
pub mod limits;
mod protocol;

pub use client::{act, list};
pub use protocol::{Action, Exit, Outcome, Program, Refusal, RefusalKind, SOCKET};
