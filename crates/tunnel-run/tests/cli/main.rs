//! The real binary against a stand-in for cloudflared, with times divided by twenty. Root only.

// Helpers of tests are tests to a reader, but not to the lint.
#![allow(clippy::unwrap_used)]

mod fixture;
mod matrix;
mod named;
mod processes;
mod secrets;
mod services;
