//! One card with a chart: figures in words, and what the script needs to draw.

use kit::units::{format_bytes, format_memory};
use system_metrics::Summary;

/// Unit of a chart's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Cores,
    Memory,
    /// Bytes in a second.
    Rate,
    Percent,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Name in the page, such as `cpu` or `gpu-0`.
    pub id: String,
    pub title: String,
    /// Present value in words.
    pub figure: String,
    /// Part that is used, in percent, for the bar.
    pub percent: Option<u8>,
    /// Class of the figure: `warn` close to the limit.
    pub class: &'static str,
    /// Further sentences.
    pub details: Vec<String>,
    /// Series in the history with their labels: `received=received,sent=sent`.
    pub series: String,
    /// Number of the GPU whose series these are.
    pub gpu: Option<usize>,
    pub unit: Unit,
    /// Upper end of the scale; chosen by the values if there is none.
    pub maximum: Option<f64>,
    /// Average and maximum of each series.
    pub rows: Vec<Row>,
}

/// Average and maximum of one series, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Name of the series.
    pub label: String,
    pub average: String,
    /// Largest value.
    pub maximum: String,
}

impl Unit {
    /// Returns its name for the script.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cores => "cores",
            Self::Memory => "memory",
            Self::Rate => "rate",
            Self::Percent => "percent",
        }
    }

    pub fn format(self, value: f64) -> String {
        match self {
            Self::Cores => format!("{} cores", cores(value)),
            Self::Memory => format_memory(whole(value)),
            Self::Rate if value < 1.0 => "0".to_owned(),
            Self::Rate if value < 1000.0 => format!("{:.1} kB/s", value / 1000.0),
            Self::Rate => format!("{}/s", format_bytes(whole(value))),
            Self::Percent => format!("{} %", whole(value.round())),
        }
    }
}

impl Chart {
    /// Adds the series with their labels, as far as they have values.
    pub fn with(mut self, series: &[(&str, &str)], summary: impl Fn(&str) -> Option<Summary>) -> Self {
        let known: Vec<_> =
            series.iter().filter_map(|(name, label)| Some((name, label, summary(name)?))).collect();
        let names: Vec<String> = known.iter().map(|(name, label, _)| format!("{name}={label}")).collect();
        self.series = names.join(",");
        let unit = self.unit;
        let row = |(_, label, summary): &(&&str, &&str, Summary)| Row {
            label: (**label).to_owned(),
            average: unit.format(summary.average),
            maximum: unit.format(summary.maximum),
        };
        self.rows = known.iter().map(row).collect();
        self
    }

    /// Returns the chart in one sentence, for those who cannot see it.
    pub fn summary(&self) -> String {
        let rows = self.rows.iter();
        let rows = rows.map(|row| format!("{}: average {}, maximum {}", row.label, row.average, row.maximum));
        format!("{} over the last hour. {}.", self.title, rows.collect::<Vec<_>>().join("; "))
    }
}

/// Formats a number of cores with at most two decimals.
pub fn cores(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn whole(value: f64) -> u64 {
    value as u64
}
