//! The workspace: access of its owner after a run, and files that stay private.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

mod machine;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use machine::{Machine, Ran, UID, acl, mode_and_group, retry_tool, tool};

/// True if the script succeeds as the volume's owner; setting the uid also drops root's groups.
fn owner_can(script: &str, path: &Path) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(path).uid(UID).gid(UID);
    shell.output().unwrap().status.success()
}

#[test]
fn the_owner_can_use_present_and_future_files_of_root() {
    let machine = Machine::with_volume();
    machine.directory("ws/models", 0o755);
    let old = machine.file("ws/models/old", 0o640);
    assert!(!owner_can("echo more >> \"$1\"", &old), "the test needs a file that is closed at first");
    machine.workspace(&[]).printed("@/ws: 3 entries checked, 4 changes made: access_acl 2, default_acl 2\n");
    assert_eq!(acl(&old, "access").unwrap(), "u::6,u:1234:6,g::4,m::6,o::0");
    assert_eq!(acl(&machine.path("ws"), "default").unwrap(), "u::7,u:1234:7,g::5,m::7,o::5");
    assert_eq!(acl(&machine.path("ws"), "access"), None, "the owner needs none");

    let new = machine.path("ws/models/new");
    File::create(&new).unwrap();
    fs::create_dir(machine.path("ws/models/folder")).unwrap();
    for path in [&old, &new] {
        assert!(owner_can("echo more >> \"$1\"", path), "{}", path.display());
    }
    assert!(owner_can("touch \"$1/x\" && mv \"$1/x\" \"$1/y\"", &machine.path("ws/models/folder")));
    machine.workspace(&[]).printed("@/ws: 6 entries checked, nothing to change\n");
}

#[test]
fn private_files_stay_private() {
    let machine = Machine::with_volume();
    let netrc = machine.file("ws/.netrc", 0o600);
    let hidden = machine.directory("ws/hidden", 0o700);
    let inside = machine.file("ws/hidden/inside", 0o644);
    let program = machine.file("ws/program", 0o4755);
    machine.workspace(&[]).printed("@/ws: 4 entries checked, 1 changes made: default_acl 1\n");
    for path in [&netrc, &hidden, &inside, &program] {
        assert_eq!((acl(path, "access"), acl(path, "default")), (None, None), "{}", path.display());
    }
    assert!(!owner_can("cat \"$1\"", &netrc) && !owner_can("ls \"$1\"", &hidden));
}

#[test]
fn keys_are_closed_and_never_opened() {
    let machine = Machine::with_volume();
    let home = machine.directory("ws/home", 0o755);
    // The default list comes first, so that the directory inherits it.
    machine.workspace(&[]);
    let ssh = home.join(".ssh");
    fs::create_dir(&ssh).unwrap();
    let key = machine.file("ws/home/.ssh/id_ed25519", 0o640);
    let keys = ssh.join("authorized_keys");
    fs::write(&keys, "ssh-ed25519 AAAA\n").unwrap();
    assert_eq!(mode_and_group(&keys).0, 0o664, "a mode that sshd refuses");
    machine
        .workspace(&[])
        .printed("@/ws: 5 entries checked, 4 changes made: mode 3, default_acl_removed 1\n");
    assert_eq!(mode_and_group(&ssh).0 & 0o022, 0);
    assert_eq!(mode_and_group(&keys).0, 0o644);
    assert_eq!(mode_and_group(&key).0, 0o600);
    assert_eq!(acl(&ssh, "default"), None);
    machine.workspace(&[]).printed("@/ws: 5 entries checked, nothing to change\n");
}

#[test]
fn an_existing_acl_keeps_its_entries_and_gives_no_other_user_more() {
    let machine = Machine::with_volume();
    let file = machine.file("ws/file", 0o640);
    tool(Command::new("setfacl").args(["-m", "u:33:rwx,g:44:rw,m::r"]).arg(&file));
    machine.workspace(&[]);
    assert_eq!(acl(&file, "access").unwrap(), "u::6,u:33:4,u:1234:6,g::4,g:44:4,m::6,o::0");
}

#[test]
fn a_file_with_a_link_outside_is_left_alone_and_one_with_all_links_inside_is_not() {
    let machine = Machine::with_volume();
    machine.directory("ws/inner", 0o755);
    let secret = machine.file("ws/secret", 0o644);
    fs::hard_link(&secret, machine.path("ws/inner/bait")).unwrap();
    let both = machine.file("ws/inner/one", 0o644);
    fs::hard_link(&both, machine.path("ws/inner/two")).unwrap();
    let output = machine
        .command(&["--only", "workspace", "--json"])
        .env("WORKSPACE", machine.path("ws/inner"))
        .output()
        .unwrap();
    assert_eq!(acl(&secret, "access"), None);
    assert_eq!(acl(&both, "access").unwrap(), "u::6,u:1234:6,g::4,m::6,o::4");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains(r#""access_acl":2,"#) && printed.contains(r#""left_alone":1,"#), "{printed}");
}

#[test]
fn links_in_the_workspace_lead_nowhere() {
    let machine = Machine::with_volume();
    let outside = machine.file("outside/file", 0o644);
    symlink(machine.path("outside"), machine.path("ws/folder")).unwrap();
    symlink(&outside, machine.path("ws/file")).unwrap();
    symlink("loop", machine.path("ws/loop")).unwrap();
    machine.workspace(&[]).printed("@/ws: 4 entries checked, 1 changes made: default_acl 1\n");
    assert_eq!((acl(&outside, "access"), acl(&machine.path("outside"), "default")), (None, None));
}

#[test]
fn without_a_mounted_volume_the_workspace_is_skipped() {
    let machine = Machine::new();
    let path = machine.directory("ws", 0o755);
    let output =
        machine.command(&["--only", "workspace"]).env("WORKSPACE_MOUNTED", "false").output().unwrap();
    let printed = format!("workspace: skipped, {} is not a mounted volume\n", path.display());
    assert_eq!((output.status.code(), String::from_utf8(output.stdout).unwrap()), (Some(0), printed));
    // WORKSPACE_MOUNTED=true without a mount, such as for WORKSPACE=/.
    let ran = machine.workspace(&[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), "fix-perms: @/ws is not on a mounted volume\n"));
    assert_eq!(acl(&path, "default"), None);
}

#[test]
fn a_volume_that_refuses_root_is_skipped() {
    let machine = Machine::with_volume();
    fs::set_permissions(machine.path("ws"), Permissions::from_mode(0o700)).unwrap();
    let tool = machine.command(&["--only", "workspace"]);
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set", "-dac_override,-dac_read_search"])
        .arg(tool.get_program())
        .args(tool.get_args());
    command.env_clear().envs(tool.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = Ran::new(&command.output().unwrap(), machine.root());
    ran.printed("workspace: skipped, cannot open @/ws: Permission denied (os error 13)\n");
}

#[test]
fn the_creator_of_a_file_in_a_closed_directory_can_use_it() {
    let machine = Machine::with_volume();
    let closed = machine.directory("ws/closed", 0o555);
    chown(&closed, Some(UID), Some(UID)).unwrap();
    machine.workspace(&[]);
    let script = "chmod u+w \"$1\" && cd \"$1\" && echo one > file && echo two >> file";
    assert!(owner_can(script, &closed));
}

#[test]
fn a_read_only_volume_is_one_warning() {
    let machine = Machine::with_volume();
    machine.file("ws/a", 0o644);
    retry_tool(Command::new("mount").args(["-o", "remount,ro"]).arg(machine.path("ws")));
    let ran = machine.workspace(&[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "@/ws: 2 entries checked, nothing to change\n"));
    assert_eq!(
        ran.stderr,
        "fix-perms: warning: default_acl: rejected by the file system 1 times, first at \"@/ws\": read-only filesystem or storage medium\n"
    );
}

#[test]
fn a_file_system_without_permissions_is_one_warning() {
    let mut machine = Machine::new();
    let disk = machine.path("disk");
    File::create(&disk).unwrap().set_len(8 << 20).unwrap();
    tool(Command::new("mkfs.ntfs").args(["--fast", "--force", "--quiet"]).arg(&disk));
    machine.mount("ws", &["-t", "ntfs-3g", "-o", "loop", disk.to_str().unwrap()]);
    machine.file("ws/file", 0o644);
    machine.file("ws/.ssh/id_ed25519", 0o644);
    let first = machine.workspace(&[]);
    assert_eq!(first.code, Some(0));
    assert!(first.stdout.ends_with("nothing to change\n"), "{first:?}");
    assert!(
        first
            .stderr
            .contains("default_acl: rejected by the file system 1 times, first at \"@/ws\": unsupported"),
        "{first:?}"
    );
    assert_eq!(machine.workspace(&[]), first, "a second run prints the same");
}

#[test]
fn files_of_other_users_are_left_alone() {
    let machine = Machine::with_volume();
    let file = machine.file("ws/file", 0o640);
    chown(&file, Some(33), Some(33)).unwrap();
    machine.workspace(&[]).printed("@/ws: 2 entries checked, 1 changes made: default_acl 1\n");
    assert_eq!(acl(&file, "access"), None);
}
