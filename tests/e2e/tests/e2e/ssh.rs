//! SSH, with the real client.

use std::os::unix::fs::PermissionsExt;

use harness::{KeyPair, RunOptions};

#[test]
fn a_key_reaches_root_and_the_user_and_a_password_no_account() {
    let key = KeyPair::generate();
    let container =
        RunOptions::new().env("SSH_PUBKEY", key.public()).env("USER_PASSWORD", "known").start_and_wait();
    container.wait_until("sshd", || key.ssh(&container, "root", &[], &["true"], "").code == Some(0));
    assert_eq!(key.ssh(&container, "root", &[], &["id", "-un"], "").text(), "root");
    assert_eq!(key.ssh(&container, "user", &[], &["sudo", "-n", "id", "-un"], "").text(), "root");
    let second = key.ssh(&container, "user", &[], &["/opt/leonardo/bin/sshd-run"], "");
    assert!(
        second.failure(1).contains("only root can start the SSH server\nhint: run: sudo sshd-run"),
        "{second:?}"
    );
    let methods =
        ["-o", "PreferredAuthentications=password,keyboard-interactive", "-o", "PubkeyAuthentication=no"];
    for user in ["root", "user"] {
        let refused = key.ssh(&container, user, &methods, &["true"], "");
        assert_eq!(refused.failure(255).trim(), format!("{user}@127.0.0.1: Permission denied (publickey)."));
    }
    let stranger = KeyPair::generate();
    stranger.ssh(&container, "root", &[], &["true"], "").failure(255);
}

#[test]
fn no_file_can_bring_passwords_back() {
    let key = KeyPair::generate();
    let container = RunOptions::new().env("SSH_PUBKEY", key.public()).start_and_wait();
    container
        .write("/etc/ssh/sshd_config.d/00-own.conf", "PasswordAuthentication yes\nPermitRootLogin yes\n");
    container.sh("supervisorctl restart sshd").text();
    let effective = container.exec(&["sshd-run", "--show"]).text();
    for line in
        ["passwordauthentication no", "permitrootlogin without-password", "kbdinteractiveauthentication no"]
    {
        assert!(effective.lines().any(|found| found == line), "{line} in\n{effective}");
    }
    let open =
        "PasswordAuthentication yes\nPermitRootLogin yes\nMatch User root\n  PasswordAuthentication yes\n";
    container.write("/etc/ssh/sshd_config.d/00-own.conf", open);
    container.write("/etc/ssh/sshd_config", open);
    container.sh("supervisorctl restart sshd").text();
    container.wait_until("sshd", || key.ssh(&container, "root", &[], &["true"], "").code == Some(0));
    let effective = container.exec(&["sshd-run", "--show"]).text();
    for line in
        ["passwordauthentication no", "permitrootlogin without-password", "kbdinteractiveauthentication no"]
    {
        assert!(effective.lines().any(|found| found == line), "{line} in\n{effective}");
    }
    let methods = ["-o", "PreferredAuthentications=password", "-o", "PubkeyAuthentication=no"];
    let refused = key.ssh(&container, "root", &methods, &["true"], "");
    assert_eq!(refused.failure(255).trim(), "root@127.0.0.1: Permission denied (publickey).");
}

#[test]
fn keys_log_in_whatever_account_owns_opt() {
    let key = KeyPair::generate();
    let container = RunOptions::new().env("SSH_PUBKEY", key.public()).start_and_wait();
    container.sh("chown -R user /opt && chmod -R g+w /opt").text();
    container.wait_until("sshd", || key.ssh(&container, "root", &[], &["true"], "").code == Some(0));
    container.sh("supervisorctl restart sshd").text();
    container.wait_until("sshd", || key.ssh(&container, "user", &[], &["true"], "").code == Some(0));
}

#[test]
fn files_are_copied_both_ways() {
    let key = KeyPair::generate();
    let container = RunOptions::new().env("SSH_PUBKEY", key.public()).start_and_wait();
    container.wait_until("sshd", || key.ssh(&container, "user", &[], &["true"], "").code == Some(0));
    let directory = tempfile::tempdir().unwrap();
    let (there, back) = (directory.path().join("there"), directory.path().join("back"));
    std::fs::write(&there, "line\n".repeat(100_000)).unwrap();
    key.sftp(&container, "user", &format!("put {} x\nget x {}\n", there.display(), back.display())).text();
    assert_eq!(std::fs::read(&there).unwrap(), std::fs::read(&back).unwrap());
}

#[test]
fn keys_come_from_every_documented_place_and_each_once() {
    let [mounted, own, runpod, vast] = [(); 4].map(|()| KeyPair::generate());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("authorized_keys");
    std::fs::write(&file, format!("# mine\n{}\n", mounted.public())).unwrap();
    let container = RunOptions::new()
        .mount(&file, "/root/.ssh/authorized_keys_mount", "ro")
        .env("SSH_PUBKEY", own.public())
        // As a form for one line sends what was pasted into it.
        .env("PUBLIC_KEY", format!("{} {} ", runpod.public(), own.public()))
        .env("SSH_PUBLIC_KEY", vast.public())
        .start_and_wait();
    let expected = [&mounted, &own, &runpod, &vast].map(KeyPair::public).join("\n");
    for user in ["root", "user"] {
        assert_eq!(container.exec(&["sshd-run", "--keys", user]).text(), expected);
    }
    assert_eq!(container.exec(&["sshd-run", "--keys", "portal"]).text(), "");
    container.wait_until("sshd", || vast.ssh(&container, "user", &[], &["true"], "").code == Some(0));
}

#[test]
fn the_list_mounted_at_the_documented_path_itself_is_used_as_it_is() {
    let [mounted, own] = [(); 2].map(|()| KeyPair::generate());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("authorized_keys");
    // Comments, line ends of Windows, no end of the last line, and owner and modes of a host.
    std::fs::write(&file, format!("# mine\r\n\r\nno-pty {}", mounted.public())).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o664)).unwrap();
    std::os::unix::fs::chown(&file, Some(1000), Some(1000)).unwrap();
    for mode in ["", "ro"] {
        let container = RunOptions::new()
            .mount(&file, "/root/.ssh/authorized_keys", mode)
            .env("SSH_PUBKEY", format!("{}\r\n", own.public()))
            .start_and_wait();
        container.wait_until("sshd", || own.ssh(&container, "root", &[], &["true"], "").code == Some(0));
        for user in ["root", "user"] {
            assert_eq!(mounted.ssh(&container, user, &[], &["id", "-un"], "").text(), user);
        }
    }
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("# mine\r\n"), "it stays as it was");
}

#[test]
fn a_key_counts_from_the_moment_on_that_root_has_it_and_a_key_on_the_volume_never() {
    let [first, added, planted] = [(); 3].map(|()| KeyPair::generate());
    let volume = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(volume.path(), Some(1000), Some(1000)).unwrap();
    let ssh = volume.path().join("home/user/.ssh");
    std::fs::create_dir_all(&ssh).unwrap();
    std::fs::write(ssh.join("authorized_keys"), planted.public()).unwrap();
    for path in [ssh.parent().unwrap(), &ssh, &ssh.join("authorized_keys")] {
        std::os::unix::fs::chown(path, Some(1000), Some(1000)).unwrap();
    }
    let container = RunOptions::new().mount(volume.path(), "/workspace", "").start_and_wait();
    let users = ["root", "user"];
    let enters =
        |key: &KeyPair| users.map(|user| key.ssh(&container, user, &[], &["true"], "").code == Some(0));

    // Nothing listens without a key at the start; the first one and this command change that.
    container.write("/root/.ssh/authorized_keys", &first.public());
    container.exec(&["supervisorctl", "start", "sshd"]).text();
    container.wait_until("sshd", || enters(&first) == [true; 2]);
    assert_eq!(
        container.exec(&["getent", "passwd", "user"]).text().split(':').nth(5),
        Some("/workspace/home/user")
    );
    assert_eq!(enters(&planted), [false; 2]);

    assert_eq!(enters(&added), [false; 2]);
    container.write("/root/.ssh/authorized_keys", &format!("{}\n{}\n", first.public(), added.public()));
    assert_eq!(enters(&added), [true; 2]);
    container.write("/root/.ssh/authorized_keys", &added.public());
    assert_eq!([enters(&first), enters(&added)], [[false; 2], [true; 2]]);
    container.sh("chmod 666 /root/.ssh/authorized_keys").text();
    assert_eq!(enters(&added), [false; 2], "others could have written it");
}

#[test]
fn without_a_key_nothing_listens() {
    let container = RunOptions::new().env("SSH_PUBKEY", "ssh-ed25519 nonsense").start_and_wait();
    assert!(container.exec(&["supervisorctl", "status", "sshd"]).failure(3).is_empty());
    assert!(container.logs().contains("SSH_PUBKEY: line 1 is not a public SSH key; ignored"));
    assert_eq!(container.sh("ss -ltnH 'sport = :22'").text(), "");
}

#[test]
fn sshd_accepts_the_lines_that_count_as_keys_and_no_other() {
    let container = RunOptions::new().start();
    container.write("/tmp/lines", include_str!("../../../../crates/sshd-run/tests/lines.txt"));
    // Each line goes to sshd as it is, without the program that it usually asks for keys.
    let script = r#"
        cd "$(mktemp -d)" && mkdir -p /run/sshd && ssh-keygen -q -N '' -t ed25519 -f key || exit
        key=$(cut -d ' ' -f 1,2 key.pub)
        sshd="/usr/sbin/sshd -i -f none -o UsePAM=no -o StrictModes=no -o HostKey=$PWD/key"
        grep -v '^#' /tmp/lines | while read -r expected line; do
            printf '%s\n' "${line//KEY/$key}" > line
            ssh -n -F none -i key -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
                -o ProxyCommand="$sshd -o AuthorizedKeysFile=$PWD/line" root@inside true >said 2>&1
            case $? in 0) verdict=yes ;; 255) verdict=no ;; *) verdict=$(<said) ;; esac
            [[ $verdict == "$expected" ]] || echo "$verdict: $line"
        done
        echo compared"#;
    assert_eq!(container.sh(script).text(), "compared");
}

#[test]
fn another_port_is_taken_when_asked_for() {
    let key = KeyPair::generate();
    let container =
        RunOptions::new().env("SSH_PUBKEY", key.public()).env("SSH_PORT", "2200").start_and_wait();
    let listens = || container.sh("ss -ltnH 'sport = :2200'").text().contains("2200");
    container.wait_until("sshd", listens);
    assert_eq!(container.sh("ss -ltnH 'sport = :22'").text(), "");
    // It stays there although a service wants that port, and over a restart.
    container.write("/run/http_ports/2200", r#"{"service_name":"A","listen_port":18080,"proxy_port":2200}"#);
    let refused = "service file 2200 is ignored: port 2200 is sshd's (SSH_PORT)";
    container.wait_until("the refusal", || container.logs().contains(refused));
    container.restart();
    container.wait_until("sshd", listens);
}
