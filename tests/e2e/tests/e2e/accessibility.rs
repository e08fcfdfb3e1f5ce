//! Every page with content: accessible by WCAG 2.2 AA, within the screen's width, without complaints of the browser.

use std::path::Path;

use harness::{Browser, Device, RunOptions, Scheme};
use showcase::pages::{DEVICES, file_name};
use showcase::{PAGES, Showcase};

/// What is wrong, with the page and the conditions under which it was seen.
#[derive(Default)]
struct Findings {
    required: String,
    recommended: String,
}

impl Findings {
    /// Checks the page that the browser shows on both devices in both schemes.
    #[track_caller]
    fn check(&mut self, browser: &Browser, what: &str) {
        for device in DEVICES {
            browser.emulate(device);
            for scheme in Scheme::ALL {
                browser.prefer(scheme);
                for violation in browser.accessibility_violations() {
                    let list = if violation.is_required { &mut self.required } else { &mut self.recommended };
                    list.push_str(&format!("{what}, {}, {}: {violation}", device.name, scheme.name()));
                }
            }
            self.check_width(browser, what, device);
        }
        for device in [Device::SMALL_PHONE, Device::FOUR_K] {
            browser.emulate(device);
            self.check_width(browser, what, device);
        }
        // The longest states, at 400 % of 1280 pixels.
        browser.emulate(Device { width: 320, ..Device::SMALL_PHONE });
        for state in [
            "<a><span class=phase>Starting: provisioning, </span>2 warnings</a>",
            "<a>Portal not responding</a>",
        ] {
            let show = format!(
                "const line = document.querySelector('.status'); if (line) line.innerHTML = '{state}'"
            );
            browser.run(&show);
            self.check_width(
                browser,
                &format!("{what}, {state}"),
                Device { width: 320, ..Device::SMALL_PHONE },
            );
        }
    }

    /// Checks the browser's console since the last call, but for what is expected.
    #[track_caller]
    fn complaints(&mut self, browser: &Browser, expected: &str) {
        for complaint in browser.complaints().iter().filter(|complaint| !complaint.contains(expected)) {
            self.required.push_str(&format!("the browser complains: {complaint}\n"));
        }
    }

    fn check_width(&mut self, browser: &Browser, what: &str, device: Device) {
        let overflow = browser.sideways_overflow();
        if overflow > 0 {
            let width = device.width;
            self.required.push_str(&format!("{what} is {overflow} pixels wider than {width} pixels\n"));
        }
    }
}

type Open = fn(&Browser);
/// How dialogs and panels open, and on which page.
const DIALOGS: &[(&str, Open)] = &[
    ("services", |browser| browser.press("Control+k")),
    ("services", |browser| browser.press("?")),
    ("services", |browser| browser.click(".service [data-dialog]")),
    ("services", |browser| browser.click(".menu summary")),
    ("processes", |browser| browser.click("[data-name='notebook'] [value='restart']")),
    ("logs", |browser| browser.click(".times summary")),
];
/// What is open of them.
const OPEN: &str = "dialog[open], .menu[open], .times[open]";

#[test]
fn every_page_is_accessible_and_fits_every_screen() {
    let showcase = Showcase::start(RunOptions::new());
    let browser = Browser::observed();
    let mut findings = Findings::default();
    for page in PAGES.iter().filter(|page| !page.needs_login) {
        showcase.open(&browser, page);
        findings.check(&browser, page.name);
    }
    browser.type_into("[name=username]", "ada");
    browser.type_into("[name=password]", "wrong");
    browser.click("form button");
    browser.text(".error");
    findings.check(&browser, "login, wrong password");
    // The status of the answer to a wrong password.
    findings.complaints(&browser, "status of 401");

    showcase.log_in(&browser);
    for page in PAGES.iter().filter(|page| page.needs_login) {
        showcase.open(&browser, page);
        findings.check(&browser, page.name);
    }
    for (page, open) in DIALOGS {
        let page = PAGES.iter().find(|known| known.name == *page).expect("a page");
        browser.emulate(Device::DESKTOP);
        showcase.open(&browser, page);
        open(&browser);
        findings.check(&browser, &format!("{}, dialog {:?}", page.name, browser.text(OPEN)));
    }
    // The status of the page of a service that failed.
    findings.complaints(&browser, "status of 503");
    println!("recommended:\n{}", findings.recommended);
    assert!(findings.required.is_empty(), "\n{}", findings.required);
    let ours = PAGES.iter().map(|page| format!("{}/", showcase.origin(page.port)));
    let ours: Vec<String> = ours.collect();
    for request in browser.requests() {
        assert!(
            ours.iter().any(|origin| request.url.replacen("ws:", "http:", 1).starts_with(origin)),
            "{request:?}"
        );
    }
}

#[test]
fn every_page_of_the_navigation_has_its_pictures_in_the_documentation() {
    let showcase = Showcase::start(RunOptions::new());
    let browser = Browser::observed();
    showcase.log_in(&browser);
    let links = browser
        .run("return [...document.querySelectorAll('nav.pages a')].map((a) => a.getAttribute('href'))");
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/images");
    for link in links.as_array().expect("a list") {
        let page = PAGES.iter().find(|page| *link == page.path);
        let page = page.unwrap_or_else(|| panic!("{link} is not in tests/showcase/src/pages.rs"));
        for device in DEVICES {
            for scheme in Scheme::ALL {
                let name = file_name(page, device, scheme);
                assert!(images.join(&name).is_file(), "no {name}: run cargo xtask screenshots");
            }
        }
    }
}
