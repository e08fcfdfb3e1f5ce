//! Secrets and identity of a container that is saved as an image (`docker commit`).

use std::fs;
use std::os::unix::fs::PermissionsExt;

use harness::{Container, Image, KeyPair, RunOptions};

const SECURITY: &str = include_str!("../../../../SECURITY.md");

/// Host keys, login, token, instance and the portal's signing key: everything that two containers must not share.
fn identity(container: &Container) -> Vec<String> {
    let script = "cat /etc/ssh/ssh_host_ed25519_key.pub /etc/ssh/ssh_host_ecdsa_key.pub | cut -d' ' -f2; \
        jq -r '.web_password, .web_token, .instance' /opt/leonardo/etc/web_credentials.json; \
        od -An -v -tx1 -w1000 /var/lib/portal/key | tr -d ' \\n'; echo; tail -n +2 /var/lib/caddy/caddy/instance.uuid; \
        cat /var/lib/leonardo/sync/container";
    container.sh(script).text().lines().map(str::to_owned).collect()
}

/// Files in which one of these words is, in the container's own file system.
fn found(container: &Container, words: &[String]) -> String {
    let list = words.join("\n");
    container.write("/dev/shm/words", &list);
    let script =
        "grep -rIlF -f /dev/shm/words /etc /opt /root /home /srv /var /run /workspace 2> /dev/null; true";
    container.sh(script).text()
}

fn booted(run: RunOptions, key: &KeyPair) -> Container {
    let container = run.env("SSH_PUBKEY", key.public()).start_and_wait();
    container.wait_until_ready();
    container.wait_until("sshd", || key.ssh(&container, "root", &[], &["true"], "").code == Some(0));
    container
}

#[test]
fn containers_of_a_saved_image_have_an_identity_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("setup.sh");
    fs::write(&script, "#!/bin/bash\necho ran >> ~/runs\necho the-scripts-secret\n").unwrap();
    let key = KeyPair::generate();
    let run = || RunOptions::new().mount(&script, "/opt/leonardo/bin/provisioning.sh", "ro");
    let first = booted(run().command(&["init.sh", "ONLY_HERE=first-secret"]), &key);
    let [user, password, token] = first.login();
    let cookie = first.web(1111).log_in(&user, &password).cookie();
    assert_eq!(first.exec(&["cat", "/home/user/runs"]).text(), "ran");
    let before = identity(&first);
    assert!(before.iter().all(|word| word.len() > 5), "{before:?}");
    first.restart();
    first.wait_for_portal();
    first.wait_until_ready();
    assert_eq!(identity(&first), before, "a restart is the same container");
    assert_eq!(first.exec(&["cat", "/home/user/runs"]).text(), "ran");
    assert_eq!(first.web(1111).with("cookie", &cookie).get("/leonardo/access").status, 200);

    let image = first.commit();
    let start = || booted(run().image(&image).command(&["init.sh"]), &key);
    let (second, third) = (start(), start());
    let others = [identity(&second), identity(&third)];
    for (index, word) in before.iter().enumerate() {
        assert!(word != &others[0][index] && word != &others[1][index], "{index}");
        assert_ne!(others[0][index], others[1][index], "{index}");
    }
    let secrets =
        [&before[..], &[password, token, "first-secret".into(), "the-scripts-secret".into()]].concat();
    for other in [&second, &third] {
        assert_eq!(other.web(1111).with("cookie", &cookie).get("/leonardo/access").status, 401);
        assert_eq!(other.exec(&["cat", "/home/user/runs"]).text(), "ran\nran");
        // The script is mounted again, and its output is in the new container's own logs.
        let own = [
            "/opt/leonardo/bin/provisioning.sh",
            "/var/lib/leonardo/provisioning/script.sh",
            "/var/log/provisioning.log",
            "/var/log/logtail.log",
        ];
        let left = found(other, &secrets);
        assert_eq!(left.lines().filter(|file| !own.contains(file)).collect::<Vec<_>>(), [""; 0]);
        let stored = other.exec(&["env-store", "list"]).text();
        assert!(stored.contains("WEB_TOKEN=") && !stored.contains("ONLY_HERE"), "{stored}");
    }
    assert_ne!(
        second.exec(&["env-store", "exec", "--", "printenv", "WEB_TOKEN"]).text(),
        third.exec(&["env-store", "exec", "--", "printenv", "WEB_TOKEN"]).text()
    );
}

#[test]
fn host_keys_that_an_extended_image_has_by_accident_are_not_shared_and_a_mounted_one_stays() {
    let image = Image::extended("RUN ssh-keygen -A");
    let key = KeyPair::generate();
    let directory = tempfile::tempdir().unwrap();
    let mounted = directory.path().join("key");
    let baked =
        RunOptions::new().image(&image).command(&["cat", "/etc/ssh/ssh_host_ecdsa_key"]).run_to_end().text();
    fs::write(&mounted, format!("{baked}\n")).unwrap();
    fs::set_permissions(&mounted, fs::Permissions::from_mode(0o600)).unwrap();
    let start =
        || booted(RunOptions::new().image(&image).mount(&mounted, "/etc/ssh/ssh_host_ecdsa_key", ""), &key);
    let own = |container: &Container| container.exec(&["cat", "/etc/ssh/ssh_host_ed25519_key"]).text();
    let (one, two) = (start(), start());
    assert_ne!(own(&one), own(&two));
    for container in [&one, &two] {
        assert_eq!(container.exec(&["cat", "/etc/ssh/ssh_host_ecdsa_key"]).text(), baked);
        container.exec(&["ls", "/etc/ssh/ssh_host_rsa_key"]).failure(2);
    }
}

#[test]
fn what_the_guide_removes_before_publishing_is_all_there_is() {
    let key = KeyPair::generate();
    let container = booted(RunOptions::new(), &key);
    let [user, password, token] = container.login();
    container.web(1111).log_in(&user, &password);
    container.exec(&["env-store", "set", "HF_TOKEN=hf-secret"]).text();
    let secrets = [&identity(&container)[..], &[password, token, "hf-secret".into()]].concat();
    let script = SECURITY.split("docker exec CONTAINER bash -c '").nth(1).expect("a command");
    container.sh(script.split('\'').next().expect("a script")).text();
    let image = container.commit();
    let words = secrets.join("\n");
    let look = "grep -rIlF -e \"$WORDS\" /etc /opt /root /home /var /run /workspace; \
        ls /etc/ssh/ssh_host_* /var/lib/portal/*; true";
    let run = RunOptions::new().image(&image).env("WORDS", words).command(&["bash", "-c", look]).run_to_end();
    assert_eq!(run.text(), "");
}
