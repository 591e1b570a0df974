//! Standard output, and tables on it.

use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;

use comfy_table::{CellAlignment, Table, presets};

use super::exit::{Exit, Failure};

/// Writes to standard output. A reader that went away (`| head`) has what it wanted.
pub fn print(text: &str) -> Result<(), Failure> {
    offer(text).map(drop)
}

/// Writes to standard output; breaks when its reader went away, so that what goes on for ever ends.
pub fn offer(text: &str) -> Result<ControlFlow<()>, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(Failure::new(Exit::OUTPUT, format!("cannot write the output: {error}"))),
    }
}

/// Writes one line.
pub fn print_line(text: &str) -> Result<(), Failure> {
    print(&format!("{text}\n"))
}

/// How the cells of a column stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows below a header, without lines, so that they are as easy to cut and to search as to read.
pub fn table(header: &[(&str, Align)], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().map(|(name, _)| *name));
    table.add_rows(rows);
    for (column, (_, align)) in table.column_iter_mut().zip(header) {
        column.set_padding((0, 2));
        column.set_cell_alignment(match align {
            Align::Left => CellAlignment::Left,
            Align::Right => CellAlignment::Right,
        });
    }
    format!("{}\n", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_right() {
        let rows = [["a", "1.5", "x"], ["long", "-1000", ""]].map(|row| row.map(String::from).to_vec());
        let header = [("name", Align::Left), ("pnl", Align::Right), ("note", Align::Left)];
        assert_eq!(table(&header, rows), "name    pnl  note\na       1.5  x\nlong  -1000\n");
    }
}
