//! A row of the log page: text with colours, as the script and the page without it show it.

use std::fmt::Write as _;

use kit::rfc3339;
use log_history::Level;
use serde::Serialize;
use terminal::screen::{Color, Row, Style};

use super::view::moment;

/// More spans of a row than this lose their styles.
const MAX_SPANS: usize = 1_000;
/// Approximate size of a span's style as JSON, in bytes.
const SPAN_BYTES: usize = 48;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogRow {
    /// Position of its first byte.
    pub id: String,
    /// Name of the log.
    pub service: String,
    /// When it was written, in seconds since the epoch.
    pub time: Option<f64>,
    pub level: Option<Level>,
    pub spans: Vec<RowSpan>,
}

/// Text of one style.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RowSpan {
    pub text: String,
    /// Classes of the style sheet.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub class: String,
    /// Colour of the text that has no class, as `#rrggbb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fg: Option<String>,
    /// Colour behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bg: Option<String>,
}

impl LogRow {
    /// Creates the row from a terminal's; `position` formats the position of a byte of the same file.
    pub fn new(service: &str, row: Row, position: impl Fn(u64) -> String, time: Option<f64>) -> Self {
        let level = Level::detect(row.text().as_bytes());
        let id = position(row.id);
        let spans = if row.spans.len() > MAX_SPANS {
            vec![RowSpan { text: row.text(), ..RowSpan::default() }]
        } else {
            row.spans.into_iter().map(|span| RowSpan::new(span.text, span.style)).collect()
        };
        Self { id, service: service.to_owned(), time, level, spans }
    }

    /// Returns the class of its level.
    pub fn class(&self) -> &'static str {
        match self.level {
            Some(Level::Error) => "line level-error",
            Some(Level::Warning) => "line level-warning",
            Some(Level::Info) => "line level-info",
            Some(Level::Debug) => "line level-debug",
            None => "line",
        }
    }

    /// Returns about how many bytes it takes in a message.
    pub fn weight(&self) -> usize {
        self.spans.iter().map(|span| span.text.len() + SPAN_BYTES).sum::<usize>() + self.id.len() + 64
    }

    /// Returns the time of day in UTC, as the page shows it without a script.
    pub fn clock(&self) -> String {
        let Some(time) = self.time else { return "--:--:--".to_owned() };
        rfc3339::seconds(moment(time)).get(11..19).unwrap_or("--:--:--").to_owned()
    }
}

impl RowSpan {
    fn new(text: String, style: Style) -> Self {
        let (mut fg, mut bg) = (style.fg, style.bg);
        let is_inverse = style.inverse && (fg.is_none() || bg.is_none());
        if style.inverse && !(fg.is_none() && bg.is_none()) {
            (fg, bg) = (bg, fg);
        }
        let mut classes = String::new();
        for (name, is_set) in [
            ("bold", style.bold),
            ("dim", style.dim && fg.is_none() && bg.is_none()),
            ("italic", style.italic),
            ("underline", style.underline),
            ("strike", style.strike),
            ("inverse", is_inverse && fg.is_none() && bg.is_none()),
        ] {
            if is_set {
                classes = join(classes, name);
            }
        }
        // Text on a coloured ground has a class for readers without the script, and exact colours for it.
        if let (Some(Color::Indexed(index @ 0..16)), None) = (fg, bg) {
            return Self { text, class: join(classes, &format!("f{index}")), fg: None, bg: None };
        }
        if let Some(Color::Indexed(index @ 0..16)) = bg {
            classes = join(classes, &format!("b{index}"));
        }
        Self { text, class: classes, fg: fg.map(hex), bg: bg.map(hex) }
    }
}

fn join(mut classes: String, class: &str) -> String {
    if !classes.is_empty() {
        classes.push(' ');
    }
    classes.push_str(class);
    classes
}

/// First 16 colours of xterm.
const BASE: [(u8, u8, u8); 16] = [
    (0, 0, 0),
    (205, 0, 0),
    (0, 205, 0),
    (205, 205, 0),
    (0, 0, 238),
    (205, 0, 205),
    (0, 205, 205),
    (229, 229, 229),
    (127, 127, 127),
    (255, 0, 0),
    (0, 255, 0),
    (255, 255, 0),
    (92, 92, 255),
    (255, 0, 255),
    (0, 255, 255),
    (255, 255, 255),
];

/// Returns a colour of xterm's palette, or any other, as `#rrggbb`.
fn hex(color: Color) -> String {
    let (red, green, blue) = match color {
        Color::Rgb(red, green, blue) => (red, green, blue),
        Color::Indexed(index @ 0..16) => BASE[usize::from(index)],
        Color::Indexed(index @ 16..232) => {
            let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
            (level((index - 16) / 36), level((index - 16) / 6 % 6), level((index - 16) % 6))
        }
        Color::Indexed(index) => {
            let grey = 8 + 10 * (index - 232);
            (grey, grey, grey)
        }
    };
    let mut text = String::with_capacity(7);
    let _ = write!(text, "#{red:02x}{green:02x}{blue:02x}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use terminal::screen::Screen;

    fn spans(text: &str) -> Vec<RowSpan> {
        let mut screen = Screen::new(4);
        let _ = screen.feed(text.as_bytes(), 0);
        let row = screen.take_changes().remove(0);
        LogRow::new("a", row, |offset| offset.to_string(), None).spans
    }

    #[test]
    fn colours_of_the_palette_are_classes_and_others_are_numbers() {
        for (text, class, fg, bg) in [
            ("\u{1b}[31mx", "f1", None, None),
            ("\u{1b}[1;92mx", "bold f10", None, None),
            ("\u{1b}[38;5;208mx", "", Some("#ff8700"), None),
            ("\u{1b}[38;5;244mx", "", Some("#808080"), None),
            ("\u{1b}[38;2;1;2;3;4mx", "underline", Some("#010203"), None),
            ("\u{1b}[37;41mx", "b1", Some("#e5e5e5"), Some("#cd0000")),
            ("\u{1b}[7mx", "inverse", None, None),
            ("\u{1b}[7;33mx", "b3", None, Some("#cdcd00")),
            ("\u{1b}[7;33;44mx", "b3", Some("#0000ee"), Some("#cdcd00")),
        ] {
            let expected = RowSpan {
                text: "x".into(),
                class: class.into(),
                fg: fg.map(str::to_owned),
                bg: bg.map(str::to_owned),
            };
            assert_eq!(spans(text), [expected], "{text:?}");
        }
    }

    #[test]
    fn a_row_of_very_many_styles_loses_them() {
        let wild: String = ["\u{1b}[31mx", "\u{1b}[32mx"].concat().repeat(2_000);
        assert_eq!(spans(&wild).len(), 1);
        assert_eq!(spans(&wild)[0].text.len(), 4_000);
    }
}
