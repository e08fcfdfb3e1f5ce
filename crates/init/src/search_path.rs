//! `PATH` of all programs that `init` starts.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use kit::Env;

/// Directories of the image's programs, first: a user's package cannot replace them.
const FIRST: [&str; 2] = ["/opt/leonardo/bin", "/opt/caddy/bin"];
/// Directory of the environments, last.
const ENVIRONMENTS: &str = "/opt/micromamba/bin";
/// Directory of programs that explain why a program is missing: any other program of that name comes before.
const STUBS: &str = "/opt/leonardo/stubs";
/// Default `PATH` of distributions (`ENV_SUPATH` in login.defs(5)).
const SYSTEM: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Adds the image's directories to `PATH`. The container may set a `PATH` of its own (`-e PATH=…`), and extended images
/// put their directories in front of ours.
pub fn complete(env: &mut Env) {
    let path = completed(env.get("PATH").filter(|path| !path.is_empty()));
    env.set("PATH", path);
}

fn completed(given: Option<&OsStr>) -> OsString {
    let given = given.map_or(SYSTEM.as_bytes(), OsStr::as_bytes);
    let mut parts: Vec<&[u8]> = given.split(|&byte| byte == b':').collect();
    parts.retain(|part| !FIRST.iter().chain([&STUBS]).any(|directory| directory.as_bytes() == *part));
    parts.splice(..0, FIRST.map(str::as_bytes));
    if !parts.contains(&ENVIRONMENTS.as_bytes()) {
        parts.push(ENVIRONMENTS.as_bytes());
    }
    parts.push(STUBS.as_bytes());
    OsString::from_vec(parts.join(&b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_come_first_and_all_else_stays_where_it_is() {
        let whole = "/opt/leonardo/bin:/opt/caddy/bin:/usr/bin:/opt/micromamba/bin:/opt/leonardo/stubs";
        for (given, wanted) in [
            ("/usr/bin", whole),
            (whole, whole),
            (
                "/opt/micromamba/bin::/usr/bin",
                "/opt/leonardo/bin:/opt/caddy/bin:/opt/micromamba/bin::/usr/bin:/opt/leonardo/stubs",
            ),
            (
                "/x:/opt/leonardo/bin:/usr/bin:/opt/leonardo/stubs:/y",
                "/opt/leonardo/bin:/opt/caddy/bin:/x:/usr/bin:/y:/opt/micromamba/bin:/opt/leonardo/stubs",
            ),
        ] {
            assert_eq!(completed(Some(OsStr::new(given))), *wanted);
        }
        let bytes = OsStr::from_bytes(b"/\xff");
        assert_eq!(
            completed(Some(bytes)).as_bytes(),
            b"/opt/leonardo/bin:/opt/caddy/bin:/\xff:/opt/micromamba/bin:/opt/leonardo/stubs"
        );
        assert!(completed(None).to_string_lossy().contains(":/usr/bin:"));
    }
}
