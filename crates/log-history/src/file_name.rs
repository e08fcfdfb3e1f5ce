//! Names of logs and of their rotated files.

/// Minimum number of digits of a date in a name; a rotation number has fewer.
const DATE: usize = 6;
/// Suffixes of compressed files and archives that cannot be read.
const OPAQUE: [&str; 14] = [
    ".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2", ".tgz", ".tar", ".xz", ".zst", ".bz2", ".lz4", ".lzma",
    ".lzo", ".Z", ".zip",
];

/// Position in a rotation, according to the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationName {
    /// `x.log`.
    Base,
    /// `x.log.3`: rotated three or four times.
    Number(u32),
    /// `x.log-20261128`, `x.log.2026-11-28`, `x-20261128.log`: ordered by time.
    Dated,
    /// `x.log.old`, `x.log.Fri`, but also `x.log.pid`: ordered by time and content.
    Other,
}

/// Compression of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not compressed.
    Plain,
    /// With gzip.
    Gzip,
    /// Compressed in a format that cannot be read.
    Opaque,
}

/// Returns the service of a log: its name without `.log`. Our own and hidden files have none.
#[must_use]
pub fn service_name(name: &str) -> Option<&str> {
    let service = name.strip_suffix(".log")?;
    // Following our own output would never end.
    (!service.is_empty() && !service.starts_with('.') && service != "logtail").then_some(service)
}

/// Returns the log that a file belongs to, such as `x.log` for `x.log.3`, and its position there.
///
/// `x-20261128.log` is a rotated file if `is_rotated` returns true for it and `x.log`, otherwise a log of its own.
pub fn classify(
    name: &str,
    is_rotated: impl Fn(&str, &str) -> bool,
) -> Option<(String, RotationName, Compression)> {
    let (plain, packing) = strip_compression(name);
    if plain.strip_suffix(".log").is_some() {
        let dated = dated_before_extension(plain).filter(|base| is_rotated(plain, base));
        let role = if packing == Compression::Plain { RotationName::Base } else { RotationName::Other };
        return Some(
            dated.map_or_else(
                || (plain.to_owned(), role, packing),
                |base| (base, RotationName::Dated, packing),
            ),
        );
    }
    let (base, suffix) = plain
        .match_indices(".log")
        .map(|(at, log)| plain.split_at(at + log.len()))
        .find(|(_, suffix)| suffix.starts_with(['.', '-', '_', '~']))?;
    Some((base.to_owned(), role(suffix), packing))
}

/// Returns the name without the suffix of a compression, and the compression.
#[must_use]
pub fn strip_compression(name: &str) -> (&str, Compression) {
    if let Some(plain) = OPAQUE.iter().find_map(|ending| name.strip_suffix(ending)) {
        return (plain, Compression::Opaque);
    }
    name.strip_suffix(".gz").map_or((name, Compression::Plain), |plain| (plain, Compression::Gzip))
}

/// Returns the position by the suffix after the name of the log.
fn role(suffix: &str) -> RotationName {
    let number = suffix.strip_prefix('.').filter(|number| number.len() < DATE);
    let number = number.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    match number.and_then(|number| number.parse().ok()) {
        Some(number) => RotationName::Number(number),
        None if is_date(&suffix[1..]) => RotationName::Dated,
        None => RotationName::Other,
    }
}

/// True for `20261128`, `2026-11-28_10-00-00`, `20261128-1732752000`, `2026-11-28T10:00:00Z`.
fn is_date(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let others = |byte: u8| byte.is_ascii_digit() || b"-_.:TZW".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_digit()) && digits >= DATE && text.bytes().all(others)
}

/// Returns `x.log` for `x-20261128.log`; a date needs a separator in front of it.
fn dated_before_extension(name: &str) -> Option<String> {
    let stem = name.strip_suffix(".log")?;
    let mut cuts = stem.match_indices(['-', '.', '_']).filter(|(at, _)| *at > 0);
    // A shorter number may be a port or process number.
    let (at, _) = cuts.find(|(at, _)| stem.len() > at + 8 && is_date(&stem[at + 1..]))?;
    Some(format!("{}.log", &stem[..at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_by_its_file() {
        assert_eq!(service_name("quicktunnel-8188.log"), Some("quicktunnel-8188"));
        for other in [".log", ".hidden.log", "logtail.log", "x.log.1", "x.txt", "x.log.gz"] {
            assert_eq!(service_name(other), None, "{other}");
        }
    }

    #[test]
    fn a_rotated_file_is_known_by_a_number_or_a_date() {
        use Compression::{Gzip, Opaque, Plain};
        use RotationName::{Base, Dated, Number, Other};
        for (name, role, packing) in [
            ("x.log", Base, Plain),
            ("x.log.0", Number(0), Plain),
            ("x.log.12", Number(12), Plain),
            ("x.log.2.gz", Number(2), Gzip),
            ("x.log-20261128", Dated, Plain),
            ("x.log.2026-11-28", Dated, Plain),
            ("x.log.2026-11-28_10-00-00", Dated, Plain),
            ("x.log-20261128-1732752000.xz", Dated, Opaque),
            ("x-20261128.log", Dated, Plain),
            ("x-20261128.log.gz", Dated, Gzip),
            ("x.log.old", Other, Plain),
            ("x.log~", Other, Plain),
            ("x.log.gz", Other, Gzip),
            ("x.log.0.tar.gz", Number(0), Opaque),
            ("x.log.tgz", Other, Opaque),
            ("x.log.+1", Other, Plain),
        ] {
            let parsed = classify(name, |_, base| base == "x.log");
            assert_eq!(parsed, Some(("x.log".to_owned(), role, packing)), "{name}");
        }
        for other in ["x", "x.txt", "x.logger", "y.txt.gz"] {
            assert_eq!(classify(other, |_, _| true), None, "{other}");
        }
    }

    #[test]
    fn a_dated_log_without_an_undated_one_is_a_log_of_its_own() {
        for name in ["job-20261128.log", "quicktunnel-8188.log", "a.log.b.log"] {
            assert_eq!(
                classify(name, |_, _| false),
                Some((name.to_owned(), RotationName::Base, Compression::Plain))
            );
        }
        assert_eq!(
            classify("quicktunnel-8188.log", |_, _| true).unwrap().1,
            RotationName::Base,
            "a port is no date"
        );
    }
}
