//! Shrinks the files of `assets/` for embedding; those of `vendor/` stay as they were published.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

#[path = "src/assets/shrink.rs"]
mod shrink;

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=assets");
    let to = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    copy(Path::new("assets"), &to.join("assets"), true)
}

/// Copies a directory with its directories.
fn copy(from: &Path, to: &Path, is_own: bool) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let from = entry?.path();
        let to = to.join(from.file_name().unwrap_or_default());
        if from.is_dir() {
            copy(&from, &to, is_own && !from.ends_with("vendor"))?;
            continue;
        }
        let source = fs::read_to_string(&from)?;
        let kind = from.extension().and_then(|kind| kind.to_str()).filter(|_| is_own);
        let shrunk = match kind {
            Some("js") => shrink::script(&source)
                .map_err(|error| io::Error::other(format!("{}: {error}", from.display())))?,
            Some("css") => shrink::style(&source),
            _ => source,
        };
        fs::write(to, shrunk)?;
    }
    Ok(())
}
