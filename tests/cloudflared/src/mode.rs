//! Behaviour of a start, selected by the file `mode`.
//!
//! Each line is `[PORT:] NAME[=SECONDS] [xCOUNT]`. A start behaves as the first line for its port whose count is not used
//! up; without such a line, as `ok`. A line `speed=N` divides all times by N.

/// Behaviour of one start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// One of [`NAMES`].
    pub name: &'static str,
    /// Value of a name that has one.
    pub seconds: u32,
}

/// All names. Those that end in `-after` are `ok` for a number of seconds first.
pub const NAMES: &[&str] = &[
    "ok",
    // Cloudflare's interface fails.
    "429",
    "500",
    "badjson",
    "nouuid",
    "nodns",
    "slow15",
    "x509",
    // Cloudflare's edge is out of reach, or refuses.
    "edge-dns",
    "udp-blocked",
    "tcp-blocked",
    "unauthorized-loop",
    "unauthorized-first",
    "unauthorized-after",
    "not-ready",
    // The connection is lost for 60 seconds, or for ever.
    "lose-after",
    "lost-after",
    // The command line, the token, the metrics.
    "old",
    "bad-token",
    "metrics-taken",
    "big-answer",
    "empty-answer",
    "evil-host",
    // The process misbehaves.
    "exit0-after",
    "die-after",
    "hang",
    "hang-after",
    "ignore-term",
    "flood",
    "no-newline",
    // The service behind the tunnel is down.
    "origin-down",
];

impl Mode {
    /// Returns the mode of the start with this number, counted from 0 for each `port`, and the speed.
    pub fn select(text: &str, port: &str, mut number: usize) -> Result<(Self, u32), String> {
        let mut speed = 1;
        let mut selected = None;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let wrong = || format!("{line:?}");
            if let Some(value) = line.strip_prefix("speed=") {
                speed = value.parse().map_err(|_| wrong())?;
                continue;
            }
            let (own, behaviour) =
                line.split_once(':').map_or((port, line), |(own, rest)| (own, rest.trim()));
            let (word, count) =
                behaviour.split_once(" x").map_or((behaviour, None), |(word, count)| (word, Some(count)));
            let (word, seconds) = word.split_once('=').unwrap_or((word, "0"));
            let name = NAMES.iter().find(|name| **name == word).ok_or_else(wrong)?;
            let mode = Self { name, seconds: seconds.parse().map_err(|_| wrong())? };
            if own != port || selected.is_some() {
                continue;
            }
            match count.map(str::parse::<usize>).transpose().map_err(|_| wrong())? {
                Some(count) if number >= count => number -= count,
                _ => selected = Some(mode),
            }
        }
        Ok((selected.unwrap_or(Self { name: "ok", seconds: 0 }), speed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_with_an_unused_count_is_selected() {
        let text = "speed=20\n1111: hang\n429 x2\nlose-after=5 x1\n8188: 500\n";
        let name = |port, number| {
            let (mode, speed) = Mode::select(text, port, number).unwrap();
            assert_eq!(speed, 20);
            (mode.name, mode.seconds)
        };
        assert_eq!(
            [0, 1, 2, 3, 9].map(|number| name("3000", number)),
            [("429", 0), ("429", 0), ("lose-after", 5), ("ok", 0), ("ok", 0)]
        );
        assert_eq!([0, 3].map(|number| name("8188", number)), [("429", 0), ("500", 0)]);
        assert_eq!(name("1111", 7), ("hang", 0));
        assert!(
            ["okay", "ok x", "speed=fast", "lose-after=soon"]
                .iter()
                .all(|line| Mode::select(line, "1", 0).is_err())
        );
    }
}
