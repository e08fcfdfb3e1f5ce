//! Pictures of pages.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Browser, Device};

impl Browser {
    /// Saves what the window shows as PNG, for a person who looks into a failed test.
    pub fn screenshot(&self, path: &Path) {
        let answer = super::driver::call("GET", &format!("{}/screenshot", self.session), &json!(null));
        let bytes = STANDARD.decode(answer.as_str().expect("a picture")).expect("base64");
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, bytes).expect("a file");
    }

    /// The whole page as PNG, as on a screen of this width that is high enough for it.
    #[track_caller]
    pub fn picture(&self, device: Device) -> Vec<u8> {
        let metrics = self.devtools("Page.getLayoutMetrics", &json!({}));
        let height = metrics["cssContentSize"]["height"].as_f64().expect("a number") as u32;
        // Not `captureBeyondViewport`: what is fixed at the bottom would be in the middle.
        self.emulate(Device { height: height.max(device.height), ..device });
        let format = json!({"format": "png"});
        let answer = self.devtools("Page.captureScreenshot", &format);
        self.emulate(device);
        STANDARD.decode(answer["data"].as_str().expect("a picture")).expect("base64")
    }
}
