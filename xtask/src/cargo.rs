//! cargo, started for the working copy.

use std::env;
use std::process::Command;

use crate::checkout::Checkout;

/// The cargo that runs us, in the working copy's root.
#[must_use]
pub fn cargo(checkout: &Checkout) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(checkout.root());
    command
}
