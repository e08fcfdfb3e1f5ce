//! `PATH` of everything that `init` starts.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use kit::Env;

/// The image's programs, in front: nothing that a user installs stands in for them.
const FIRST: [&str; 2] = ["/opt/leonardo/bin", "/opt/caddy/bin"];
/// The programs of the environments, last.
const LAST: [&str; 1] = ["/opt/micromamba/bin"];
/// What distributions take where `PATH` is not set (`ENV_SUPATH` in login.defs(5)).
const SYSTEM: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Adds to `PATH` the image's directories that it lacks; the container may bring one of its own (`-e PATH=…`).
pub fn complete(env: &mut Env) {
    let path = completed(env.get("PATH").filter(|path| !path.is_empty()));
    env.set("PATH", path);
}

fn completed(given: Option<&OsStr>) -> OsString {
    let given = given.map_or(SYSTEM.as_bytes(), OsStr::as_bytes);
    let lacking = |directories: &[&'static str]| -> Vec<&[u8]> {
        let is_there =
            |directory: &str| given.split(|&byte| byte == b':').any(|part| part == directory.as_bytes());
        directories
            .iter()
            .filter(|directory| !is_there(directory))
            .map(|directory| directory.as_bytes())
            .collect()
    };
    let parts = [lacking(&FIRST), vec![given], lacking(&LAST)].concat();
    OsString::from_vec(parts.join(&b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_added_and_what_is_there_stays() {
        let whole = "/opt/leonardo/bin:/opt/caddy/bin:/usr/bin:/opt/micromamba/bin";
        for (given, wanted) in [
            ("/usr/bin", whole),
            (whole, whole),
            ("/x:/opt/leonardo/bin", "/opt/caddy/bin:/x:/opt/leonardo/bin:/opt/micromamba/bin"),
        ] {
            assert_eq!(completed(Some(OsStr::new(given))), *wanted);
        }
        let bytes = OsStr::from_bytes(b"/\xff");
        assert_eq!(
            completed(Some(bytes)).as_bytes(),
            b"/opt/leonardo/bin:/opt/caddy/bin:/\xff:/opt/micromamba/bin"
        );
        assert!(completed(None).to_string_lossy().contains(":/usr/bin:"));
    }
}
