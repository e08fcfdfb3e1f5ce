//! Pages of the portal that have pictures.

use harness::{Device, Scheme};

/// A page, and the selector of what it shows once it is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub name: &'static str,
    pub port: u16,
    pub path: &'static str,
    pub complete: &'static str,
    pub needs_login: bool,
}

impl Page {
    const fn of_portal(name: &'static str, path: &'static str, complete: &'static str) -> Self {
        Self { name, port: 1111, path, complete, needs_login: true }
    }
}

/// Every page of the navigation, and those outside it. The login page is the first, because no other needs no session.
pub const PAGES: &[Page] = &[
    Page { needs_login: false, ..Page::of_portal("login", "/leonardo/login", "form button") },
    Page::of_portal("services", "/leonardo/", "main"),
    Page { port: 6006, ..Page::of_portal("failed-service", "/", "main") },
    Page::of_portal("logs", "/leonardo/logs", "#rows .line"),
    Page::of_portal("processes", "/leonardo/processes", "main"),
    Page::of_portal("boot", "/leonardo/boot", "main"),
    Page::of_portal("system", "/leonardo/system", ".u-legend"),
    Page::of_portal("access", "/leonardo/access", "main"),
];

/// Widths of which there are pictures.
pub const DEVICES: [Device; 2] = [Device::DESKTOP, Device::PHONE];

/// Name of a picture's file.
pub fn file_name(page: &Page, device: Device, scheme: Scheme) -> String {
    format!("{}-{}-{}.webp", page.name, device.name, scheme.name())
}
