//! The mappings file, evaluated by bash: a person may compute names there, but gets nothing to do harm with.
//!
//! bash starts with an empty environment (`PATH` and `WORKSPACE` alone), as `nobody` if we are root, without standard input,
//! and has five seconds; 10 seconds of processor time and 1 GB of memory end it even if we are killed meanwhile. What the file prints goes nowhere; what is in its array afterwards comes back in fields that end in
//! NUL. A file that writes to standard error, ends bash, or is still running then counts as wrong as a whole.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use kit::HintExt;
use nix::libc;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::mapping::{Mapping, line_of};

const TIME_LIMIT: Duration = Duration::from_secs(5);
/// A mapping is written by a person; nothing of that size is.
const LARGEST: u64 = 4 << 20;
/// The account that owns nothing.
const NOBODY: u32 = 65_534;
/// Sources the file of its only argument and prints the array, after that a last field that says it came to the end.
const PROGRAM: &str = r#"
ulimit -t 10 2>/dev/null
ulimit -v 1048576 2>/dev/null
exec 3>&1 1>/dev/null
declare -A storage_map=()
set -u
source -- "$1"
set +eu
for key in "${!storage_map[@]}"; do
    printf '%s\0%s\0' "$key" "${storage_map[$key]}" >&3
done
printf 'end\0' >&3
"#;

/// Evaluates the file; an error names it, and the line where that is known.
pub fn evaluate(file: &Path, workspace: &Path) -> Result<Mapping> {
    let text = trusted(file)?;
    let (output, complaint) = run(file, workspace)?;
    if let Some(complaint) = complaint.lines().next() {
        bail!("{complaint}");
    }
    let pairs =
        fields(&output).ok_or_else(|| anyhow!("{}: ended bash before its own end", file.display()))?;
    Mapping::read(&pairs).map_err(|wrong| match line_of(&text, &wrong.about) {
        Some(line) => anyhow!("{}: line {line}: {}", file.display(), wrong.message),
        None => anyhow!("{}: {}", file.display(), wrong.message),
    })
}

/// The file's text, if only those could write it who may decide where root makes links.
fn trusted(file: &Path) -> Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", file.display());
    let opened = File::open(file).with_context(cannot)?;
    let meta = opened.metadata().with_context(cannot)?;
    if !meta.is_file() {
        bail!("{} is not a file", file.display());
    }
    let us = nix::unistd::geteuid().as_raw();
    let ours = meta.uid() == 0 || meta.uid() == us;
    let group = [0, nix::unistd::getegid().as_raw()].contains(&meta.gid());
    if !ours || meta.mode() & 0o002 != 0 || (meta.mode() & 0o020 != 0 && !group) {
        return Err(anyhow!("{} is not used: others than root may write it", file.display()))
            .hint(|| format!("sudo chown root {0} && sudo chmod go-w {0}", file.display()));
    }
    let mut text = Vec::new();
    opened.take(LARGEST).read_to_end(&mut text).with_context(cannot)?;
    Ok(text)
}

/// What bash wrote to the two streams.
fn run(file: &Path, workspace: &Path) -> Result<(Vec<u8>, String)> {
    let mut child = start(file, workspace).context("cannot run /bin/bash")?;
    let deadline = Instant::now() + TIME_LIMIT;
    let streams = (collect(child.stdout.take()), collect(child.stderr.take()));
    let answer =
        await_both(&streams, deadline).and_then(|streams| ended(&mut child, deadline).map(|()| streams));
    // Also what it left running in the background.
    if let Ok(group) = i32::try_from(child.id()) {
        // Fails if nothing is left.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    child.wait().context("cannot wait for bash")?;
    let (output, complaint) =
        answer.ok_or_else(|| anyhow!("{}: did not end within {} s", file.display(), TIME_LIMIT.as_secs()))?;
    if output.len() as u64 >= LARGEST {
        bail!("{}: the mapping is larger than {} MB", file.display(), LARGEST >> 20);
    }
    Ok((output, String::from_utf8_lossy(&complaint).trim().to_owned()))
}

fn start(file: &Path, workspace: &Path) -> std::io::Result<Child> {
    let bash = || {
        let mut command = Command::new("/bin/bash");
        command.args(["--noprofile", "--norc", "-c", PROGRAM, "bash"]).arg(file);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("WORKSPACE", workspace);
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0);
        command
    };
    if nix::unistd::geteuid().is_root() {
        // The standard library gives up the supplementary groups with it.
        match bash().gid(NOBODY).uid(NOBODY).spawn() {
            // A user namespace may know root alone, and then root is nobody else's root.
            Err(error) if [Some(libc::EINVAL), Some(libc::EPERM)].contains(&error.raw_os_error()) => {}
            child => return child,
        }
    }
    bash().spawn()
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

fn await_both((output, complaint): &(Stream, Stream), deadline: Instant) -> Option<(Vec<u8>, Vec<u8>)> {
    let one = |stream: &Stream| stream.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
    Some((one(output)?, one(complaint)?))
}

fn ended(child: &mut Child, deadline: Instant) -> Option<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    kit::wait::until(left, "bash", || child.try_wait().ok().flatten()).ok().map(drop)
}

/// Pairs of fields, if the last field is there.
fn fields(output: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut fields: Vec<&[u8]> = output.split(|byte| *byte == 0).collect();
    if fields.pop() != Some(b"") || fields.pop() != Some(b"end") {
        return None;
    }
    let (pairs, rest) = fields.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[key, value]| (key.to_vec(), value.to_vec())).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    fn with(text: &str, look: impl FnOnce(&Path)) {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let file = folder.path().join("mappings.sh");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        look(&file);
    }

    fn mapping(text: &str) -> Vec<(PathBuf, Vec<PathBuf>)> {
        let mut found = Vec::new();
        with(text, |file| {
            let Mapping(map) = evaluate(file, Path::new("/data")).unwrap();
            found = map.into_iter().map(|(key, all)| (key, all.into_iter().collect())).collect();
        });
        found
    }

    fn complaint(text: &str) -> String {
        let mut found = String::new();
        with(text, |file| {
            let error = evaluate(file, Path::new("/data")).unwrap_err().to_string();
            found = error.replace(&file.display().to_string(), "FILE");
        });
        found
    }

    #[test]
    fn a_file_may_compute_and_print() {
        let text = "app='/opt/My App'\necho hello\nfor kind in lora 'a $b'; do\n\
            storage_map[\"models/$kind\"]=\"$app/$kind\n    $WORKSPACE/x\"\ndone\nfalse\n";
        let paths = |all: [&str; 2]| all.map(PathBuf::from).to_vec();
        assert_eq!(
            mapping(text),
            [
                ("models/a $b".into(), paths(["/data/x", "/opt/My App/a $b"])),
                ("models/lora".into(), paths(["/data/x", "/opt/My App/lora"])),
            ]
        );
        assert_eq!(mapping("declare -A storage_map\nstorage_map=([a]=/x)\nreturn 1")[0].0, Path::new("a"));
        assert_eq!(mapping(""), []);
    }

    #[test]
    fn an_error_names_file_and_line() {
        assert_eq!(
            complaint("\nstorage_map[a]=/x\nstorage_map[b]=relative\n"),
            "FILE: line 3: storage_map[\"b\"]: \"relative\" is not an absolute path without .."
        );
        assert_eq!(complaint("\n\nif\n"), "FILE: line 4: syntax error: unexpected end of file");
        assert_eq!(complaint("x=1\nstorage_map[a]=$nothing\n"), "FILE: line 2: nothing: unbound variable");
        assert_eq!(complaint("no-such-command\n"), "FILE: line 1: no-such-command: command not found");
        assert_eq!(complaint("storage_map[a]=/x; exit 0"), "FILE: ended bash before its own end");
    }

    #[test]
    fn a_file_that_does_not_end_is_ended() {
        assert_eq!(complaint("while :; do :; done"), "FILE: did not end within 5 s");
    }

    #[test]
    fn a_file_has_no_secrets_no_input_and_no_rights() {
        let text = "read -r line; storage_map[\"$(id -u):${line:-none}:$(env | sort | tr '\\n' ,)\"]=/x";
        let keys: Vec<_> = mapping(text).into_iter().map(|(key, _)| key).collect();
        let us = nix::unistd::geteuid();
        let who = if us.is_root() { NOBODY } else { us.as_raw() };
        let key = keys[0].to_str().unwrap();
        assert!(key.starts_with(&format!("{who}:none:")), "{key}");
        let names: Vec<_> =
            key.split(',').filter_map(|pair| pair.split_once('=')).map(|(name, _)| name).collect();
        assert!(
            names.iter().all(|name| ["PATH", "WORKSPACE", "PWD", "SHLVL", "_"]
                .iter()
                .any(|known| name.ends_with(known))),
            "{key}"
        );
    }

    #[test]
    fn a_file_that_others_may_write_is_not_run() {
        with("storage_map[a]=/x", |file| {
            fs::set_permissions(file, fs::Permissions::from_mode(0o646)).unwrap();
            let error = evaluate(file, Path::new("/data")).unwrap_err().to_string();
            assert_eq!(error, format!("{} is not used: others than root may write it", file.display()));
        });
        with("storage_map[a]=/x", |file| {
            std::os::unix::fs::chown(file, None, Some(NOBODY)).unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o664)).unwrap();
            assert!(evaluate(file, Path::new("/data")).is_err(), "of another group");
        });
    }

    #[test]
    fn a_file_that_outlives_us_is_ended_by_the_kernel() {
        let keys = mapping("storage_map[\"$(ulimit -t) $(ulimit -v)\"]=/x");
        assert_eq!(keys[0].0, Path::new("10 1048576"));
    }
}
