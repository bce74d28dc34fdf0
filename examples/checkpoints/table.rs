//! Lines of columns, as wide as what is in them.

use std::fmt;

/// Numbers are to the right, texts to the left.
pub struct Table {
    is_number: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A column whose name begins with `#` has numbers.
    pub fn new(names: &[&str]) -> Self {
        let is_number = names.iter().map(|name| name.starts_with('#')).collect();
        let names = names.iter().map(|name| name.trim_start_matches('#').to_owned()).collect();
        Table { is_number, rows: vec![names] }
    }

    pub fn push<const COLUMNS: usize>(&mut self, row: [String; COLUMNS]) {
        self.rows.push(row.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.is_number.len()).map(width).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).zip(&self.is_number).map(|((cell, width), is_number)| {
                if *is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}
