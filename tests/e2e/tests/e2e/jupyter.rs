//! `images/jupyter` on the image under test, with a real browser and real kernels.

use harness::{Browser, Container, Image, RunOptions};
use serde_json::{Value, json};

use crate::portal::register;

const NOTEBOOK: &str = r#"{"cells": [{"cell_type": "code", "execution_count": null, "id": "one", "metadata": {}, "outputs": [],
    "source": "1+1"}], "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
    "nbformat": 4, "nbformat_minor": 5}"#;
/// Counts byte code that is stale once a release has changed the times of its sources.
const STALE_BYTE_CODE: &str = "import pathlib; \
    flags = [path.read_bytes()[4] for path in pathlib.Path('/opt/.image/jupyter').rglob('*.pyc')]; \
    print(flags.count(0), 'of', 'many' if len(flags) > 1000 else len(flags))";
/// Makes a page keep its websockets in a list.
const KEEP_SOCKETS: &str = "const Native = WebSocket; window.sockets = []; \
    window.WebSocket = class extends Native { constructor(...all) { super(...all); window.sockets.push(this); } };";
/// States of a page's connections to kernels; 1 is open, 3 is closed.
const KERNEL_SOCKETS: &str = "return window.sockets.filter(({url}) => url.includes('/api/kernels/')).map(({readyState}) => readyState)";
/// Text of the last output of a notebook.
const LAST_OUTPUT: &str =
    "return [...document.querySelectorAll('.jp-OutputArea-output')].pop()?.innerText.trim()";

/// Sends one request to Jupyter past the gate, and returns the JSON.
fn api(container: &Container, path: &str) -> Value {
    let port = container.sh("grep -o '\"listen_port\":[0-9]*' /run/http_ports/8888 | cut -d: -f2").text();
    let text = container.sh(&format!("curl -sf http://127.0.0.1:{port}{path}")).text();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
}

fn wait_for_jupyter(container: &Container) {
    container.wait_for(8888);
    container.wait_until("JupyterLab", || {
        let state = container.sh("grep -o '\"phase\":\"running\"' /run/http_ports/8888").stdout;
        !state.is_empty()
    });
}

/// One container, because the image takes half a minute to build.
#[test]
fn a_notebook_and_a_terminal_work_on_the_volume_behind_the_login_until_the_logout() {
    let (image, volume) = (Image::of_folder("images/jupyter", &[]), crate::sync::volume());
    let run = RunOptions::new().image(&image).publish(8888).publish(8081);
    let run = run.mount(volume.path(), "/workspace", "").env("WORKSPACE_SYNC", "true");
    let run = run.env("WEB_USER", "ada").env("WEB_PASSWORD", "a-password").env("WEB_TOKEN", "a-token");
    let container = run.start_and_wait();
    assert_eq!(container.exec(&["python3", "-c", STALE_BYTE_CODE]).text(), "0 of many");
    wait_for_jupyter(&container);
    container.exec(&["boot", "wait", "sync"]).text();
    assert_eq!(container.exec(&["readlink", "/opt/jupyter"]).text(), "/workspace/jupyter");
    container.write("/workspace/sum.ipynb", NOTEBOOK);
    container.sh("chown user /workspace/sum.ipynb").text();

    // From here on, kernels run in the copy on the volume.
    container.restart();
    container.wait_for_portal();
    wait_for_jupyter(&container);
    let address = container.address(8888);

    let browser = Browser::start(1280, 900);
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": KEEP_SOCKETS }));
    browser.open(&format!("http://{address}/lab/tree/sum.ipynb"));
    browser.type_into("[name=username]", "ada");
    browser.type_into("[name=password]", "a-password");
    browser.click("form button");
    browser.wait_for_partial_text(".jp-Notebook .cm-content", "1+1");
    browser.wait_for_value(KERNEL_SOCKETS, &json!([1]));
    browser.click(".jp-Notebook .cm-content");
    browser.press("Shift+Enter");
    browser.wait_for_value(LAST_OUTPUT, &json!("2"));

    register(&container, "Other", 18081, 8081, "true");
    let other = container.web(8081);
    container.wait_until("another service", || other.get("/").status == 401);
    browser.type_text("20+22");
    browser.press("Shift+Enter");
    browser.wait_for_value(LAST_OUTPUT, &json!("42"));
    assert_eq!(browser.run(KERNEL_SOCKETS), json!([1]), "it is still the first connection");

    let notebook = browser.windows().remove(0);
    browser.new_tab();
    browser.open(&format!("http://{address}/lab/workspaces/terminal"));
    browser.click(".jp-LauncherCard[title*='terminal']");
    browser.click(".jp-Terminal-body .xterm-screen");
    browser.wait_for_value("return document.activeElement.className", &json!("xterm-helper-textarea"));
    browser.type_text("id -un > /workspace/who; pwd >> /workspace/who");
    browser.press("Enter");
    container.wait_until("what the terminal wrote", || {
        container.sh("cat /workspace/who").stdout == b"user\n/workspace\n"
    });

    // Nobody else gets the kernel.
    let kernel = api(&container, "/api/kernels")[0]["id"].as_str().expect("a kernel").to_owned();
    let channels = format!("/api/kernels/{kernel}/channels");
    let socket = container.web(8888).with("upgrade", "websocket").with("connection", "Upgrade");
    assert_eq!(socket.get(&channels).status, 401);
    let session = container.web(8888).log_in("ada", "a-password").cookie();
    let foreign = socket.with("cookie", &session).with("origin", "http://evil.example");
    assert_eq!(foreign.get(&channels).status, 403);

    browser.open(&format!("http://{}/", container.address(1111)));
    browser.wait_for_text("h1", "Services");
    browser.run("document.querySelector('form[action$=logout]').submit()");
    browser.wait_for_partial_text("body", "Log in");
    browser.switch(&notebook);
    container.wait_until("the end of the kernel's connection", || {
        let states = browser.run(KERNEL_SOCKETS);
        states.as_array().is_some_and(|states| states.iter().all(|state| *state == 3))
    });
    container.wait_until("Jupyter to see it", || api(&container, "/api/kernels")[0]["connections"] == 0);
    assert_eq!(api(&container, "/api/kernels")[0]["execution_state"], "idle", "the kernel goes on");

    let started = api(&container, "/api/status")["started"].clone();
    let web = container.web(1111).with("authorization", "Bearer a-token");
    let restart = web.post_form(
        "/leonardo/processes",
        &[("name", "jupyter"), ("action", "restart"), ("confirmed", "yes")],
    );
    assert_eq!(restart.status, 200, "{}", restart.body);
    container.wait_until("another start", || {
        let port = "$(grep -o '\"listen_port\":[0-9]*' /run/http_ports/8888 | cut -d: -f2)";
        let status = container.sh(&format!("curl -sf http://127.0.0.1:{port}/api/status")).stdout;
        serde_json::from_slice::<Value>(&status).is_ok_and(|status| status["started"] != started)
    });
    let lab = container.web(8888).with("authorization", "Bearer a-token").get("/lab");
    assert!(lab.status == 200 && lab.body.contains("JupyterLab"), "{}", lab.status);
}
