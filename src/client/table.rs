//! Columns for a terminal, as `ps` and `services` show them.

/// Whether there is colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Coloured,
}

/// A line, and the colour of the cell that is painted, where it has one.
pub(super) struct Row<const N: usize> {
    pub(super) cells: [String; N],
    pub(super) color: Option<&'static str>,
}

/// For what is well, on its way, and broken.
pub(super) const GREEN: &str = "\x1b[32m";
pub(super) const YELLOW: &str = "\x1b[33m";
pub(super) const RED: &str = "\x1b[31m";

/// The width of a terminal that nobody made wider.
pub(super) const TERMINAL: usize = 80;

/// A table under its headings, of which one column is painted.
pub(super) fn tabulate<const N: usize>(
    headings: [&str; N],
    painted: usize,
    rows: Vec<Row<N>>,
    paint: Paint,
) -> String {
    let rows: Vec<Row<N>> =
        [Row { cells: headings.map(str::to_owned), color: None }].into_iter().chain(rows).collect();
    let width = |cell: &String| cell.chars().count();
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter().map(|row| width(&row.cells[column])).max().unwrap_or_default()
    });
    // Two spaces between columns, unless only one leaves the line whole.
    let content: usize = widths.iter().sum();
    let gap = if content + 2 * N.saturating_sub(1) <= TERMINAL { 2 } else { 1 };
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.cells.iter().enumerate() {
            match row.color.filter(|_| column == painted && paint == Paint::Coloured) {
                Some(color) => line.extend([color, cell, "\x1b[0m"]),
                None => line.push_str(cell),
            }
            line.push_str(&" ".repeat(widths[column] - width(cell) + gap));
        }
        text.extend([line.trim_end(), "\n"]);
    }
    text
}
