//! Files of the storage in applications, on a booted container.

use harness::{Browser, KeyPair, RunOptions};

use crate::portal::picture;

const MAPPINGS: &str = "/opt/leonardo/storage_monitor/etc/mappings.sh";

#[test]
fn a_file_copied_in_over_ssh_appears_in_an_application_and_on_the_portal() {
    let key = KeyPair::generate();
    let container =
        RunOptions::new().env("SSH_PUBKEY", key.public()).env("WEB_PASSWORD", "right").start_and_wait();
    container.wait_until("sshd", || key.ssh(&container, "user", &[], &["true"], "").code == Some(0));
    container.sh("mkdir -p '/opt/My App'").text();
    container.write(MAPPINGS, "storage_map[models]='/opt/My App/models'\n");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("model");
    std::fs::write(&file, "weights").unwrap();
    let batch = format!(
        "mkdir /workspace/storage/models\nput {0} \"/workspace/storage/models/<b>one\"\n\
         put {0} /workspace/storage/models/two.part\n",
        file.display()
    );
    key.sftp(&container, "user", &batch).text();
    container
        .wait_until("the link", || container.exec(&["cat", "/opt/My App/models/<b>one"]).code == Some(0));
    assert_eq!(
        container.sh("cd '/opt/My App/models' && ls && readlink -- *").text(),
        "<b>one\n/workspace/storage/models/<b>one"
    );
    container.wait_until("the state", || {
        container.exec(&["storage-monitor", "status"]).text() == "1 file linked into applications"
    });
    let browser = Browser::start(900, 700);
    browser.open(&format!("http://{}", container.address(1111)));
    browser.type_into("[name=username]", "user");
    browser.type_into("[name=password]", "right");
    browser.click("button");
    browser.wait_for_partial_text("#live", "1 file linked into applications");
    // A name that is taken, while the page is open: its text is shown as text.
    container
        .sh("echo mine > '/opt/My App/models/<b>three'; echo x > '/workspace/storage/models/<b>three'")
        .text();
    browser.wait_for_partial_text("#live", "1 file linked into applications, 1 conflict");
    browser.run("document.querySelector('#problems details').open = true");
    browser.wait_for_partial_text("#problems", "\"/opt/My App/models/<b>three\" already exists");
    browser.screenshot(&picture("portal-storage"));
}

#[test]
fn files_of_the_image_are_in_the_storage_and_a_mistake_in_the_mapping_is_named() {
    let container = RunOptions::new().start_and_wait();
    container.sh("mkdir /opt/storage/shipped; echo image > /opt/storage/shipped/file").text();
    container.wait_until("the link", || {
        container.sh("readlink /workspace/storage/shipped/file").stdout == b"/opt/storage/shipped/file\n"
    });
    container.write(MAPPINGS, "\nstorage_map[a]=$NOTHING\n");
    let complaint = format!("{MAPPINGS}: line 2: NOTHING: unbound variable");
    container.wait_until("the complaint", || {
        container.exec(&["storage-monitor", "status"]).text().contains(&complaint)
    });
}
