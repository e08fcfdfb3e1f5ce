//! Output as programs with progress bars write it, made from a seed.

use std::fmt::Write;

use proptest::prelude::*;

/// Output of several programs, one after another.
pub fn output() -> impl Strategy<Value = Vec<u8>> {
    let programs = || {
        prop_oneof![
            3 => lines(),
            3 => tqdm(),
            2 => live_display(),
            2 => layers(),
            2 => spinner(),
            2 => rewritten_line(),
        ]
    };
    let actions = prop::collection::vec(action(), 1..12).prop_map(|actions| actions.concat());
    // tmux leaves half of a wide character of which a sequence erases the other half.
    let narrow = |part: String| part.replace(|character| WIDE.contains(character), "W");
    let with_actions = prop_oneof![2 => programs().prop_map(narrow), 1 => actions];
    prop_oneof![prop::collection::vec(programs(), 1..8), prop::collection::vec(with_actions, 1..8)]
        .prop_map(|parts| parts.concat().into_bytes())
}

const WIDE: &str = "日本語처리";

fn word() -> BoxedStrategy<String> {
    prop_oneof![6 => narrow(), 1 => "[日本語처리]{1,5}"].boxed()
}

/// Text without wide characters: tmux leaves half of one that is overwritten from its middle on.
fn narrow() -> BoxedStrategy<String> {
    prop_oneof![6 => "[ -~]{1,20}", 1 => "[äöü→█▏━╸⠙✔]{1,8}", 1 => "([a-z]\u{301}){1,4}"].boxed()
}

fn color() -> impl Strategy<Value = String> {
    prop_oneof![
        "(1|2|3|4|7|9|21)",
        "(3|4|9|10)[0-7]",
        "(38|48);5;(1|9|17|200|255)",
        "(38|48);2;(0|1|255);20;(3|200)",
        "(38|48):2::(0|1|255):20:3",
        "(38|48):5:(1|9|17)",
        "1;3[1-6];4[1-6]",
        "4:3;58;5;9;1",
    ]
}

/// Text with a style that ends with it.
fn styled(word: fn() -> BoxedStrategy<String>) -> impl Strategy<Value = String> {
    prop_oneof![
        2 => word(),
        1 => (color(), word()).prop_map(|(color, word)| format!("\x1b[{color}m{word}\x1b[0m")),
    ]
}

fn lines() -> impl Strategy<Value = String> {
    let end = prop_oneof![4 => Just("\n"), 1 => Just("\r\n"), 1 => Just("\n\n")];
    prop::collection::vec((prop::collection::vec(styled(word), 0..4), end), 1..30)
        .prop_map(|lines| lines.into_iter().map(|(words, end)| words.concat() + end).collect())
}

/// Nested bars: down to the bar's row, and back up.
fn tqdm() -> impl Strategy<Value = String> {
    let update = (0..4usize, 0..=100usize);
    (prop::collection::vec(update, 1..30), 0..4usize).prop_map(|(updates, last)| {
        let bar = |(row, percent): (usize, usize)| {
            let blocks = "█".repeat(percent / 5) + if percent % 5 > 2 { "▌" } else { "" };
            format!(
                "{}\r{percent:3}%|{blocks:<20}| {percent}/100 [00:01<00:02]{}",
                "\n".repeat(row),
                "\x1b[A".repeat(row)
            )
        };
        updates.into_iter().map(bar).collect::<String>() + &"\n".repeat(last)
    })
}

/// As rich does it, and with it pip: the cursor is hidden, and all rows are erased from the last one up.
fn live_display() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::collection::vec(styled(word), 1..5), 1..10).prop_map(|frames| {
        let mut output = String::from("\x1b[?25l");
        let mut before = 0;
        for frame in frames {
            if before > 0 {
                output += "\r\x1b[2K";
                output += &"\x1b[1A\x1b[2K".repeat(before - 1);
            }
            output += &frame.join("\n");
            before = frame.len();
        }
        output + "\n\x1b[?25h"
    })
}

/// As `docker pull` does it: one row for each layer, updated in any order.
fn layers() -> impl Strategy<Value = String> {
    (1..8usize, prop::collection::vec((0..8usize, 0..100u8, word()), 1..40)).prop_map(|(count, updates)| {
        let mut output = String::new();
        for layer in 0..count {
            let _ = write!(output, "{layer:04x}: Pulling fs layer \r\n");
        }
        for (layer, percent, word) in updates {
            let up = count - layer % count;
            let text = format!("{layer:04x}: Downloading {percent} % {word}");
            let _ = write!(output, "\x1b[{up}A\x1b[2K\r{text}\r\x1b[{up}B");
        }
        output
    })
}

fn spinner() -> impl Strategy<Value = String> {
    let frame = prop_oneof![
        narrow().prop_map(|word| format!("\x1b[1G\x1b[0K⠙ {word}")),
        narrow().prop_map(|word| format!("\x1b[2K\x1b[1G{word}")),
        narrow().prop_map(|word| format!("\x1b[999D\x1b[K{word}")),
        "[|/-]".prop_map(|bar| format!("{bar}\x08")),
        Just("\x08 \x08".to_owned()),
        Just("\x08\x08\x08 50%".to_owned()),
        Just("\r\x1b[J".to_owned()),
    ];
    prop::collection::vec(frame, 1..20).prop_map(|frames| frames.concat())
}

/// As apt, wget and curl do it.
fn rewritten_line() -> impl Strategy<Value = String> {
    prop::collection::vec((word(), 0..40usize), 1..15).prop_map(|updates| {
        let update = |(word, blanks): (String, usize)| format!("\r{word}{}\r{word}", " ".repeat(blanks));
        updates.into_iter().map(update).collect::<String>() + "\n"
    })
}

/// Anything that moves, erases or writes. Erasing happens without a background: tmux would paint it to the end of the row.
fn action() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => styled(narrow),
        2 => Just("\n".to_owned()),
        1 => Just("\r".to_owned()),
        1 => Just("\t".to_owned()),
        1 => Just("\x08".to_owned()),
        4 => "\x1b\\[([1-9]|[1-3][0-9])?[ABCDEFGd`]",
        1 => "\x1b\\[([1-9]|[1-5][0-9])?(;[1-9]|;[1-5][0-9])?[Hf]",
        1 => "\x1b\\[(99999|2147483647)[ABDF]",
        2 => "\x1b\\[[0-2]?K",
        1 => "\x1b\\[[0-2]?J",
        1 => "\x1b\\[[1-9]?X",
        1 => prop_oneof![Just("\x1b7"), Just("\x1b8"), Just("\x1b[s"), Just("\x1b[u")].prop_map(str::to_owned),
        1 => prop_oneof![Just("\n\x1bM"), Just("\x1bD"), Just("\x1bE"), Just("\x1bc")].prop_map(str::to_owned),
        1 => prop_oneof![Just("\x1b]0;title\x07"), Just("\x1b]8;;http://x/\x1b\\"), Just("\x1b(B"), Just("\x1b[?25l")]
            .prop_map(str::to_owned),
        1 => "\x1b\\[(0|1|31|92|22|23|24|27|29|39|38;5;3)?m",
    ]
}
