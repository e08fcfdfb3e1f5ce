//! The device and the preferences that a page sees: size, colour scheme, JavaScript, network.

use serde_json::json;

use super::Browser;

/// Colour scheme that the user prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Light,
    Dark,
}

impl Scheme {
    pub const ALL: [Self; 2] = [Self::Light, Self::Dark];

    /// Value of `prefers-color-scheme`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// Size of a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    pub name: &'static str,
    pub width: u32,
    pub height: u32,
    /// Device pixels for each CSS pixel.
    pub scale: u32,
    /// Honours the viewport's `meta` element, and is operated by touch.
    pub is_mobile: bool,
}

impl Device {
    pub const SMALL_PHONE: Self =
        Self { name: "small-phone", width: 360, height: 640, scale: 2, is_mobile: true };
    pub const PHONE: Self = Self { name: "phone", width: 390, height: 844, scale: 2, is_mobile: true };
    pub const DESKTOP: Self = Self { name: "desktop", width: 1280, height: 800, scale: 1, is_mobile: false };
    pub const FOUR_K: Self = Self { name: "4k", width: 3840, height: 2160, scale: 1, is_mobile: false };
}

impl Browser {
    /// Shows pages in a colour scheme, without animations.
    pub fn prefer(&self, scheme: Scheme) {
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme.name()},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Shows pages as on this device.
    pub fn emulate(&self, device: Device) {
        let Device { width, height, scale, is_mobile, .. } = device;
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": is_mobile});
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        self.devtools("Emulation.setTouchEmulationEnabled", &json!({ "enabled": is_mobile }));
    }

    /// Whether pages that are opened from now on may run scripts.
    pub fn allow_scripts(&self, allow: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": !allow }));
    }

    /// Whether the browser reaches any server.
    pub fn allow_network(&self, allow: bool) {
        let conditions =
            json!({"offline": !allow, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
        self.devtools("Network.enable", &json!({}));
        self.devtools("Network.emulateNetworkConditions", &conditions);
    }

    /// Pixels by which the page is wider than the screen: 0 unless it scrolls sideways.
    #[track_caller]
    pub fn sideways_overflow(&self) -> i64 {
        let script = "const e = document.documentElement; return Math.max(0, e.scrollWidth - e.clientWidth)";
        self.run(script).as_i64().expect("a number")
    }
}
