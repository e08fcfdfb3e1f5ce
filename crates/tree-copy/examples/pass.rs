//! One pass from the command line: `pass SOURCE TARGET [content] [compare]`; prints what it did as JSON.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use tree_copy::{Check, Options, Unobserved, pass, probe};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "pass: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(source), Some(target)) =
        (arguments.next().map(PathBuf::from), arguments.next().map(PathBuf::from))
    else {
        return Err("two directories are needed".into());
    };
    let words: Vec<_> = arguments.collect();
    let word = |wanted: &str| words.iter().any(|word| word == wanted);
    std::fs::create_dir_all(&target)?;
    let capabilities = probe(target.parent().unwrap_or(&target))?;
    let check = if word("content") { Check::Content } else { Check::Metadata };
    let options = Options { check, write: !word("compare"), ..Options::new(&capabilities) };
    let done = pass(&source, &target, &options, &Unobserved)?;
    writeln!(io::stdout(), "{}", serde_json::to_string(&done)?)?;
    Ok(())
}
