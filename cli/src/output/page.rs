//! A page for people: a headline, aligned fields, tables and notes.

use super::style;

/// What one command prints.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
enum Line {
    Text(String),
    Field(String, String),
    Table(Table),
}

impl Page {
    /// A page that begins with `headline`.
    pub(crate) fn new(headline: impl Into<String>) -> Self {
        Self { lines: vec![Line::Text(headline.into())] }
    }

    /// One with nothing on it.
    pub(crate) const fn blank() -> Self {
        Self { lines: Vec::new() }
    }

    /// A label and its value; the values of neighbouring fields stand in one column.
    pub(crate) fn field(mut self, label: impl Into<String>, value: impl Into<String>) -> Self {
        self.lines.push(Line::Field(label.into(), value.into()));
        self
    }

    /// Anything else.
    pub(crate) fn text(mut self, text: impl Into<String>) -> Self {
        self.lines.push(Line::Text(text.into()));
        self
    }

    /// A table.
    pub(crate) fn table(mut self, table: Table) -> Self {
        self.lines.push(Line::Table(table));
        self
    }

    /// The page with its styles.
    pub(crate) fn render(&self) -> String {
        let mut out = String::new();
        for group in self.lines.chunk_by(|a, b| matches!((a, b), (Line::Field(..), Line::Field(..)))) {
            let widest = group.iter().map(Line::label_width).max().unwrap_or(0);
            for line in group {
                match line {
                    Line::Text(text) => out.push_str(text),
                    Line::Field(label, value) => {
                        let gap = " ".repeat(widest.saturating_sub(style::width(label)));
                        // Further lines of a value stand below its first.
                        let indent = format!("\n{}", " ".repeat(widest.saturating_add(5)));
                        let value = value.replace('\n', &indent);
                        out.push_str(&format!("  {}{gap}   {value}", style::dim(label)));
                    }
                    Line::Table(table) => out.push_str(table.render().trim_end_matches('\n')),
                }
                out.push('\n');
            }
        }
        out
    }
}

impl Line {
    fn label_width(&self) -> usize {
        match self {
            Self::Field(label, _) => style::width(label),
            Self::Text(_) | Self::Table(_) => 0,
        }
    }
}

/// Columns of equal width; numbers stand to the right.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings; a heading that begins with `>` is of a column that stands to the right.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let right = headings.iter().map(|heading| heading.starts_with('>')).collect();
        let heading = |text: &&str| style::dim(text.trim_start_matches('>'));
        let first: Vec<String> = headings.iter().map(heading).collect();
        let rows = if headings.iter().all(|heading| heading.trim_start_matches('>').is_empty()) {
            Vec::new()
        } else {
            vec![first]
        };
        Self { right, rows }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    fn render(&self) -> String {
        let columns = self.right.len();
        let widest: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows.iter().filter_map(|row| row.get(column)).map(|c| style::width(c)).max().unwrap_or(0)
            })
            .collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::from(" ");
            for ((cell, width), right) in row.iter().zip(&widest).zip(&self.right) {
                let gap = " ".repeat(width.saturating_sub(style::width(cell)));
                line.push(' ');
                line.push_str(&if *right { format!("{gap}{cell}") } else { format!("{cell}{gap}") });
                line.push(' ');
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn fields_stand_in_one_column() {
        let page = Page::new(style::good("permit")).field("by", "a").field("proven by", "b\nc").text("end");
        assert_eq!(plain(&page.render()), "permit\n  by          a\n  proven by   b\n              c\nend\n");
    }

    #[test]
    fn tables_align_numbers_to_the_right() {
        let mut table = Table::new(&["tool", ">calls"]);
        table.row(["think", "92"]);
        table.row([style::name("get"), "1164".into()]);
        let page = Page::blank().table(table);
        assert_eq!(plain(&page.render()), "  tool   calls\n  think     92\n  get     1164\n");
    }
}
