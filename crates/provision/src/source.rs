//! The configured script: its settings, and how it is loaded and checked.

use std::fmt;
use std::path::{Path, PathBuf};

use kit::quote::quoted;
use kit::untrusted_file::ReadErrorKind;
use kit::{Env, Problem, ReadPolicy, hex, units, windows_text};

use crate::address::{self, Address};
use crate::content_check::{self, MAX_BYTES};
use crate::failure::Failure;
use crate::fetch;
use crate::raw_url;
use crate::time_limits::TimeLimits;

/// Setting with the script's URL.
const SETTING: &str = "PROVISIONING_SCRIPT";
/// Setting with the script's SHA-256.
const DIGEST: &str = "PROVISIONING_SCRIPT_SHA256";

/// Location of the script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Address(Address),
    File(PathBuf),
}

impl Source {
    /// Returns the secrets in the address.
    pub fn secrets(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Address(address) => address.secrets(),
            Self::File(_) => Vec::new(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::File(path) => path.display().fmt(formatter),
        }
    }
}

/// A configured script.
#[derive(Debug, PartialEq, Eq)]
pub struct ScriptRequest {
    pub source: Source,
    /// SHA-256 that the script must have.
    pub digest: Option<String>,
    /// True if a mounted script is ignored in favour of the address.
    pub passed_over: bool,
}

/// A script that was checked.
#[derive(Debug)]
pub struct Script {
    /// Content, with Windows line ends and the like corrected.
    pub bytes: Vec<u8>,
    /// SHA-256 of the content before the corrections.
    pub digest: String,
}

/// Reads the settings; nothing if no script is configured.
pub fn requested(env: &Env, mounted: &Path) -> Result<Option<ScriptRequest>, Failure> {
    let there = mounted.symlink_metadata().is_ok();
    let source = match given(env, SETTING)? {
        Some(text) => Source::Address(address::parse_setting(text, &mounted.display().to_string())?),
        None if there => Source::File(mounted.to_owned()),
        None => return Ok(None),
    };
    let digest = given(env, DIGEST)?.map(|text| {
        kit::settings::parse_sha256(text).ok_or_else(|| {
            Failure::new(
                format!("{DIGEST} is not 64 hexadecimal digits"),
                "take it from: curl -L ADDRESS | sha256sum",
            )
        })
    });
    let passed_over = there && matches!(source, Source::Address(_));
    Ok(Some(ScriptRequest { source, digest: digest.transpose()?, passed_over }))
}

/// Returns a setting's text; an empty one is not set. One that is not UTF-8 is an error: if it were ignored, the mounted
/// script would run instead, or one without a check of its digest.
fn given<'env>(env: &'env Env, name: &str) -> Result<Option<&'env str>, Failure> {
    if env.get(name).is_some_and(|value| value.to_str().is_none()) {
        return Err(Failure::new(format!("{name} is not UTF-8 text"), "set it again, or unset it"));
    }
    Ok(env.text(name))
}

/// Returns the problem of `PROVISIONING_SCRIPT`, which `init` reports before anything is fetched.
#[must_use]
pub fn setting_problem(env: &Env) -> Option<Problem> {
    let failure = address::parse_setting(env.text(SETTING)?, crate::MOUNTED_SCRIPT).err()?;
    let cause = failure.cause.strip_prefix(SETTING).unwrap_or(&failure.cause).trim_start();
    Some(Problem::new(SETTING, format!("{cause}; {}", failure.hint)))
}

/// Loads and checks the script. `progress` receives warnings and steps.
pub fn load_script(
    request: &ScriptRequest,
    env: &Env,
    limits: &TimeLimits,
    progress: &mut impl FnMut(&str),
) -> Result<Script, Failure> {
    let (bytes, content_type, from) = match &request.source {
        Source::Address(address) => {
            if !address.is_https() {
                progress(
                    "warning: http is not encrypted; the script could be modified in transit (pin its SHA-256)",
                );
            }
            let answer = fetch::fetch(address, env, limits, &mut *progress)?;
            (answer.bytes, answer.content_type, answer.from.to_string())
        }
        Source::File(path) => (read(path)?, None, path.display().to_string()),
    };
    let digest = hex::sha256(&bytes);
    if let Some(kind) = content_check::not_a_script(&bytes, content_type.as_deref()) {
        return Err(Failure::new(format!("{from} is {kind}, not a script"), hint(&request.source, kind)));
    }
    if let Some(expected) = request.digest.as_ref().filter(|&expected| *expected != digest) {
        let cause = format!("SHA-256 of {from} does not match {DIGEST}: got {digest}, expected {expected}");
        let hint = "review the script; if the change is intended, set the new digest";
        return Err(Failure::new(cause, hint));
    }
    progress(&format!("{from}: {}, sha256 {digest}", units::format_bytes(bytes.len() as u64)));
    let (bytes, mended) = windows_text::normalize(&bytes);
    if mended != windows_text::AppliedFixes::default() {
        progress(&mended.to_string());
    }
    Ok(Script { bytes, digest })
}

/// Returns the advice about content that is not a script.
fn hint(source: &Source, kind: &str) -> String {
    match source {
        _ if kind == content_check::UTF_16 => {
            "save it as UTF-8: choose that encoding in the editor's \"Save as\", or in PowerShell Out-File -Encoding utf8".into()
        }
        _ if kind == content_check::EMPTY => "add commands to it, or unset PROVISIONING_SCRIPT".into(),
        Source::Address(address) => match raw_url::raw_url(address) {
            Some(raw) => format!("this is a web page; the script itself is at {raw}"),
            None => "use the address of the plain text: look for a link or button named \"raw\"".into(),
        },
        Source::File(_) => "mount the script itself: a plain text file".into(),
    }
}

/// Reads a mounted script, which must be a regular file; a pipe is not waited for.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    ReadPolicy::max_size(MAX_BYTES as u64).read(path).map_err(|refused| match refused.reason {
        ReadErrorKind::TooLarge(limit) => Failure::new(
            format!(
                "{} is larger than {}, which is too large for a script",
                quoted(path),
                units::format_bytes(limit)
            ),
            "download or unpack large files in the script instead",
        ),
        reason => Failure::new(
            format!("cannot read {}: {reason}", quoted(path)),
            "mount a regular file (Docker creates a directory if the file does not exist on the host)",
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn the_url_wins_over_the_mounted_script_and_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let mounted = dir.path().join("provisioning.sh");
        let none = Env::default();
        let url: Env = [(SETTING, "https://h/x.sh")].into_iter().collect();
        assert_eq!(requested(&none, &mounted), Ok(None));
        std::fs::write(&mounted, "echo").unwrap();
        let from_file =
            ScriptRequest { source: Source::File(mounted.clone()), digest: None, passed_over: false };
        assert_eq!(requested(&none, &mounted), Ok(Some(from_file)));
        let asked = requested(&url, &mounted).unwrap().unwrap();
        assert_eq!((asked.source.to_string().as_str(), asked.passed_over), ("https://h/x.sh", true));
    }

    #[test]
    fn a_digest_that_cannot_be_one_is_never_passed_over() {
        let digits = "PROVISIONING_SCRIPT_SHA256 is not 64 hexadecimal digits";
        let text = "PROVISIONING_SCRIPT_SHA256 is not UTF-8 text";
        let uneven = [&[b'a'; 63][..], b"\xff"].concat();
        for (digest, cause) in [
            (&b"abc"[..], Some(digits)),
            (b"sha256:", Some(digits)),
            (b"\xff", Some(text)),
            (&uneven, Some(text)),
            (b"", None),
            (b" ", None),
        ] {
            let mut env: Env = [(SETTING, "https://h/x.sh")].into_iter().collect();
            env.set(DIGEST, OsStr::from_bytes(digest));
            let wished = requested(&env, Path::new("/no/such/file"));
            assert_eq!(wished.err().map(|failure| failure.cause).as_deref(), cause, "{digest:?}");
        }
    }

    #[test]
    fn an_address_that_is_no_text_is_not_the_mounted_script() {
        let dir = tempfile::tempdir().unwrap();
        let mounted = dir.path().join("provisioning.sh");
        std::fs::write(&mounted, "echo").unwrap();
        let env: Env = [(SETTING, OsStr::from_bytes(b"https://h/\xff"))].into_iter().collect();
        assert_eq!(requested(&env, &mounted).unwrap_err().cause, "PROVISIONING_SCRIPT is not UTF-8 text");
    }
}
