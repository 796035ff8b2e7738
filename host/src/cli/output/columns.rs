//! The widths of a table's columns.

/// Blanks between two columns.
pub(super) const GAP: usize = 2;

/// A column is not cut to less than this, in characters.
const LEAST: usize = 8;

/// Columns by name, and how wide each is so far, in characters.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Columns {
    pub(super) names: Vec<String>,
    widths: Vec<usize>,
}

impl Columns {
    /// Columns that are at least as wide as their names, and as `least` says.
    pub(in crate::cli) fn new(columns: &[(&str, usize)]) -> Self {
        let names = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let widths = columns.iter().map(|(name, least)| name.chars().count().max(*least)).collect();
        Self { names, widths }
    }

    /// Makes the columns as wide as these rows need them; none gets narrower.
    pub(super) fn grow(&mut self, rows: &[Vec<String>]) {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
    }

    /// Their widths within a line of `line` characters, if it has an end: the widest columns are
    /// cut, those with times only if it must be, and none with ids, which are copied.
    pub(super) fn within(&self, line: Option<usize>) -> Vec<usize> {
        let Some(line) = line else { return self.widths.clone() };
        let gaps = GAP * self.widths.len().saturating_sub(1);
        let narrowed = |kept: &[&str], cap: usize| {
            let narrow = |(name, width): (&String, &usize)| {
                if kept.contains(&name.as_str()) { *width } else { *width.min(&cap) }
            };
            self.names.iter().zip(&self.widths).map(narrow).collect::<Vec<usize>>()
        };
        let fits = |widths: &Vec<usize>| widths.iter().sum::<usize>() + gaps <= line;
        let widest = self.widths.iter().copied().max().unwrap_or(0).max(LEAST);
        let best = |kept| (LEAST..=widest).rev().map(|cap| narrowed(kept, cap)).find(fits);
        let mut widths = best(&["ID", "TIME", "DUE"][..]).or_else(|| best(&["ID"][..]));
        // Columns that were cut share the room that is left, from the last one on.
        if let Some(widths) = &mut widths {
            let mut left = line - gaps - widths.iter().sum::<usize>();
            for (width, whole) in widths.iter_mut().zip(&self.widths).rev() {
                let more = left.min(whole - *width);
                *width += more;
                left -= more;
            }
        }
        widths.unwrap_or_else(|| narrowed(&["ID"], LEAST))
    }
}

/// The text, cut to a width.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(widths: &[(&str, usize)]) -> Columns {
        Columns::new(widths)
    }

    #[test]
    fn nothing_is_cut_where_a_line_has_no_end_or_is_long_enough() {
        let wide = columns(&[("ID", 24), ("LAST", 300)]);
        assert_eq!(wide.within(None), [24, 300]);
        assert_eq!(wide.within(Some(326)), [24, 300]);
    }

    #[test]
    fn the_widest_columns_are_cut_until_the_line_fits() {
        let table = columns(&[("ID", 24), ("TYPE", 20), ("LAST", 300), ("DUE", 24)]);
        assert_eq!(table.within(Some(100)), [24, 20, 26, 24]);
        assert_eq!(table.within(Some(90)), [24, 18, 18, 24], "a time is cut last");
        assert_eq!(table.within(Some(60)), [24, 10, 10, 10]);
    }

    #[test]
    fn an_id_is_never_cut() {
        let table = columns(&[("TIME", 24), ("ID", 24), ("TYPE", 24)]);
        assert_eq!(table.within(Some(20)), [8, 24, 8]);
    }

    #[test]
    fn columns_grow_and_never_shrink() {
        let mut table = columns(&[("TIME", 4), ("TYPE", 0)]);
        table.grow(&[vec!["12".to_owned(), "a.long.type".to_owned()]]);
        table.grow(&[vec!["12345".to_owned(), "a".to_owned()]]);
        assert_eq!(table.within(None), [5, 11]);
    }

    #[test]
    fn a_text_that_is_cut_says_so() {
        assert_eq!(cut("grüße", 5), "grüße");
        assert_eq!(cut("grüße!", 5), "grüß…");
    }
}
