//! Options and fixture that all parts of the measurement share.
use std::io::{self, Write};

use anyhow::{Context, Result};
use trees::Shape;
use xtask::checkout::Checkout;

use super::fixture::Fixture;

/// Options of a run, with its directory.
#[derive(Debug)]
pub struct BenchOptions {
    pub checkout: Checkout,
    pub fixture: Fixture,
    pub shape: Shape,
    pub rounds: usize,
    pub percent: usize,
    pub seed: u64,
}

impl BenchOptions {
    /// Prints the title of a part.
    pub fn show(&self, text: &str) -> Result<()> {
        let bytes = self.shape.bytes / 1_000_000;
        writeln!(io::stdout(), "\n{text} ({bytes} MB, seed {}, {} rounds)\n", self.seed, self.rounds)
            .context("cannot print")
    }
}
