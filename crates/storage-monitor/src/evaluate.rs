//! The mappings file, evaluated by bash: a person may compute names there, but gets nothing to do harm with.
//!
//! bash starts with an empty environment (`PATH` and `WORKSPACE` alone), as `nobody` if we are root, without standard
//! input, with 10 seconds of processor time and 1 GB of memory for each process, and has five seconds; then it ends, and
//! whatever it has started (`confine.rs`). What the file prints goes nowhere; what is in its array afterwards comes back in
//! fields that end in NUL. A file that writes to standard error or ends bash counts as wrong as a whole; one with a command that
//! failed, or without any entry, may lack something.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use kit::{HintExt, ReadPolicy, windows_text};

use crate::confine;
use crate::mapping::{Mapping, line_of};

/// bash is ended before; for what the machine may need on top.
const PATIENCE: Duration = Duration::from_secs(10);
/// A mapping is written by a person; nothing of that size is.
const LARGEST: u64 = 4 << 20;

/// A mapping, and why it may lack something that its author wants.
#[derive(Debug, PartialEq, Eq)]
pub struct Evaluated {
    pub mapping: Mapping,
    pub doubt: Option<String>,
}

/// Evaluates the file; an error names it, and the line where that is known.
pub fn evaluate(file: &Path, workspace: &Path) -> Result<Evaluated> {
    let text = trusted(file)?;
    judge(file, &text, workspace).map_err(|error| match windows_text::detect(&text) {
        Some(trace) => anyhow!("{error:#} (the file has {trace}: save it as UTF-8 with line ends of Unix)"),
        None => error,
    })
}

fn judge(file: &Path, text: &[u8], workspace: &Path) -> Result<Evaluated> {
    let (output, complaint) = run(file, workspace)?;
    if let Some(complaint) = complaint.lines().next() {
        bail!("{complaint}");
    }
    let Output { pairs, failed, may_be_empty } =
        fields(&output).ok_or_else(|| anyhow!("{}: ended bash before its own end", file.display()))?;
    let mapping = Mapping::read(&pairs).map_err(|wrong| match line_of(text, &wrong.about) {
        Some(line) => anyhow!("{}: line {line}: {}", file.display(), wrong.message),
        None => anyhow!("{}: {}", file.display(), wrong.message),
    })?;
    let doubt = match mapping.0.is_empty() {
        _ if !failed.is_empty() => Some(format!("{}: {failed}", file.display())),
        true if !may_be_empty => Some(format!(
            "{}: storage_map is empty; storage_map_empty=yes says that it is meant",
            file.display()
        )),
        _ => None,
    };
    Ok(Evaluated { mapping, doubt })
}

/// The file's text, if only those could write it who may decide where root makes links.
fn trusted(file: &Path) -> Result<Vec<u8>> {
    let opened = ReadPolicy::max_size(LARGEST).open(file)?;
    let meta = opened.meta();
    let us = nix::unistd::geteuid().as_raw();
    let ours = meta.uid() == 0 || meta.uid() == us;
    let group = [0, nix::unistd::getegid().as_raw()].contains(&meta.gid());
    if !ours || meta.mode() & 0o002 != 0 || (meta.mode() & 0o020 != 0 && !group) {
        return Err(anyhow!("{} is not used: others than root may write it", file.display()))
            .hint(|| format!("sudo chown root {0} && sudo chmod go-w {0}", file.display()));
    }
    Ok(opened.read()?)
}

/// What bash wrote to the two streams.
fn run(file: &Path, workspace: &Path) -> Result<(Vec<u8>, String)> {
    let mut child = confine::start(file, workspace).context("cannot evaluate the mapping")?;
    let streams = [collect(child.stdout.take()), collect(child.stderr.take())];
    let deadline = Instant::now() + PATIENCE;
    let read = streams.map(|stream| {
        stream.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap_or_default()
    });
    // With this, everything that is left ends.
    drop(child.stdin.take());
    let status = child.wait().context("cannot wait for the evaluation of the mapping")?;
    let [output, complaint] = read;
    if status.code() == Some(i32::from(confine::LATE)) {
        bail!("{}: did not end within {} s", file.display(), confine::TIME_LIMIT.as_secs());
    }
    if !status.success() {
        bail!("{}: {status}: {}", file.display(), String::from_utf8_lossy(&complaint).trim());
    }
    if output.len() as u64 >= LARGEST {
        bail!("{}: the mapping is larger than {} MB", file.display(), LARGEST >> 20);
    }
    Ok((output, String::from_utf8_lossy(&complaint).trim().to_owned()))
}

type Stream = Receiver<Vec<u8>>;

fn collect(stream: Option<impl Read + Send + 'static>) -> Stream {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(stream) = stream {
            // Whatever came before an error is what there is.
            let _ = stream.take(LARGEST).read_to_end(&mut bytes);
        }
        // Nobody listens after the deadline.
        let _ = sender.send(bytes);
    });
    receiver
}

/// What bash printed.
#[derive(Debug, PartialEq, Eq)]
struct Output {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The first command that failed; empty if none did.
    failed: String,
    may_be_empty: bool,
}

/// Reads the output, if its last field is there.
fn fields(output: &[u8]) -> Option<Output> {
    let mut fields: Vec<&[u8]> = output.split(|byte| *byte == 0).collect();
    if fields.pop() != Some(b"") || fields.pop() != Some(b"end") {
        return None;
    }
    let may_be_empty = fields.pop()? == b"yes";
    let failed = String::from_utf8_lossy(fields.pop()?).into_owned();
    let (pairs, rest) = fields.as_chunks::<2>();
    let pairs = pairs.iter().map(|[key, value]| (key.to_vec(), value.to_vec())).collect();
    rest.is_empty().then_some(Output { pairs, failed, may_be_empty })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_not_evaluated() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::File::create(at("sparse")).unwrap().set_len(40 << 30).unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        for (name, refusal) in [
            ("fifo", "it is a FIFO, not a regular file"),
            ("sparse", "it is larger than 4.2 MB"),
            ("dangling", "it is a symbolic link to a file that does not exist"),
            ("", "it is a directory, not a regular file"),
        ] {
            let error = evaluate(&at(name), Path::new("/workspace")).unwrap_err().to_string();
            assert_eq!(error, format!("cannot read {}: {refusal}", at(name).display()));
        }
    }

    #[test]
    fn fields_are_pairs_with_an_end() {
        let pairs = vec![(b"key\n".to_vec(), Vec::new())];
        let output =
            |pairs, failed: &str, may_be_empty| Some(Output { pairs, failed: failed.into(), may_be_empty });
        assert_eq!(fields(b"key\n\0\0line 1\0\0end\0"), output(pairs, "line 1", false));
        assert_eq!(fields(b"\0yes\0end\0"), output(Vec::new(), "", true));
        for torn in [&b""[..], b"end\0", b"key\0value\0\0\0", b"key\0\0\0end\0", b"key\0value\0\0\0end"] {
            assert_eq!(fields(torn), None);
        }
    }
}
