//! Finds the directories of the container's cgroup, in version 1, version 2 or both.

use std::path::{Path, PathBuf};

use kit::mounts::{self, Mount};

use crate::kernel_files::KernelFiles;

/// Controllers of version 1 that are measured.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuacct", "cpuset", "memory", "blkio", "pids"];

/// Directory of one controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directory {
    /// Version 2: all controllers are in one directory.
    V2(PathBuf),
    /// Version 1: each controller has a hierarchy of its own.
    V1(PathBuf),
}

/// Directories of the container's cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// Directory in the unified hierarchy, and the point where that is mounted.
    v2: Option<(PathBuf, PathBuf)>,
    v1: Vec<(&'static str, PathBuf)>,
}

impl Cgroup {
    /// Finds the directories. Nothing is found in sandboxes that do not mount a hierarchy (gVisor, Kata).
    pub fn find(files: &KernelFiles) -> Self {
        let table = files.text("proc/self/mountinfo").unwrap_or_default();
        let own = files.text("proc/self/cgroup").unwrap_or_default();
        let mounts = mounts::parse(table.as_bytes());
        let v2 = mounts.iter().find(|mount| mount.file_system == "cgroup2").map(|mount| {
            // The root of the machine's hierarchy has no `cgroup.events`. Any other one is the container's own, also
            // if its programs were moved to a cgroup below it.
            let is_own = files.has(mount.point.join("cgroup.events"));
            let path = own.lines().find_map(|line| line.strip_prefix("0::"));
            let directory = if is_own { None } else { path.map(|path| below(mount, path)) };
            let directory = directory.filter(|directory| files.has(directory));
            (directory.unwrap_or_else(|| mount.point.clone()), mount.point.clone())
        });
        let v1 = CONTROLLERS.into_iter().filter_map(|name| {
            let has = |options: &str| options.split(',').any(|option| option == name);
            let mount = mounts.iter().find(|mount| mount.file_system == "cgroup" && has(&mount.options))?;
            let path = own.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                let (names, path) = (fields.next()?, fields.next()?);
                has(names).then_some(path)
            });
            let directory = path.map(|path| below(mount, path)).filter(|directory| files.has(directory));
            Some((name, directory.unwrap_or_else(|| mount.point.clone())))
        });
        Self { v1: v1.collect(), v2 }
    }

    /// Returns the directory of a controller.
    pub fn directory(&self, controller: &str) -> Option<Directory> {
        let v1 = self.v1.iter().find(|(name, _)| *name == controller);
        let v1 = v1.map(|(_, directory)| Directory::V1(directory.clone()));
        v1.or_else(|| Some(Directory::V2(self.v2.as_ref()?.0.clone())))
    }

    /// Returns the directory in the unified hierarchy. It has the pressure files also if the controllers are elsewhere.
    pub fn unified(&self) -> Option<&Path> {
        self.v2.as_ref().map(|(directory, _)| directory.as_path())
    }

    /// Returns the directory and those above it, as far as they are visible: a limit above is valid too.
    pub fn with_parents<'path>(&'path self, directory: &'path Path) -> impl Iterator<Item = &'path Path> {
        let top = self.v2.as_ref().map(|(_, point)| point.as_path());
        directory.ancestors().take_while(move |path| {
            Some(*path) == top || path.parent().is_some_and(|up| top.is_some_and(|top| up.starts_with(top)))
        })
    }

    /// Returns whether version 1 has any controller.
    pub fn has_v1(&self) -> bool {
        !self.v1.is_empty()
    }
}

/// Returns the directory of a cgroup in a mount. Both paths begin at the same root, except in a namespace of cgroups.
fn below(mount: &Mount, path: &str) -> PathBuf {
    let inside = Path::new(path).strip_prefix(&mount.root).unwrap_or(Path::new(""));
    // A cgroup outside of the namespace is shown as `/../NAME`.
    let is_inside = inside.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if is_inside { mount.point.join(inside) } else { mount.point.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_files::tests::sample;

    const V2: &str =
        "30 23 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate\n";
    const V1: &str = "87 86 0:29 /docker/75 /sys/fs/cgroup/cpu,cpuacct ro,nosuid - cgroup cgroup rw,cpu,cpuacct\n\
        90 86 0:32 /docker/75 /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n";

    fn find(files: &[(&str, &str)]) -> Cgroup {
        Cgroup::find(&sample(files).1)
    }

    #[test]
    fn the_containers_cgroup_is_found_in_every_layout() {
        let v2 = |path: &str| Some(Directory::V2(path.into()));
        let v1 = |path: &str| Some(Directory::V1(path.into()));
        let own = find(&[
            ("proc/self/mountinfo", V2),
            ("proc/self/cgroup", "0::/init\n"),
            ("sys/fs/cgroup/cgroup.events", ""),
            ("sys/fs/cgroup/init/cgroup.events", ""),
        ]);
        assert_eq!(own.directory("memory"), v2("/sys/fs/cgroup"), "a namespace; programs moved below");
        let host = find(&[
            ("proc/self/mountinfo", V2),
            ("proc/self/cgroup", "0::/docker/75\n"),
            ("sys/fs/cgroup/docker/75/cgroup.events", ""),
        ]);
        assert_eq!(host.directory("cpu"), v2("/sys/fs/cgroup/docker/75"), "the machine's namespace");
        let parents: Vec<_> = host.with_parents(host.unified().unwrap()).collect();
        let expected = ["/sys/fs/cgroup/docker/75", "/sys/fs/cgroup/docker", "/sys/fs/cgroup"];
        assert_eq!(parents, expected.map(Path::new));
        let old = find(&[
            ("proc/self/mountinfo", V1),
            ("proc/self/cgroup", "4:memory:/docker/75\n1:cpuacct,cpu:/docker/75\n0::/\n"),
        ]);
        assert_eq!(old.directory("memory"), v1("/sys/fs/cgroup/memory"));
        assert_eq!(old.directory("cpuacct"), v1("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!((old.directory("pids"), old.unified()), (None, None));
        let unified = V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ");
        let hybrid = find(&[
            ("proc/self/mountinfo", &format!("{V1}{unified}")),
            ("proc/self/cgroup", "4:memory:/docker/75\n0::/docker/75\n"),
            ("sys/fs/cgroup/unified/docker/75/cpu.pressure", ""),
        ]);
        assert_eq!(hybrid.directory("memory"), v1("/sys/fs/cgroup/memory"));
        assert_eq!(hybrid.unified(), Some(Path::new("/sys/fs/cgroup/unified/docker/75")));
    }

    #[test]
    fn a_missing_or_foreign_cgroup_is_not_guessed() {
        assert_eq!(find(&[]), Cgroup::default());
        assert_eq!(
            find(&[("proc/self/mountinfo", "garbage\n\n1 2 3"), ("proc/self/cgroup", "::::")]),
            Cgroup::default()
        );
        let outside = find(&[("proc/self/mountinfo", V2), ("proc/self/cgroup", "0::/../../other\n")]);
        assert_eq!(outside.unified(), Some(Path::new("/sys/fs/cgroup")));
    }
}
