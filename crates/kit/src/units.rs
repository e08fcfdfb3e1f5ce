//! Numbers formatted for people.

/// Formats bytes in decimal units, as for disks: `2.7 GB`.
#[must_use]
pub fn format_bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if number < 1_000 {
        return format!("{number} bytes");
    }
    let mut unit = 0;
    let mut scaled = u128::from(number) * 10 / 1_000;
    while scaled >= 10_000 && unit + 1 < UNITS.len() {
        scaled /= 1_000;
        unit += 1;
    }
    // Rounds to tenths.
    let divisor = 1_000_u128.pow(u32::try_from(unit).unwrap_or(0) + 1);
    let tenths = (u128::from(number) * 10 + divisor / 2) / divisor;
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Formats memory in binary units, as programs and drivers do: `79.6 GiB`.
#[must_use]
pub fn format_memory(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    // Rounds to tenths.
    let mut tenths = (u128::from(number) * 10 + 512) / 1024;
    while tenths >= 10_235 && unit + 1 < UNITS.len() {
        unit += 1;
        let divisor = 1024_u128.pow(u32::try_from(unit).unwrap_or(0) + 1);
        tenths = (u128::from(number) * 10 + divisor / 2) / divisor;
    }
    if number == 0 { "0".to_owned() } else { format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]) }
}

/// Formats a count with separators: `63,000`.
#[must_use]
pub fn format_count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_rounded() {
        let shown = [0, 999, 1_000, 1_049, 1_050, 999_000, 5_450_000_000, u64::MAX].map(format_bytes);
        assert_eq!(
            shown,
            ["0 bytes", "999 bytes", "1.0 kB", "1.0 kB", "1.1 kB", "999.0 kB", "5.5 GB", "18446.7 PB"]
        );
        let memory =
            [0, 1, 1024, 536_870_912, (1 << 30) - 1, 1 << 30, 81_559 << 20, u64::MAX].map(format_memory);
        assert_eq!(
            memory,
            ["0", "0.0 KiB", "1.0 KiB", "512.0 MiB", "1.0 GiB", "1.0 GiB", "79.6 GiB", "16384.0 PiB"]
        );
        assert_eq!(
            [0, 999, 1_000, 63_000, 1_234_567].map(format_count),
            ["0", "999", "1,000", "63,000", "1,234,567"]
        );
    }
}
