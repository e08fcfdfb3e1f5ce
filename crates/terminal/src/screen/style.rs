//! Colours and attributes of characters (SGR, ECMA-48 8.3.117 and the colours of xterm).

use serde::{Serialize, Serializer};
use vte::Params;

/// Colour of a palette, or red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// 0 to 7, their bright variants 8 to 15, then the palette of 256.
    Indexed(u8),
    /// Any colour.
    Rgb(u8, u8, u8),
}

/// A number for a colour of the palette, `"#rrggbb"` for any other.
impl Serialize for Color {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Color::Indexed(index) => serializer.serialize_u8(index),
            Color::Rgb(red, green, blue) => {
                serializer.collect_str(&format_args!("#{red:02x}{green:02x}{blue:02x}"))
            }
        }
    }
}

/// Appearance of a text; in JSON, only what differs from the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[allow(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct Style {
    /// Colour of the characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fg: Option<Color>,
    /// Colour behind them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bg: Option<Color>,
    #[allow(missing_docs)]
    #[serde(skip_serializing_if = "is_false")]
    pub bold: bool,
    #[allow(missing_docs)]
    #[serde(skip_serializing_if = "is_false")]
    pub dim: bool,
    #[allow(missing_docs)]
    #[serde(skip_serializing_if = "is_false")]
    pub italic: bool,
    /// Any kind of underline.
    #[serde(skip_serializing_if = "is_false")]
    pub underline: bool,
    /// The two colours change places.
    #[serde(skip_serializing_if = "is_false")]
    pub inverse: bool,
    #[allow(missing_docs)]
    #[serde(skip_serializing_if = "is_false")]
    pub strike: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Style {
    /// True if the text looks like any other.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Style::default()
    }

    /// Applies the parameters of a sequence that ends with `m`. Hidden text stays visible, blinking text does not blink.
    pub(super) fn apply(&mut self, params: &Params) {
        let mut groups = params.iter();
        while let Some(group) = groups.next() {
            match group[0] {
                0 => *self = Style::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 => self.underline = group.get(1) != Some(&0),
                7 => self.inverse = true,
                9 => self.strike = true,
                21 => self.underline = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                27 => self.inverse = false,
                29 => self.strike = false,
                code @ 30..=37 => self.fg = indexed(code - 30),
                39 => self.fg = None,
                code @ 40..=47 => self.bg = indexed(code - 40),
                49 => self.bg = None,
                code @ 90..=97 => self.fg = indexed(code - 90 + 8),
                code @ 100..=107 => self.bg = indexed(code - 100 + 8),
                code @ (38 | 48 | 58) => {
                    let color = match group {
                        [_] => separate(&mut groups),
                        [_, rest @ ..] => joined(rest),
                        [] => None,
                    };
                    match code {
                        38 if color.is_some() => self.fg = color,
                        48 if color.is_some() => self.bg = color,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }
}

fn indexed(number: u16) -> Option<Color> {
    Some(Color::Indexed(u8::try_from(number).ok()?))
}

fn rgb(red: u16, green: u16, blue: u16) -> Option<Color> {
    let part = |value: u16| u8::try_from(value).ok();
    Some(Color::Rgb(part(red)?, part(green)?, part(blue)?))
}

/// Returns the colour in `38;5;N` or `38;2;R;G;B`, after the 38.
fn separate<'a>(groups: &mut impl Iterator<Item = &'a [u16]>) -> Option<Color> {
    let mut number = || groups.next().map(|group| group[0]);
    match number()? {
        5 => indexed(number()?),
        2 => rgb(number()?, number()?, number()?),
        _ => None,
    }
}

/// Returns the colour in `38:5:N`, `38:2:R:G:B` or `38:2:SPACE:R:G:B`, after the 38.
fn joined(group: &[u16]) -> Option<Color> {
    match *group {
        [5, index, ..] => indexed(index),
        [2, red, green, blue] | [2, _, red, green, blue, ..] => rgb(red, green, blue),
        _ => None,
    }
}
