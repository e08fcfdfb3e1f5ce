//! The system user.

use std::os::unix::fs::chown;

use harness::{Container, KeyPair, RunOptions};

#[test]
fn the_user_has_the_ids_of_the_workspaces_owner() {
    let directory = tempfile::tempdir().unwrap();
    chown(directory.path(), Some(4242), Some(4343)).unwrap();
    let container =
        RunOptions::new().mount(directory.path(), "/workspace", "").env("USER_NAME", "ada").start_and_wait();
    assert_eq!(container.sh("id -u ada; id -g ada; id -gn ada").text(), "4242\n4343\nada");
    let groups = container.exec(&["id", "-Gn", "ada"]).text();
    assert!(
        ["ada", "leonardo", "sudo"].iter().all(|group| groups.split(' ').any(|found| found == *group)),
        "{groups}"
    );
    assert_eq!(container.exec(&["su", "-", "ada", "-c", "sudo -n id -u"]).text(), "0");
    assert_eq!(container.exec(&["bash", "-lc", "echo $WORKSPACE_UID $WORKSPACE_GID"]).text(), "4242 4343");
    assert_eq!(container.sh("stat -c '%a %U %G' /etc/sudoers.d/leonardo-user").text(), "440 root root");
    container.exec(&["visudo", "-c", "-q"]).text();
}

#[test]
fn a_group_that_has_the_volumes_number_is_the_users() {
    let directory = tempfile::tempdir().unwrap();
    chown(directory.path(), Some(99), Some(100)).unwrap();
    let container = RunOptions::new().mount(directory.path(), "/workspace", "").start_and_wait();
    assert_eq!(container.sh("id -u user; id -gn user").text(), "99\nusers");
    // A low number made by an earlier start is no account of the system.
    container.restart();
    container.wait_for_portal();
    assert_eq!(container.exec(&["su", "-", "user", "-c", "sudo -n id -u"]).text(), "0");
    assert!(!container.logs().contains("is a system account"), "{}", container.logs());
}

#[test]
fn another_owner_and_another_name_change_the_same_user() {
    let directory = tempfile::tempdir().unwrap();
    let own = |uid, gid| {
        for path in ["", "home", "home/user", "storage"] {
            let path = directory.path().join(path);
            if path.exists() {
                chown(path, Some(uid), Some(gid)).unwrap();
            }
        }
    };
    own(4242, 4343);
    let key = KeyPair::generate();
    let container = RunOptions::new()
        .mount(directory.path(), "/workspace", "")
        .env("SSH_PUBKEY", key.public())
        .command(&["bash", "-c", "exec init.sh $(cat /parameters)"])
        .start_and_wait();
    let account = |name: &str| container.exec(&["getent", "passwd", name]).text().replace(":x:", ":");
    assert_eq!(account("user"), "user:4242:4343:Leonardo system user:/workspace/home/user:/bin/bash");
    own(4300, 4301);
    container.restart();
    container.wait_for_portal();
    assert_eq!(account("user"), "user:4300:4301:Leonardo system user:/workspace/home/user:/bin/bash");
    assert_eq!(container.exec(&["su", "-", "user", "-c", "sudo -n id -u"]).text(), "0");
    container.write("/parameters", "USER_NAME=eve");
    container.restart();
    container.wait_for_portal();
    assert_eq!(account("eve"), "eve:4300:4301:Leonardo system user:/workspace/home/eve:/bin/bash");
    container.exec(&["id", "user"]).failure(1);
    assert_eq!(container.exec(&["id", "-gn", "eve"]).text(), "eve");
    container.wait_until("sshd", || key.ssh(&container, "eve", &[], &["true"], "").code == Some(0));
    assert_eq!(
        key.ssh(&container, "eve", &[], &["sudo -n id -un; pwd"], "").text(),
        "root\n/workspace/home/eve"
    );
    key.ssh(&container, "user", &[], &["true"], "").failure(255);
}

#[test]
fn a_start_that_was_killed_while_it_made_the_account_is_continued() {
    let container = RunOptions::new().start_and_wait();
    // What is left if the end came after the first of useradd's files: no password, no groups, a lock of a live process.
    let script = "sed -i /^user:/d /etc/shadow; gpasswd -d user sudo; gpasswd -d user leonardo; printf '1\\0' > /etc/passwd.lock; \
        usermod --home /nonexistent user 2> /dev/null; sed -i 's,/home/user,/nonexistent,' /etc/passwd";
    container.sh(script);
    container.restart();
    container.wait_for_portal();
    let script = "passwd -S user | cut -d' ' -f2; id -nG user | tr ' ' '\\n' | sort | xargs";
    assert_eq!(container.sh(script).text(), "P\nadm leonardo sudo user video");
    assert_eq!(
        container.exec(&["su", "-", "user", "-c", "sudo -n id -u; echo $HOME"]).text(),
        "0\n/home/user"
    );
}

#[test]
fn an_account_of_the_system_is_not_taken_over() {
    let container =
        RunOptions::new().env("USER_NAME", "root").env("WORKSPACE", "/root/work").start_and_wait();
    let logs = container.logs();
    assert!(logs.contains("USER_NAME: \"root\" is a system account; using \"user\""), "{logs}");
    // Where a provider mounts a volume below root's home.
    let closed = "WORKSPACE: \"user\" (uid 1000) cannot enter /root, which belongs to uid 0 with mode 0700; ";
    assert!(logs.contains(closed) && !logs.contains("refuses to change"), "{logs}");
    assert_eq!(
        container.exec(&["su", "-", "user", "-c", "sudo -n id -u; echo $USER_NAME"]).text(),
        "0\nuser"
    );
    // What is given agrees with what is in force.
    container.exec(&["init.sh"]).text();
}

#[test]
fn the_accounts_password_is_the_documented_one() {
    let container = RunOptions::new().env("USER_PASSWORD", "pa:ss w'ord").start_and_wait();
    let check = "import crypt, spwd; hash = spwd.getspnam('user').sp_pwdp; print(crypt.crypt(\"pa:ss w'ord\", hash) \
                 == hash)";
    let answer = container.exec(&["python3", "-W", "ignore", "-c", check]);
    assert_eq!(answer.text(), "True");
}

/// `su user` with the password on stdin, as this account.
fn su(container: &Container, account: &str, password: &str) -> Option<i32> {
    let script = format!(
        "printf '{password}\\n' | setpriv --reuid={account} --regid={account} --init-groups su user -c true"
    );
    container.sh(&script).code
}

#[test]
fn the_documented_password_opens_nothing_from_outside() {
    let key = KeyPair::generate();
    let container = RunOptions::new().env("SSH_PUBKEY", key.public()).start_and_wait();
    assert_eq!(su(&container, "user", "password"), Some(0), "it is the password");
    for account in ["portal", "caddy", "cloudflared", "nobody"] {
        assert_eq!(su(&container, account, "password"), Some(1), "{account}");
    }
    container.wait_until("sshd", || key.ssh(&container, "root", &[], &["true"], "").code == Some(0));
    // Even with no password at all, which is what an empty one would match.
    container.exec(&["passwd", "--delete", "user"]).text();
    let methods = [
        "-o",
        "PreferredAuthentications=none,password,keyboard-interactive",
        "-o",
        "PubkeyAuthentication=no",
    ];
    for user in ["root", "user"] {
        let refused = key.ssh(&container, user, &methods, &["true"], "");
        assert_eq!(refused.failure(255).trim(), format!("{user}@127.0.0.1: Permission denied (publickey)."));
    }
    assert_eq!(container.sh("passwd -S root | cut -d' ' -f2").text(), "L");
    assert_eq!(container.sh("ps -e -o comm= | grep -cE '^(agetty|getty|login)$'").stdout, b"0\n");
}

#[test]
fn the_password_is_kept_nowhere_but_in_its_hash() {
    let container =
        RunOptions::new().env("USER_PASSWORD", "Hidden-Word-7").env("OTHER", "shown").start_and_wait();
    let found = container
        .sh("grep -las Hidden-Word-7 -r /proc/1/environ /opt/leonardo/etc /run/leonardo /var/log /etc");
    assert_eq!(found.failure(1), "");
    assert!(!container.logs().contains("Hidden-Word-7"));
    assert_eq!(container.sh("grep -c OTHER /opt/leonardo/etc/environment.sh").text(), "1");
    assert_eq!(su(&container, "user", "Hidden-Word-7"), Some(0));
    // Changed inside, and not taken back by a restart that asks for the same again.
    container.sh("echo user:Another-Word-8 | chpasswd").text();
    container.restart();
    container.wait_for_portal();
    assert_eq!(su(&container, "user", "Another-Word-8"), Some(0));
}

#[test]
fn a_password_that_the_system_cannot_take_is_reported_and_the_container_starts() {
    let container = RunOptions::new().env("USER_PASSWORD", "Long".repeat(25_000)).start_and_wait();
    let logs = container.logs();
    assert!(
        logs.contains("USER_PASSWORD: a system password has at most 511 bytes; using the default"),
        "{logs}"
    );
    assert!(!logs.contains("LongLong"));
    assert_eq!(su(&container, "user", "password"), Some(0));
}

#[test]
fn the_longest_password_is_taken() {
    let longest = "x".repeat(511);
    let container = RunOptions::new().env("USER_PASSWORD", longest.as_str()).start_and_wait();
    assert!(!container.logs().contains("USER_"), "{}", container.logs());
    assert_eq!(su(&container, "user", &longest), Some(0));
}
