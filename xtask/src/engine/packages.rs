//! Docker's programs from the distribution's packages, unpacked and not installed.
//!
//! The machine is not changed: no group is created, and no service is enabled or started. apt fetches and checks
//! the signatures. Where the machine's own release is too old for a usable BuildKit, a second apt with its own
//! state reads the release after it from the same mirror.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use kit::atomic::{self, WriteOptions};
use kit::{HintExt, missing_ok};

use super::apt;
use super::engine_paths::EnginePaths;
use crate::checkout::Checkout;
use crate::step;

/// Source of packages, and their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The release to read; none means the machine's own sources.
    suite: Option<&'static str>,
    packages: &'static [&'static str],
}

const DEBIAN: &[&str] = &["docker.io", "containerd", "docker-cli", "docker-buildx", "docker-compose"];
const UBUNTU: &[&str] = &["docker.io", "containerd", "docker-buildx", "docker-compose-v2"];

/// Returns the packages for the machine that `os_release` describes (see os-release(5)); none for an unknown one.
#[must_use]
pub fn plan(os_release: &str) -> Option<Plan> {
    let field = |name: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(line.trim().trim_matches(['"', '\'']).to_owned())
    };
    let id = field("ID")?;
    let major = field("VERSION_ID").and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    let like = field("ID_LIKE").unwrap_or_default();
    let own = |packages| Some(Plan { suite: None, packages });
    match (id.as_str(), major) {
        ("debian", Some(12)) => Some(Plan { suite: Some("trixie"), packages: DEBIAN }),
        // Debian's testing and unstable have no version.
        ("debian", None | Some(13..)) => own(DEBIAN),
        ("ubuntu", Some(22..)) => own(UBUNTU),
        (id, _) if id != "ubuntu" && like.split(' ').any(|like| like == "ubuntu") => own(UBUNTU),
        _ => None,
    }
}

/// The plan for this machine.
pub fn plan_here() -> Option<Plan> {
    fs::read_to_string("/etc/os-release").ok().as_deref().and_then(plan)
}

/// Unpacks the programs unless they exist; can be killed at any time and called again.
pub fn unpack(paths: &EnginePaths, plan: Plan) -> Result<()> {
    let finish = |unpacked: &Path| client_settings(paths, unpacked);
    unpack_into(&paths.programs(), &paths.scratch(), plan, "Docker's packages (90 MB, once)", finish)
}

/// A container registry and cosign, for tests: from Debian 13, also where the machine has 12 or Ubuntu.
///
/// Returns the directory of the programs; they are unpacked below `target` if they are missing.
pub fn registry_and_cosign(checkout: &Checkout) -> Result<PathBuf> {
    let home = checkout.root().join("target/tools/registry");
    make(&home)?;
    let lock = kit::lock::Lock::open(&home.join("lock"))?;
    lock.acquire(std::time::Duration::from_mins(5))?;
    let plan = Plan { suite: Some("trixie"), packages: &["docker-registry", "cosign"] };
    let root = home.join("root");
    unpack_into(&root, &home.join("setup"), plan, "a registry and cosign (20 MB, once)", |_| Ok(()))?;
    Ok(root.join("usr/bin"))
}

fn unpack_into(
    programs: &Path,
    scratch: &Path,
    plan: Plan,
    what: &str,
    finish: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    if programs.is_dir() {
        return Ok(());
    }
    remove(scratch)?;
    let (debs, unpacked) = (scratch.join("debs"), scratch.join("root"));
    make(&debs)?;
    make(&unpacked)?;
    match plan.suite {
        Some(suite) => {
            let apt = apt::Isolated::new(&scratch.join("apt"), suite)?;
            step::run(&format!("read the package lists of Debian {suite}"), &mut apt.command("update"))?;
            let mut download = apt.command("download");
            step::run(&format!("fetch {what}"), download.args(plan.packages).current_dir(&debs))?;
        }
        None => apt::updating(|| {
            let mut download = apt::get("download");
            step::run(&format!("fetch {what}"), download.args(plan.packages).current_dir(&debs))
        })?,
    }
    step::with(&format!("unpack {what}"), || {
        files(&debs)?
            .iter()
            .try_for_each(|deb| kit::cmd::run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&unpacked)))
    })?;
    finish(&unpacked)?;
    fs::rename(&unpacked, programs)
        .with_context(|| format!("cannot rename {} to {}", unpacked.display(), programs.display()))?;
    remove(scratch)
}

/// Writes the unpacked client's settings, which name the directory of its plugins.
fn client_settings(paths: &EnginePaths, unpacked: &Path) -> Result<()> {
    let directories = ["usr/libexec/docker/cli-plugins", "usr/lib/docker/cli-plugins"];
    let present: Vec<_> = directories.iter().filter(|directory| unpacked.join(directory).is_dir()).collect();
    if present.is_empty() {
        bail!("the packages hold no client plugins: no {} and no {}", directories[0], directories[1]);
    }
    let directories: Vec<_> = present.iter().map(|directory| paths.programs().join(directory)).collect();
    let settings = serde_json::json!({ "cliPluginsExtraDirs": directories });
    make(&paths.client_settings())?;
    let file = paths.client_settings().join("config.json");
    atomic::write(&file, settings.to_string().as_bytes(), WriteOptions::volatile(0o644))
}

/// Installs missing packages; each pair is a program, or the full path of any file, and its package.
pub fn install(needed: &[(&str, &str)]) -> Result<()> {
    let is_there =
        |name: &str| if name.starts_with('/') { Path::new(name).exists() } else { find(name).is_some() };
    let missing: Vec<_> = needed.iter().filter(|(name, _)| !is_there(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    let by_hand = || format!("install {}", packages.join(", "));
    if !nix::unistd::geteuid().is_root() || which::which("apt-get").is_err() {
        let programs: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
        return Err(anyhow::anyhow!("{} not found", programs.join(", "))).hint(by_hand);
    }
    let title = format!("install {} with apt", packages.join(", "));
    let install =
        || step::run(&title, apt::get("install").args(["-y", "--no-install-recommends"]).args(&packages));
    apt::updating(install).hint(by_hand)
}

/// A machine's program, found also in the directories that a plain `su` leaves out of `PATH`.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    which::which_in_global(program, Some(search_path(&[]))).ok()?.next()
}

/// `PATH` with `first` before it and the administrator's directories behind it.
#[must_use]
pub fn search_path(first: &[PathBuf]) -> std::ffi::OsString {
    let inherited = env::var_os("PATH").unwrap_or_default();
    let behind = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let all = first.iter().cloned().chain(env::split_paths(&inherited)).chain(behind);
    // Only a directory with a colon in its name cannot be joined; then the plain PATH has to do.
    env::join_paths(all).unwrap_or(inherited)
}

fn make(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))
}

fn remove(directory: &Path) -> Result<()> {
    let removed = missing_ok(fs::remove_dir_all(directory));
    removed.map(drop).with_context(|| format!("cannot remove {}", directory.display()))
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(directory)
        .and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()
        })
        .with_context(|| format!("cannot read {}", directory.display()))?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_12_borrows_from_13_and_newer_machines_use_their_own_sources() {
        let own = |packages| Some(Plan { suite: None, packages });
        let cases = [
            ("ID=debian\nVERSION_ID=\"12\"\n", Some(Plan { suite: Some("trixie"), packages: DEBIAN })),
            ("ID=debian\nVERSION_ID=\"13\"\n", own(DEBIAN)),
            ("PRETTY_NAME=\"Debian GNU/Linux forky/sid\"\nID=debian\n", own(DEBIAN)),
            ("ID=debian\nVERSION_ID=\"11\"\n", None),
            ("ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\n", own(UBUNTU)),
            ("ID=ubuntu\nVERSION_ID=\"20.04\"\n", None),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_ID=\"22\"\n", own(UBUNTU)),
            ("ID=fedora\nVERSION_ID=44\n", None),
            ("", None),
        ];
        for (os_release, expected) in cases {
            assert_eq!(plan(os_release), expected, "{os_release}");
        }
    }

    #[test]
    fn the_administrators_folders_are_searched_last() {
        let path = search_path(&["/first".into()]);
        let directories: Vec<_> = env::split_paths(&path).collect();
        assert_eq!(directories.first(), Some(&PathBuf::from("/first")));
        assert_eq!(directories.last(), Some(&PathBuf::from("/sbin")));
    }
}
