//! Keys, pressed as a person presses them: on whatever has the focus.

use serde_json::{Value, json};

use super::Browser;

/// Keys that print nothing, and their code points in the `WebDriver` protocol.
const NAMED: &[(&str, char)] = &[
    ("Control", '\u{e009}'),
    ("Enter", '\u{e007}'),
    ("Escape", '\u{e00c}'),
    ("Shift", '\u{e008}'),
    ("Tab", '\u{e004}'),
];

impl Browser {
    /// Presses keys together: `Control+k`, `Escape`, `?`.
    #[track_caller]
    pub fn press(&self, chord: &str) {
        let codes: Vec<char> = chord.split('+').map(code_of).collect();
        let event = |kind: &str, code: &char| json!({"type": kind, "value": code.to_string()});
        let down = codes.iter().map(|code| event("keyDown", code));
        let up = codes.iter().rev().map(|code| event("keyUp", code));
        self.act(down.chain(up).collect());
    }

    /// Types a text.
    #[track_caller]
    pub fn type_text(&self, text: &str) {
        let key = |c: char| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": c.to_string()}));
        self.act(text.chars().flat_map(key).collect());
    }

    #[track_caller]
    fn act(&self, events: Vec<Value>) {
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": events});
        self.post("actions", &json!({ "actions": [keyboard] }));
    }
}

fn code_of(key: &str) -> char {
    let named = NAMED.iter().find(|(name, _)| *name == key).map(|&(_, code)| code);
    let mut characters = key.chars();
    named.unwrap_or_else(|| match (characters.next(), characters.next()) {
        (Some(only), None) => only,
        _ => panic!("there is no key {key:?}"),
    })
}
