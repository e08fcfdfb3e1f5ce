//! Parameters and values that cannot be used as given.

use harness::RunOptions;

#[test]
fn a_parameter_without_an_equals_sign_ends_the_start_with_2() {
    let output = RunOptions::new().command(&["init.sh", "FOO"]).run_to_end();
    assert_eq!(output.failure(2), "init | the parameter \"FOO\" is not NAME=VALUE\n");
}

#[test]
fn a_parameter_replaces_a_variable() {
    let container = RunOptions::new()
        .env("WEB_USER", "old")
        .command(&["init.sh", "WEB_USER=ada", "WEB_PASSWORD=b=c=="])
        .start_and_wait();
    assert_eq!(container.login()[..2], ["ada", "b=c=="]);
    assert_eq!(container.web(1111).log_in("ada", "b=c==").status, 303);
}

#[test]
fn empty_secrets_are_generated_and_open_nothing() {
    let container = RunOptions::new().env("WEB_PASSWORD", "").env("WEB_TOKEN", "").start_and_wait();
    let [user, password, token] = container.login();
    assert!(password.len() >= 16 && token.len() >= 32);
    let web = container.web(1111);
    assert_eq!(web.with("authorization", "Bearer ").get("/").status, 401);
    assert_eq!(web.with("authorization", "Bearer").get("/").status, 401);
    assert_eq!(web.basic(&user, "").get("/").status, 401);
    assert_eq!(web.log_in(&user, "").status, 401);
}

#[test]
fn a_bad_account_name_is_refused_by_name() {
    let container = RunOptions::new().env("USER_NAME", "../x y").start_and_wait();
    assert_eq!(container.exec(&["id", "-un", "1000"]).text(), "user");
    let logs = container.logs();
    assert!(logs.contains(r#"USER_NAME: "../x y" is not a valid account name; using "user""#), "{logs}");
}

#[test]
fn a_gpu_count_that_is_no_number_is_reported_and_a_machine_without_gpus_boots() {
    let container = RunOptions::new().env("GPU_COUNT", "two").start_and_wait();
    let logs = container.logs();
    assert!(logs.contains("GPU_COUNT"), "{logs}");
    assert_eq!(container.sh("env | grep -c VISIBLE_DEVICES").failure(1), "");
}

#[test]
fn the_zero_of_gpu_count_hides_all_of_them_in_every_session() {
    let container = RunOptions::new().env("GPU_COUNT", "0").start_and_wait();
    let seen = container.exec(&[
        "bash",
        "-lc",
        "echo \"[${CUDA_VISIBLE_DEVICES-unset}] [${ROCR_VISIBLE_DEVICES-unset}]\"",
    ]);
    assert_eq!(seen.text(), "[] [-1]");
}
