//! Times in a reproducible image: the commit's instead of those of the build.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use kit::HintExt;

/// Seconds since 1970, see <https://reproducible-builds.org/docs/source-date-epoch/>.
pub const VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// Attribute of an output: files that the build wrote get the time too. The engine's own builder refuses it for images in
/// containerd's store and ignores it for others.
pub const REWRITE: &str = "rewrite-timestamp=true";

/// Returns the override that sets the time of every target: `SOURCE_DATE_EPOCH` of the environment, or the commit's.
pub fn set(root: &Path, env: &kit::Env) -> Result<String> {
    let time = match env.text(VARIABLE) {
        Some(time) => time.to_owned(),
        None => commit_time(root)?,
    };
    time.parse::<u64>().with_context(|| format!("{VARIABLE}={time:?} is not a number of seconds"))?;
    Ok(format!("*.args.{VARIABLE}={time}"))
}

fn commit_time(root: &Path) -> Result<String> {
    let mut git = Command::new("git");
    let time = kit::cmd::stdout(git.current_dir(root).args(["log", "-1", "--format=%ct"]));
    let time = time.context("cannot find the time of the commit").hint(|| format!("set {VARIABLE}"))?;
    Ok(time.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_the_variables_or_the_commits() {
        let set = |root: &Path, value: &str| {
            set(root, &[(VARIABLE, value)].into_iter().collect()).map_err(|error| error.to_string())
        };
        let nowhere = Path::new("/proc");
        assert_eq!(set(nowhere, "1700000000"), Ok("*.args.SOURCE_DATE_EPOCH=1700000000".to_owned()));
        assert_eq!(
            set(nowhere, "today"),
            Err("SOURCE_DATE_EPOCH=\"today\" is not a number of seconds".to_owned())
        );
        assert!(set(nowhere, "").unwrap_err().starts_with("cannot find the time of the commit"));
        let here = set(Path::new(env!("CARGO_MANIFEST_DIR")), "").unwrap();
        assert!(here.len() == "*.args.SOURCE_DATE_EPOCH=1700000000".len(), "{here}");
    }
}
