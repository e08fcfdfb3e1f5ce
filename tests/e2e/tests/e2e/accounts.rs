//! The system user.

use harness::Run;

#[test]
fn the_user_has_the_uid_of_the_workspaces_owner() {
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(directory.path(), Some(4242), Some(4242)).unwrap();
    let container = Run::new().mount(directory.path(), "/workspace", "").env("USER_NAME", "ada").boot();
    assert_eq!(container.exec(&["id", "-u", "ada"]).text(), "4242");
    let groups = container.exec(&["id", "-Gn", "ada"]).text();
    assert!(
        ["ada", "leonardo", "sudo"].iter().all(|group| groups.split(' ').any(|found| found == *group)),
        "{groups}"
    );
    assert_eq!(container.exec(&["su", "-", "ada", "-c", "sudo -n id -u"]).text(), "0");
    assert_eq!(container.exec(&["bash", "-lc", "echo $WORKSPACE_UID"]).text(), "4242");
}

#[test]
fn an_account_of_the_system_is_not_taken_over() {
    let container = Run::new().env("USER_NAME", "root").boot();
    assert!(container.logs().contains("USER_NAME: \"root\" is an account of the system; no user was made"));
    container.exec(&["ls", "/etc/sudoers.d/leonardo-user"]).failure(2);
}

#[test]
fn the_accounts_password_is_the_documented_one() {
    let container = Run::new().env("USER_PASSWORD", "pa:ss w'ord").boot();
    let check = "import crypt, spwd; hash = spwd.getspnam('user').sp_pwdp; print(crypt.crypt(\"pa:ss w'ord\", hash) == hash)";
    let answer = container.exec(&["python3", "-W", "ignore", "-c", check]);
    assert_eq!(answer.text(), "True");
}
