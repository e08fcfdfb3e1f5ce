//! One row: text that was only appended to, or cells once a program has moved back in it.

use super::style::Style;
use super::{Row, Span};

/// At most so many bytes of combining characters belong to one character.
const MAX_MARKS: usize = 32;

/// A row while it can still change.
#[derive(Debug)]
pub(super) struct RowBuffer {
    pub id: u64,
    pub changed: bool,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Appended(Appended),
    Cells(Vec<Cell>),
}

#[derive(Debug, Default)]
struct Appended {
    text: String,
    /// Style of the text up to this byte, and after the one before.
    styles: Vec<(usize, Style)>,
    columns: usize,
    /// Bytes of combining characters after the last character.
    marks: usize,
}

/// One column. A wide character has two; the second is `NOTHING`.
#[derive(Debug, Clone, PartialEq)]
struct Cell {
    character: char,
    #[allow(clippy::box_collection, reason = "it is rare, and a row has thousands of cells")]
    marks: Option<Box<String>>,
    style: Style,
}

const NOTHING: char = '\0';
const BLANK: Cell = Cell {
    character: ' ',
    marks: None,
    style: Style {
        fg: None,
        bg: None,
        bold: false,
        dim: false,
        italic: false,
        underline: false,
        inverse: false,
        strike: false,
    },
};

impl RowBuffer {
    pub fn new(id: u64) -> RowBuffer {
        RowBuffer { id, changed: true, content: Content::Appended(Appended::default()) }
    }

    pub fn is_blank(&self) -> bool {
        match &self.content {
            Content::Appended(appended) => appended.text.is_empty(),
            Content::Cells(cells) => cells.is_empty(),
        }
    }

    /// Returns about how many bytes of memory it takes.
    pub fn weight(&self) -> usize {
        match &self.content {
            Content::Appended(appended) => appended.text.len(),
            Content::Cells(cells) => cells.len() * (size_of::<Cell>() + MAX_MARKS / 4),
        }
    }

    /// Writes printable ASCII.
    pub fn put_ascii(&mut self, column: usize, text: &str, style: Style) {
        self.changed = true;
        match &mut self.content {
            Content::Appended(appended) if column >= appended.columns => {
                appended.pad(column);
                appended.push_str(text, style);
                appended.columns = column + text.len();
            }
            _ => {
                let cells = self.cells();
                for (index, byte) in text.bytes().enumerate() {
                    set(cells, column + index, byte as char, 1, style);
                }
            }
        }
    }

    /// Writes a character that is `width` columns wide: one or two.
    pub fn put(&mut self, column: usize, character: char, width: usize, style: Style) {
        self.changed = true;
        match &mut self.content {
            Content::Appended(appended) if column >= appended.columns => {
                appended.pad(column);
                appended.push_str(character.encode_utf8(&mut [0; 4]), style);
                appended.columns = column + width;
            }
            _ => set(self.cells(), column, character, width, style),
        }
    }

    /// Adds a combining character to the one before the column.
    pub fn combine(&mut self, column: usize, character: char) {
        self.changed = true;
        if let Content::Appended(appended) = &mut self.content
            && column == appended.columns
        {
            if appended.marks + character.len_utf8() <= MAX_MARKS && !appended.text.is_empty() {
                appended.marks += character.len_utf8();
                appended.text.push(character);
                if let Some((end, _)) = appended.styles.last_mut() {
                    *end = appended.text.len();
                }
            }
            return;
        }
        let cells = self.cells();
        let Some(mut index) = column.checked_sub(1) else { return };
        if cells.get(index).is_some_and(|cell| cell.character == NOTHING) {
            index -= 1;
        }
        let Some(cell) = cells.get_mut(index) else { return };
        let marks = cell.marks.get_or_insert_default();
        if marks.len() + character.len_utf8() <= MAX_MARKS {
            marks.push(character);
        }
    }

    /// Removes everything from the column on.
    pub fn truncate(&mut self, column: usize) {
        if column == 0 {
            self.changed |= !self.is_blank();
            self.content = Content::Appended(Appended::default());
        } else if column < self.columns() {
            self.changed = true;
            let cells = self.cells();
            separate(cells, column);
            cells.truncate(column);
        }
    }

    /// Makes columns blank.
    pub fn erase(&mut self, from: usize, to: usize) {
        let to = to.min(self.columns());
        if from >= to {
            return;
        }
        self.changed = true;
        let cells = self.cells();
        separate(cells, from);
        separate(cells, to);
        cells[from..to].fill(BLANK);
    }

    fn columns(&self) -> usize {
        match &self.content {
            Content::Appended(appended) => appended.columns,
            Content::Cells(cells) => cells.len(),
        }
    }

    fn cells(&mut self) -> &mut Vec<Cell> {
        if let Content::Appended(appended) = &self.content {
            self.content = Content::Cells(appended.cells());
        }
        match &mut self.content {
            Content::Cells(cells) => cells,
            Content::Appended(_) => unreachable!("it was replaced above"),
        }
    }

    /// Returns the row as it is now.
    pub fn row(&self) -> Row {
        let spans = match &self.content {
            Content::Appended(appended) => appended.spans(),
            Content::Cells(cells) => spans(cells),
        };
        Row { id: self.id, spans }
    }

    /// Returns the row in its final state.
    pub fn into_row(self) -> Row {
        match self.content {
            Content::Appended(Appended { text, styles, .. }) if styles.is_empty() && !text.is_empty() => {
                Row { id: self.id, spans: vec![Span { text, style: Style::default() }] }
            }
            _ => self.row(),
        }
    }
}

impl Appended {
    fn pad(&mut self, column: usize) {
        let missing = column - self.columns;
        if missing > 0 {
            self.push_str(&" ".repeat(missing), Style::default());
        }
    }

    /// Styles are recorded from the first text on that does not have the default.
    fn push_str(&mut self, text: &str, style: Style) {
        let before = self.text.len();
        self.text.push_str(text);
        self.marks = 0;
        let end = self.text.len();
        match self.styles.last_mut() {
            Some((last, same)) if *same == style => *last = end,
            None if style.is_default() => {}
            None if before > 0 => self.styles.extend([(before, Style::default()), (end, style)]),
            _ => self.styles.push((end, style)),
        }
    }

    fn parts(&self) -> impl Iterator<Item = (&str, Style)> {
        let rest = self.styles.is_empty() && !self.text.is_empty();
        let styled = self.styles.iter().scan(0, |begin, &(end, style)| {
            let part = &self.text[*begin..end];
            *begin = end;
            Some((part, style))
        });
        styled.chain(rest.then_some((self.text.as_str(), Style::default())))
    }

    fn spans(&self) -> Vec<Span> {
        self.parts().map(|(text, style)| Span { text: text.to_owned(), style }).collect()
    }

    fn cells(&self) -> Vec<Cell> {
        let mut cells: Vec<Cell> = Vec::with_capacity(self.columns);
        for (text, style) in self.parts() {
            for character in text.chars() {
                match super::width(character) {
                    0 => {
                        let last = cells.iter_mut().rfind(|cell| cell.character != NOTHING);
                        if let Some(cell) = last {
                            cell.marks.get_or_insert_default().push(character);
                        }
                    }
                    width => {
                        cells.push(Cell { character, marks: None, style });
                        if width == 2 {
                            cells.push(Cell { character: NOTHING, marks: None, style });
                        }
                    }
                }
            }
        }
        cells
    }
}

fn set(cells: &mut Vec<Cell>, column: usize, character: char, width: usize, style: Style) {
    let end = column + width;
    if cells.len() < end {
        cells.resize(end, BLANK);
    }
    separate(cells, column);
    separate(cells, end);
    cells[column] = Cell { character, marks: None, style };
    if width == 2 {
        cells[column + 1] = Cell { character: NOTHING, marks: None, style };
    }
}

/// Blanks a wide character that has a column on each side of the border before `column`.
fn separate(cells: &mut [Cell], column: usize) {
    if column > 0 && cells.get(column).is_some_and(|cell| cell.character == NOTHING) {
        cells[column - 1] = BLANK;
        cells[column] = BLANK;
    }
}

fn spans(cells: &[Cell]) -> Vec<Span> {
    let end = cells.iter().rposition(|cell| *cell != BLANK).map_or(0, |index| index + 1);
    let mut spans: Vec<Span> = Vec::new();
    for cell in cells[..end].iter().filter(|cell| cell.character != NOTHING) {
        match spans.last_mut() {
            Some(span) if span.style == cell.style => span.text.push(cell.character),
            _ => spans.push(Span { text: cell.character.to_string(), style: cell.style }),
        }
        if let (Some(marks), Some(span)) = (&cell.marks, spans.last_mut()) {
            span.text.push_str(marks);
        }
    }
    spans
}
