//! Switches to complete copies before any program runs.

use std::path::Path;

use anyhow::Context;
use kit::{Env, Problem, SettingsReader};
use workspace::Workspace;

use crate::active_link;
use crate::decision::{self, Action};
use crate::first_start;
use crate::opt_sync;
use crate::sync_state::SyncState;
use crate::tree_paths::TreePaths;
use crate::tree_state;
use crate::volume_clock::Timestamp;

/// Points each tree's active link to its complete copy on the workspace, or back to the image if the copy is gone.
///
/// This takes a few system calls and one rename for each tree. `workspace-sync run` retries and reports failures;
/// problems of `OPT_SYNC` are reported here. `run` also copies the changes that earlier starts of this container made
/// in the image's tree; they are recorded in `state_dir`.
#[must_use]
pub fn adopt(opt: &Path, workspace: &Workspace, env: &Env, state_dir: &Path) -> Vec<Problem> {
    let (names, mut problems) = opt_sync::parse(SettingsReader::new(env).text("OPT_SYNC").as_deref());
    let first_start = first_start::load(state_dir);
    if first_start.is_none()
        && let Err(error) = first_start::record_now(state_dir, opt)
    {
        problems.push(Problem::new("WORKSPACE_SYNC", format!("{error:#}")));
    }
    for name in std::iter::once(opt_sync::ENVIRONMENTS).chain(names.iter().map(String::as_str)) {
        let tree = TreePaths::new(name, opt, &workspace.path, &workspace.slug);
        if let Err(error) = adopt_tree(&tree, workspace, state_dir, first_start) {
            problems.push(Problem::new("WORKSPACE_SYNC", format!("{error:#}")));
        }
    }
    problems
}

fn adopt_tree(
    tree: &TreePaths,
    workspace: &Workspace,
    state_dir: &Path,
    first_start: Option<Timestamp>,
) -> anyhow::Result<()> {
    if tree_state::is_inaccessible(tree, &workspace.path) {
        return Ok(());
    }
    let state = tree_state::inspect(tree, &workspace.path, workspace.mounted, false)?;
    match decision::decide(&state) {
        Action::Switch(copy) => {
            let mut remembered = Ok(());
            if first_start.is_some() {
                let mut about = SyncState::load(state_dir, &tree.name);
                about.expect_delta(&copy, first_start);
                remembered = about.store(state_dir, &tree.name);
            }
            // The copy is what the user works in: a full disk of the container must not hide it.
            active_link::switch_to(tree, &tree.copy)?;
            remembered.with_context(|| {
                format!("changes in {} were not copied to the workspace", tree.image.display())
            })
        }
        Action::UseImage { .. } => active_link::switch_to(tree, &tree.image),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::active_link::ActiveLink;
    use crate::copy_marker::Marker;
    use crate::reserved_names;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_first_program_finds_the_copy_and_the_image_once_the_volume_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (opt, volume) = (dir.path().join("opt"), dir.path().join("ws"));
        let workspace =
            Workspace { path: volume.clone(), uid: 1000, gid: 1000, mounted: true, slug: "s".into() };
        let tree = TreePaths::new("micromamba", &opt, &volume, "s");
        let state_dir = dir.path().join("memory");
        fs::create_dir_all(&tree.image).unwrap();
        active_link::switch_to(&tree, &tree.image).unwrap();
        fs::create_dir_all(&tree.copy).unwrap();
        let adopt = || {
            assert_eq!(adopt(&opt, &workspace, &Env::default(), &state_dir), []);
            ActiveLink::of(&tree).unwrap()
        };
        assert_eq!(adopt(), ActiveLink::Image, "a directory without a marker is no copy");
        let marker = Marker {
            tree: "micromamba".into(),
            generation: "g".into(),
            manifest: "m".into(),
            entries: 0,
            bytes: 0,
            completed_at: 0,
        };
        fs::write(tree.copy.join(reserved_names::MARKER), marker.render().unwrap()).unwrap();
        assert_eq!(adopt(), ActiveLink::Workspace);
        let leftover = || SyncState::load(&state_dir, "micromamba").leftover;
        assert!(leftover().is_some(), "programs used the image's tree before this start");
        active_link::switch_to(&tree, &tree.image).unwrap();
        // As where the container's disk is full.
        fs::remove_file(state_dir.join("micromamba.json")).unwrap();
        fs::create_dir(state_dir.join("micromamba.json")).unwrap();
        let problems = super::adopt(&opt, &workspace, &Env::default(), &state_dir);
        assert_eq!(ActiveLink::of(&tree).unwrap(), ActiveLink::Workspace, "the copy is used all the same");
        assert!(format!("{problems:?}").contains("were not copied to the workspace: "), "{problems:?}");
        active_link::switch_to(&tree, &tree.image).unwrap();
        fs::remove_dir_all(&state_dir).unwrap();
        assert_eq!(adopt(), ActiveLink::Workspace);
        assert_eq!(leftover(), None, "at the first start of a container, none has");
        fs::remove_dir_all(&volume).unwrap();
        assert_eq!(adopt(), ActiveLink::Image);
    }

    #[test]
    fn a_volume_that_refuses_root_is_no_problem_of_sync_until_a_copy_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let (opt, volume) = (dir.path().join("opt"), dir.path().join("ws"));
        let workspace =
            Workspace { path: volume.clone(), uid: 1000, gid: 1000, mounted: true, slug: "s".into() };
        let tree = TreePaths::new("micromamba", &opt, &volume, "s");
        fs::create_dir_all(&tree.image).unwrap();
        fs::create_dir(&volume).unwrap();
        fs::set_permissions(&volume, fs::Permissions::from_mode(0o700)).unwrap();
        active_link::switch_to(&tree, &tree.image).unwrap();
        let refused = || {
            // The kernel takes from this thread what root may do with files of others.
            nix::unistd::setfsuid(nix::unistd::Uid::from_raw(1234));
            adopt_tree(&tree, &workspace, dir.path(), None).map_err(|error| format!("{error:#}"))
        };
        let adopt = || std::thread::scope(|scope| scope.spawn(refused).join().unwrap());
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(adopt(), Ok(()));
        active_link::switch_to(&tree, &tree.copy).unwrap();
        let said = format!("cannot open {}: Permission denied (os error 13)", tree.copy.display());
        assert_eq!(adopt(), Err(said));
    }
}
