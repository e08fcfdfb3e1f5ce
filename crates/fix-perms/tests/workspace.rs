//! The workspace: what its owner can do afterwards, and what nobody can.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

mod machine;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use machine::{Machine, Ran, UID, acl, mode_and_group, tool, tool_in_time};

/// Whether the volume's owner can do this; with the uid the standard library takes root's groups away.
fn owner_can(script: &str, path: &Path) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(path).uid(UID).gid(UID);
    shell.output().unwrap().status.success()
}

#[test]
fn the_owner_can_use_what_root_made_and_will_make() {
    let machine = Machine::with_volume();
    machine.directory("ws/models", 0o755);
    let old = machine.file("ws/models/old", 0o640);
    assert!(!owner_can("echo more >> \"$1\"", &old), "otherwise the test shows nothing");
    machine.workspace(&[]).said("@/ws: 3 entries checked, 4 changes made: access_acl 2, default_acl 2\n");
    assert_eq!(acl(&old, "access").unwrap(), "u::6,u:1234:6,g::4,m::6,o::0");
    assert_eq!(acl(&machine.path("ws"), "default").unwrap(), "u::7,u:1234:7,g::5,m::7,o::5");
    assert_eq!(acl(&machine.path("ws"), "access"), None, "it is the owner's already");

    let new = machine.path("ws/models/new");
    File::create(&new).unwrap();
    fs::create_dir(machine.path("ws/models/folder")).unwrap();
    for path in [&old, &new] {
        assert!(owner_can("echo more >> \"$1\"", path), "{}", path.display());
    }
    assert!(owner_can("touch \"$1/x\" && mv \"$1/x\" \"$1/y\"", &machine.path("ws/models/folder")));
    machine.workspace(&[]).said("@/ws: 6 entries checked, nothing to change\n");
}

#[test]
fn what_its_owner_keeps_to_itself_stays_so() {
    let machine = Machine::with_volume();
    let netrc = machine.file("ws/.netrc", 0o600);
    let hidden = machine.directory("ws/hidden", 0o700);
    let inside = machine.file("ws/hidden/inside", 0o644);
    let program = machine.file("ws/program", 0o4755);
    machine.workspace(&[]).said("@/ws: 4 entries checked, 1 changes made: default_acl 1\n");
    for path in [&netrc, &hidden, &inside, &program] {
        assert_eq!((acl(path, "access"), acl(path, "default")), (None, None), "{}", path.display());
    }
    assert!(!owner_can("cat \"$1\"", &netrc) && !owner_can("ls \"$1\"", &hidden));
}

#[test]
fn keys_are_closed_and_never_opened() {
    let machine = Machine::with_volume();
    let home = machine.directory("ws/home", 0o755);
    // The default list comes first, so that the folder inherits it, as it will in life.
    machine.workspace(&[]);
    let ssh = home.join(".ssh");
    fs::create_dir(&ssh).unwrap();
    let key = machine.file("ws/home/.ssh/id_ed25519", 0o640);
    let keys = ssh.join("authorized_keys");
    fs::write(&keys, "ssh-ed25519 AAAA\n").unwrap();
    assert_eq!(mode_and_group(&keys).0, 0o664, "sshd refuses it like that");
    machine.workspace(&[]).said("@/ws: 5 entries checked, 4 changes made: mode 3, default_acl_removed 1\n");
    assert_eq!(mode_and_group(&ssh).0 & 0o022, 0);
    assert_eq!(mode_and_group(&keys).0, 0o644);
    assert_eq!(mode_and_group(&key).0, 0o600);
    assert_eq!(acl(&ssh, "default"), None);
    machine.workspace(&[]).said("@/ws: 5 entries checked, nothing to change\n");
}

#[test]
fn an_acl_that_is_there_keeps_its_entries_and_gives_nobody_else_more() {
    let machine = Machine::with_volume();
    let file = machine.file("ws/file", 0o640);
    tool(Command::new("setfacl").args(["-m", "u:33:rwx,g:44:rw,m::r"]).arg(&file));
    machine.workspace(&[]);
    assert_eq!(acl(&file, "access").unwrap(), "u::6,u:33:4,u:1234:6,g::4,g:44:4,m::6,o::0");
}

#[test]
fn a_file_with_a_name_outside_is_left_alone_and_one_with_all_names_inside_is_not() {
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
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(r#""access_acl":2,"#) && said.contains(r#""left_alone":1,"#), "{said}");
}

#[test]
fn links_in_the_workspace_lead_nowhere() {
    let machine = Machine::with_volume();
    let outside = machine.file("outside/file", 0o644);
    symlink(machine.path("outside"), machine.path("ws/folder")).unwrap();
    symlink(&outside, machine.path("ws/file")).unwrap();
    symlink("loop", machine.path("ws/loop")).unwrap();
    machine.workspace(&[]).said("@/ws: 4 entries checked, 1 changes made: default_acl 1\n");
    assert_eq!((acl(&outside, "access"), acl(&machine.path("outside"), "default")), (None, None));
}

#[test]
fn without_a_mounted_volume_it_is_said_and_nothing_is_done() {
    let machine = Machine::new();
    let path = machine.directory("ws", 0o755);
    let output =
        machine.command(&["--only", "workspace"]).env("WORKSPACE_MOUNTED", "false").output().unwrap();
    let said = format!("workspace: skipped, {} is not a mounted volume\n", path.display());
    assert_eq!((output.status.code(), String::from_utf8(output.stdout).unwrap()), (Some(0), said));
    // A claim that the mounts do not bear out, such as WORKSPACE=/.
    let ran = machine.workspace(&[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), "fix-perms: @/ws is not on a mounted volume\n"));
    assert_eq!(acl(&path, "default"), None);
}

#[test]
fn a_volume_that_refuses_root_is_said_and_nothing_is_done() {
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
    ran.said("workspace: skipped, cannot open @/ws: Permission denied (os error 13)\n");
}

#[test]
fn what_is_made_in_a_directory_that_its_owner_closed_is_its_makers() {
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
    tool_in_time(Command::new("mount").args(["-o", "remount,ro"]).arg(machine.path("ws")));
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
    assert_eq!(machine.workspace(&[]), first, "a second run says the same");
}

#[test]
fn files_of_others_are_theirs() {
    let machine = Machine::with_volume();
    let file = machine.file("ws/file", 0o640);
    chown(&file, Some(33), Some(33)).unwrap();
    machine.workspace(&[]).said("@/ws: 2 entries checked, 1 changes made: default_acl 1\n");
    assert_eq!(acl(&file, "access"), None);
}
