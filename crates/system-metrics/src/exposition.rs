//! Writes the text format of Prometheus, version 0.0.4.

use std::fmt::Write;

/// Content type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends with `_total`.
    Counter,
    /// Any value.
    Gauge,
}

/// Metrics as text.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// Adds a metric with its values, one for each set of labels. A metric without values is left out.
    pub fn add<'label>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        values: impl IntoIterator<Item = (Vec<(&'label str, String)>, f64)>,
    ) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return;
        }
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in values {
            self.0.push_str(name);
            for (index, (label, text)) in labels.iter().enumerate() {
                let before = if index == 0 { '{' } else { ',' };
                let _ = write!(self.0, "{before}{label}=\"{}\"", escape(text));
            }
            let _ = writeln!(self.0, "{}{}", if labels.is_empty() { " " } else { "} " }, number(value));
        }
    }

    /// Adds a metric with at most one value and no labels.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: Option<f64>) {
        self.add(name, kind, help, value.map(|value| (Vec::new(), value)));
    }

    /// Returns the text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_numbers_are_floats() {
        let mut text = Exposition::default();
        let label = |value: &str| vec![("path", value.to_owned()), ("kind", "x".to_owned())];
        text.add(
            "a_total",
            Kind::Counter,
            "A \\ and\na line.",
            [(label("/a\"b\\c\nd ä"), 1.5), (label(""), f64::NAN)],
        );
        text.single("b", Kind::Gauge, "B.", Some(18_446_744_073_709_551_615.0));
        text.single("c", Kind::Gauge, "Left out.", None);
        text.add(
            "d",
            Kind::Gauge,
            "D.",
            [f64::INFINITY, f64::NEG_INFINITY, -0.25].map(|value| (Vec::new(), value)),
        );
        let expected = "# HELP a_total A \\\\ and\\na line.\n# TYPE a_total counter\n\
            a_total{path=\"/a\\\"b\\\\c\\nd ä\",kind=\"x\"} 1.5\na_total{path=\"\",kind=\"x\"} NaN\n\
            # HELP b B.\n# TYPE b gauge\nb 18446744073709552000\n\
            # HELP d D.\n# TYPE d gauge\nd +Inf\nd -Inf\nd -0.25\n";
        assert_eq!(text.into_text(), expected);
    }
}
