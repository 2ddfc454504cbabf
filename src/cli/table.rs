//! Columns on a terminal, where a Chinese character takes two places.

/// Places a text takes.
pub fn width(text: &str) -> usize {
    text.chars()
        .map(|c| if ('\u{1100}'..='\u{FFE6}').contains(&c) && !('\u{2010}'..='\u{2E7F}').contains(&c) { 2 } else { 1 })
        .sum()
}

/// Prints rows under a head; the last column may be as long as it likes.
pub fn print(head: &[&str], rows: &[Vec<String>]) {
    let columns = head.len();
    let widths: Vec<usize> = (0..columns)
        .map(|c| {
            let cells = rows.iter().filter_map(|r| r.get(c)).map(|t| width(t));
            cells.chain(head.get(c).map(|t| width(t))).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: &[String]| {
        let mut text = String::new();
        for (c, cell) in cells.iter().enumerate() {
            text.push_str(cell);
            if c + 1 < columns {
                let room = widths.get(c).copied().unwrap_or(0).saturating_sub(width(cell)) + 2;
                text.push_str(&" ".repeat(room));
            }
        }
        println!("{}", text.trim_end());
    };
    line(&head.iter().map(|h| (*h).to_string()).collect::<Vec<_>>());
    let rule: usize = widths.iter().take(columns.saturating_sub(1)).sum::<usize>() + 2 * columns + 20;
    println!("{}", "─".repeat(rule.min(120)));
    rows.iter().for_each(|row| line(row));
}
