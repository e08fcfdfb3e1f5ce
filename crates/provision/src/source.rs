//! Which script was asked for, and getting hold of it.

use std::fmt;
use std::path::{Path, PathBuf};

use kit::quote::quoted;
use kit::untrusted_file::ReadErrorKind;
use kit::{Env, Problem, ReadPolicy, units, windows_text};

use crate::address::{self, Address};
use crate::content::{self, LARGEST};
use crate::failure::Failure;
use crate::fetch;
use crate::pages;
use crate::time_limits::TimeLimits;

/// The setting that names the script.
const SETTING: &str = "PROVISIONING_SCRIPT";
/// The setting that says what the script must be.
const DIGEST: &str = "PROVISIONING_SCRIPT_SHA256";

/// Where the script is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Address(Address),
    File(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::File(path) => path.display().fmt(formatter),
        }
    }
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Wish {
    pub source: Source,
    /// What the script must be.
    pub digest: Option<String>,
    /// Whether a mounted script is passed over for the address.
    pub passed_over: bool,
}

/// A script that may be run.
#[derive(Debug)]
pub struct Script {
    /// Mended.
    pub bytes: Vec<u8>,
    /// Of the bytes before they were mended.
    pub digest: String,
}

/// Reads what was asked for; nothing if nothing was.
pub fn wish(env: &Env, mounted: &Path) -> Result<Option<Wish>, Failure> {
    let there = mounted.symlink_metadata().is_ok();
    let source = match given(env, SETTING)? {
        Some(text) => Source::Address(address::asked_for(text, &mounted.display().to_string())?),
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
    Ok(Some(Wish { source, digest: digest.transpose()?, passed_over }))
}

/// A setting's text; empty means not given. One that is no text is a mistake and not a setting that is missing: then the
/// mounted script would run instead, or one that nobody has compared with anything.
fn given<'env>(env: &'env Env, name: &str) -> Result<Option<&'env str>, Failure> {
    if env.get(name).is_some_and(|value| value.to_str().is_none()) {
        return Err(Failure::new(format!("{name} is not UTF-8 text"), "set it again, or leave it out"));
    }
    Ok(env.text(name))
}

/// Returns why `PROVISIONING_SCRIPT` cannot be used, if it cannot; `init` reports it before anything is fetched.
#[must_use]
pub fn problem(env: &Env) -> Option<Problem> {
    let failure = address::asked_for(env.text(SETTING)?, crate::MOUNTED).err()?;
    let cause = failure.cause.strip_prefix(SETTING).unwrap_or(&failure.cause).trim_start();
    Some(Problem::new(SETTING, format!("{cause}; {}", failure.hint)))
}

/// Gets hold of the script and looks at it; `tell` hears about everything that the user may want to know.
pub fn script(
    wish: &Wish,
    env: &Env,
    limits: &TimeLimits,
    tell: &mut impl FnMut(&str),
) -> Result<Script, Failure> {
    let (bytes, content_type, from) = match &wish.source {
        Source::Address(address) => {
            if !address.is_https() {
                tell("warning: http is not encrypted: anybody on the way can change the script");
            }
            let answer = fetch::fetch(address, env, limits, &mut *tell)?;
            (answer.bytes, answer.content_type, answer.from.to_string())
        }
        Source::File(path) => (read(path)?, None, path.display().to_string()),
    };
    let digest = content::digest(&bytes);
    if let Some(disguise) = content::disguise(&bytes, content_type.as_deref()) {
        return Err(Failure::new(
            format!("{from} is not a script, but {disguise}"),
            hint(&wish.source, disguise),
        ));
    }
    if let Some(expected) = wish.digest.as_ref().filter(|&expected| *expected != digest) {
        let cause = format!("{from} is not what {DIGEST} says: it has {digest} instead of {expected}");
        let hint = "read the script again; if the change is right, set the new digest";
        return Err(Failure::new(cause, hint));
    }
    tell(&format!("{from}: {}, sha256 {digest}", units::format_bytes(bytes.len() as u64)));
    let (bytes, mended) = windows_text::normalize(&bytes);
    if mended != windows_text::AppliedFixes::default() {
        tell(&mended.to_string());
    }
    Ok(Script { bytes, digest })
}

/// What to do about something that is not a script.
fn hint(source: &Source, disguise: &str) -> String {
    match source {
        _ if disguise == content::UTF_16 => {
            "save it as UTF-8: choose that encoding in the editor's \"Save as\", or in PowerShell Out-File -Encoding \
             utf8".into()
        }
        _ if disguise == content::EMPTY => "write the commands into it, or leave PROVISIONING_SCRIPT out".into(),
        Source::Address(address) => match pages::raw_form(address) {
            Some(raw) => format!("that is a page for people; the script itself is at {raw}"),
            None => "the address must lead to the plain text: look for a link or button named \"raw\"".into(),
        },
        Source::File(_) => "mount the script itself: a plain text file".into(),
    }
}

/// Reads a mounted script: only a regular file. A pipe is not even waited for.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    ReadPolicy::max_size(LARGEST as u64).read(path).map_err(|refused| match refused.reason {
        ReadErrorKind::TooLarge(limit) => Failure::new(
            format!("{} has more than {}, which is no script", quoted(path), units::format_bytes(limit)),
            "the script itself may unpack what is large",
        ),
        reason => Failure::new(
            format!("cannot read {}: {reason}", quoted(path)),
            "mount a plain file; a directory there means that the file was missing on the host",
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn the_address_wins_and_says_so_and_nothing_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mounted = dir.path().join("provisioning.sh");
        let none = Env::default();
        let url: Env = [(SETTING, "https://h/x.sh")].into_iter().collect();
        assert_eq!(wish(&none, &mounted), Ok(None));
        std::fs::write(&mounted, "echo").unwrap();
        let from_file = Wish { source: Source::File(mounted.clone()), digest: None, passed_over: false };
        assert_eq!(wish(&none, &mounted), Ok(Some(from_file)));
        let asked = wish(&url, &mounted).unwrap().unwrap();
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
            let wished = wish(&env, Path::new("/no/such/file"));
            assert_eq!(wished.err().map(|failure| failure.cause).as_deref(), cause, "{digest:?}");
        }
    }

    #[test]
    fn an_address_that_is_no_text_is_not_the_mounted_script() {
        let dir = tempfile::tempdir().unwrap();
        let mounted = dir.path().join("provisioning.sh");
        std::fs::write(&mounted, "echo").unwrap();
        let env: Env = [(SETTING, OsStr::from_bytes(b"https://h/\xff"))].into_iter().collect();
        assert_eq!(wish(&env, &mounted).unwrap_err().cause, "PROVISIONING_SCRIPT is not UTF-8 text");
    }
}
