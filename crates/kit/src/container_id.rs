//! Identity of this container, stable over all its starts.
//!
//! A stored name is not enough: saving a container as an image copies it. The engine's names of the container and of
//! its layer are not copied, and both are in the kernel's table of mounts.

use std::path::Path;

use crate::mounts::{self, Mount};

/// Files that engines mount from a directory with the name of the container or its pod.
const MOUNTED: [&str; 3] = ["/etc/hostname", "/etc/resolv.conf", "/etc/hosts"];
/// Hexadecimal digits in a container name of Docker, Podman and containerd.
const NAME_LENGTH: usize = 64;

/// Returns an id that stays the same over restarts of this container and of the machine, and that no other container
/// has: the engine's name of the container, and the name of its writable layer.
///
/// Only names and no paths, because an engine's directory may move. One of the two is enough: storage drivers other
/// than overlay2 show no layer, and containers that share a network share the first. Nothing where the kernel shows
/// neither (gVisor, a virtual machine for each container).
#[must_use]
pub fn id() -> Option<String> {
    word(&mounts::all().unwrap_or_default())
}

fn word(mounts: &[Mount]) -> Option<String> {
    let words: Vec<String> = [name(mounts), layer(mounts)].into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join("/"))
}

/// Returns the last mount at a path.
fn mount<'a>(mounts: &'a [Mount], point: &str) -> Option<&'a Mount> {
    mounts.iter().rfind(|mount| mount.point == Path::new(point))
}

fn name(mounts: &[Mount]) -> Option<String> {
    let is_name =
        |part: &&str| part.len() == NAME_LENGTH && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    MOUNTED
        .iter()
        .find_map(|point| mount(mounts, point)?.root.to_str()?.split('/').rfind(is_name).map(str::to_owned))
}

/// The directory above the overlay's upper one, or the directory that is the root where a driver keeps a tree for each
/// container (vfs, btrfs).
fn layer(mounts: &[Mount]) -> Option<String> {
    let root = mount(mounts, "/")?;
    let directory = match root.options.split(',').find_map(|option| option.strip_prefix("upperdir=")) {
        Some(upper) => Path::new(upper).parent()?,
        None => &root.root,
    };
    directory.file_name()?.to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mounts::parse;

    const ID: &str = "10cade873042f44328dc540918246ac776692ddf63c07737da955da7bab46da6";

    fn mounted(root: &str, hostname: &str) -> String {
        format!(
            "22 1 0:5 / /proc rw - proc proc rw\n{root}\n\
             97 80 254:0 {hostname} /etc/hostname rw,relatime - ext4 /dev/vda rw\n\
             24 23 0:9 / /mnt rw - overlay overlay rw,lowerdir=/l,upperdir=/layers/8/diff,workdir=/w\n"
        )
    }

    #[test]
    fn each_engine_and_driver_has_its_words() {
        let overlay = |upper: &str| {
            format!("23 1 0:9 / / rw - overlay overlay rw,lowerdir=/l,upperdir={upper},workdir=/w")
        };
        let (docker, podman) = (
            format!("/var/lib/docker/containers/{ID}/hostname"),
            format!("/containers/overlay/{ID}/hostname"),
        );
        let cases = [
            (overlay("/var/lib/docker/overlay2/e2df/diff"), docker.as_str(), Some(format!("{ID}/e2df"))),
            (overlay("/mnt/docker/overlay2/e2df/diff"), &docker, Some(format!("{ID}/e2df"))),
            (overlay("/c/snapshots/57/fs"), "/hostname", Some("57".into())),
            ("23 1 0:9 / / rw - fuse fuse-overlayfs rw".into(), &podman, Some(ID.into())),
            (
                "23 1 8:1 /docker/vfs/dir/e2df / rw - ext4 /dev/vda rw".into(),
                &docker,
                Some(format!("{ID}/e2df")),
            ),
            ("23 1 8:1 / / rw - ext4 /dev/vda rw".into(), "/hostname", None),
        ];
        for (root, hostname, expected) in cases {
            assert_eq!(word(&parse(mounted(&root, hostname).as_bytes())), expected, "{root} {hostname}");
        }
        assert_eq!(word(&[]), None);
    }

    #[test]
    fn containers_that_share_a_network_differ_by_their_layer() {
        let of = |layer: &str| {
            let root = format!("23 1 0:9 / / rw - overlay overlay rw,upperdir=/o/{layer}/diff");
            word(&parse(mounted(&root, &format!("/c/{ID}/hostname")).as_bytes()))
        };
        assert_ne!(of("a"), of("b"));
        assert_eq!(of("a"), of("a"));
    }
}
