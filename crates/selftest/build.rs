//! Lists the image's tools: every directory beside this one that has a program.

#![allow(clippy::print_stdout, reason = "Cargo reads it")]

use std::fs;
use std::path::Path;

fn main() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let entries = fs::read_dir(crates).into_iter().flatten().flatten();
    let programs = entries.filter(|entry| entry.path().join("src/main.rs").exists());
    let mut names: Vec<String> =
        programs.map(|program| program.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    println!("cargo::rustc-env=LEONARDO_TOOLS={}", names.join(" "));
}
