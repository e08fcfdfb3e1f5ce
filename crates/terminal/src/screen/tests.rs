//! What a screen shows, and how it withstands hostile output. Equality with tmux is tested in `tests/tmux.rs`.

use super::*;

fn feed_all(screen: &mut Screen, mut bytes: &[u8], mut offset: u64, mut on: impl FnMut(Row)) {
    while !bytes.is_empty() {
        let fed = screen.feed(bytes, offset);
        bytes = &bytes[fed..];
        offset += fed as u64;
        screen.take_changes().into_iter().for_each(&mut on);
    }
}

/// Rows of a screen of four, by id, in their last state.
fn rendered(output: &[u8]) -> Vec<(u64, String)> {
    let mut rows = std::collections::BTreeMap::new();
    feed_all(&mut Screen::new(4), output, 0, |row| {
        rows.insert(row.id, row.text());
    });
    rows.into_iter().collect()
}

fn texts(output: impl AsRef<[u8]>) -> Vec<String> {
    rendered(output.as_ref()).into_iter().map(|(_, text)| text).collect()
}

#[test]
fn rows_are_named_after_their_first_byte() {
    let rows = |rows: &[(u64, &str)]| rows.iter().map(|&(id, text)| (id, text.into())).collect::<Vec<_>>();
    assert_eq!(rendered(b"one\ntwo\n\nfour"), rows(&[(0, "one"), (4, "two"), (8, ""), (9, "four")]));
    // A colour belongs to its line; a bar keeps its row; what scrolls away stays as it was.
    assert_eq!(rendered(b"\n\x1b[31mred"), rows(&[(0, ""), (1, "red")]));
    assert_eq!(rendered(b"10 %\r20 %\r30 %\nend\n"), rows(&[(0, "30 %"), (15, "end")]));
    assert_eq!(
        rendered(b"a\nb\nc\nd\ne\x1b[9AB\n"),
        rows(&[(0, "a"), (2, "bB"), (4, "c"), (6, "d"), (8, "e")])
    );
    // Rows that one sequence creates have ids of their own.
    assert_eq!(rendered(b"\x1b[3Bx"), rows(&[(0, ""), (1, ""), (2, ""), (4, "x")]));
}

#[test]
fn only_changed_rows_are_reported() {
    let mut screen = Screen::new(10);
    let mut changes = |bytes: &[u8], offset| -> Vec<(u64, String)> {
        assert_eq!(screen.feed(bytes, offset), bytes.len());
        screen.take_changes().iter().map(|row| (row.id, row.text())).collect()
    };
    assert_eq!(changes(b"one\ntwo\n", 7), [(7, "one".into()), (11, "two".into())]);
    assert_eq!(changes(b"", 15), []);
    assert_eq!(changes(b"\x1b[2A", 15), []);
    assert_eq!(changes(b"\rO", 19), [(7, "One".into())]);
    let blank = (15..=21).map(|id| (id, String::new()));
    assert_eq!(changes(b"\x1b[9B!", 21), blank.chain([(25, " !".into())]).collect::<Vec<_>>());
}

#[test]
fn styles_are_kept() {
    let json = |output: &str| {
        let mut screen = Screen::new(4);
        assert_eq!(screen.feed(output.as_bytes(), 0), output.len());
        serde_json::to_string(&screen.rows()).unwrap()
    };
    assert_eq!(
        json("a\x1b[1;31mb\x1b[0m\x1b[38;2;1;2;255;48;5;200mc\x1b[39;49;4:3;3md"),
        r##"[{"id":0,"spans":[{"text":"a"},{"text":"b","fg":1,"bold":true},{"text":"c","fg":"#0102ff","bg":200},{"text":"d","italic":true,"underline":true}]}]"##
    );
    assert_eq!(
        json("\x1b[97;2;7;9mabc\r\x1b[0mB"),
        r#"[{"id":0,"spans":[{"text":"B"},{"text":"bc","fg":15,"dim":true,"inverse":true,"strike":true}]}]"#
    );
}

#[test]
fn what_cannot_be_shown_is_named_and_swallows_nothing() {
    for (output, expected) in [
        (&b"a\0b\x07c\x0bd\x7f"[..], "a␀b␇c␋d␡"),
        (b"caf\xe9 \xe2\x82 \xff\xfe", "caf\\xe9 \\xe2\\x82 \\xff\\xfe"),
        ("abc\u{202e}fed\u{200f}\u{9b}31m".as_bytes(), "abc\\u{202e}fed\\u{200f}\\u{9b}31m"),
        (b"a\x1b]0;title\x07b\x1b]52;c;aGk=\x1b\\c\x1bP+q\x1b\\d\x1b(Be\x1b[?1049hf\x1b[>4;2mg", "abcdefg"),
        (b"\x1b]8;;http://example.com\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"<script>alert(1)</script>", "<script>alert(1)</script>"),
        (b"\x1b[8mhidden", "hidden"),
        // Unfinished sequences end with their line.
        (b"a\x1b]0;no end", "a"),
        (b"a\x1b[3\xc3\xa9m", "a␛[3\u{e9}m"),
        (b"a\x1b[31\x1b[0mb", "a␛[31b"),
        (b"a\x1b\x1b[1mb", "ab"),
    ] {
        assert_eq!(texts(output), [expected], "{:?}", String::from_utf8_lossy(output));
    }
    assert_eq!(texts("a\x1b]0;no end\nb\x1b[3\nc\x1bP1\ndé"), ["a␛]0;no end", "b␛[3", "c␛P1", "dé"]);
    let long = format!("\x1b]0;{}\x07", "x".repeat(5000));
    assert_eq!(texts(&long), [format!("␛]0;{}␇", "x".repeat(5000))]);
}

#[test]
fn output_may_be_cut_anywhere() {
    let output =
        "é日本e\u{301}\x1b[1;38;5;200mß\x1b[0m\x1b]0;ti日tle\x07\t|\r\n\u{1f600}x\x1b[A\x1b[2K\u{2028}"
            .as_bytes()
            .iter()
            .copied()
            .chain(*b"\xf0\x9f\x98\n\xe2\x82\x1b[1mb\xff\xc3")
            .chain("日\n".bytes())
            .collect::<Vec<u8>>();
    let whole = {
        let mut screen = Screen::new(9);
        assert_eq!(screen.feed(&output, 0), output.len());
        screen.rows()
    };
    for size in 1..9 {
        let mut screen = Screen::new(9);
        for (index, piece) in output.chunks(size).enumerate() {
            assert_eq!(screen.feed(piece, (index * size) as u64), piece.len());
        }
        assert_eq!(screen.rows(), whole, "in pieces of {size}");
    }
}

#[test]
fn a_line_without_end_becomes_rows_that_lose_nothing() {
    let mut rows = Vec::new();
    let mut screen = Screen::new(50);
    let line = "0123456789".repeat(1 << 20);
    feed_all(&mut screen, line.as_bytes(), 0, |row| rows.push((row.id, row.text())));
    rows.extend(screen.rows().into_iter().map(|row| (row.id, row.text())));
    rows.sort();
    rows.dedup_by_key(|(id, _)| *id);
    assert!(rows.iter().all(|(id, text)| id % MAX_COLUMNS as u64 == 0 && text.len() == MAX_COLUMNS));
    assert_eq!(rows.into_iter().map(|(_, text)| text).collect::<String>(), line);
}

#[test]
fn hostile_output_takes_little_memory_and_time() {
    for pattern in [
        "\x1b[999999999Cx",
        "\x1b[999999999Cx\n",
        "\x1b[999999999Cx\x1b[B",
        "\x1b[2147483647A\x1b[16384Gx\x1b[2147483647B\x1b[16384Gx",
        "\x1b[99Bx\x1b[2J\x1b[H",
        "\x1b[1;1H\x1b[0J\x1b[65535;65535Hx\x1b[1J\x1b[65535X",
        "\x1b7\x1b8\x1b[s\x1b[u\x1bM\x1bD\x1bE\x1bc",
        "\x1b[1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17;18;19;20;21;22;23;24;25;26;27;28;29;30;31;32;33m",
        "\t\t\t\tx\r",
        "\x1b[38;5;196ma\x1b[48;2;1;2;3mb",
        "e\u{301}\u{301}\u{301}\r\u{301}",
        "x\u{301}",
        "\u{301}",
        "\x1b]",
        "\x1b",
        "\n",
        "\0",
        "\u{8}日\u{8}x",
    ] {
        let output = pattern.repeat((1 << 16) / pattern.len());
        let mut screen = Screen::new(50);
        feed_all(&mut screen, output.as_bytes(), 0, |_| {});
        assert!(screen.display.weight() <= 5 << 20, "{pattern:?}: {}", screen.display.weight());
    }
}
