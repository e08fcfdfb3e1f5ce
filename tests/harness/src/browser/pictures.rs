//! Pictures of pages.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::Browser;

impl Browser {
    /// Saves what the window shows as PNG, for a person who looks into a failed test.
    pub fn screenshot(&self, path: &Path) {
        let answer = super::driver::call("GET", &format!("{}/screenshot", self.session), &json!(null));
        let bytes = STANDARD.decode(answer.as_str().expect("a picture")).expect("base64");
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, bytes).expect("a file");
    }

    /// The whole page as PNG, also what is outside the window.
    #[track_caller]
    pub fn picture(&self) -> Vec<u8> {
        let format = json!({"format": "png", "captureBeyondViewport": true});
        let answer = self.devtools("Page.captureScreenshot", &format);
        STANDARD.decode(answer["data"].as_str().expect("a picture")).expect("base64")
    }
}
