//! `cloudflared-stand-in`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cloudflared_stand_in::run())
}
