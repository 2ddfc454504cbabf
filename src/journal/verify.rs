//! Whether a journal is as it was written: the chain of its lines, and its length.
//!
//! Who can write the folder can forge a whole new chain: against that the records go to another machine (audit, see docs/exchange.md).

use super::{Line, Tip, hash, whole};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// A line that reads.
struct Stands {
    digest: String,
    n: u64,
    before: String,
}

/// Checks the chain of a journal; the number of lines.
///
/// # Errors
/// Names the first line that was altered, or before which lines are missing, or how many are missing at the end.
pub fn verify(path: &Path) -> io::Result<u64> {
    let mut reader = BufReader::new(File::open(path)?);
    let (mut lines, mut last) = (0u64, String::new());
    while let Some(line) = next(&mut reader, lines + 1)? {
        let number = lines + 1;
        if line.n != lines {
            let found = line.n;
            return Err(wrong(number, &format!("record {lines} must stand here, and record {found} does")));
        }
        if line.before != last {
            // The line after this one tells which of the two is not what it was.
            let after = next(&mut reader, number + 1).ok().flatten();
            let is_itself = after.is_some_and(|after| after.before != line.digest);
            let blamed = if is_itself || lines == 0 { number } else { number - 1 };
            return Err(wrong(blamed, "it was altered: the digest that its neighbour has is another"));
        }
        last = line.digest;
        lines += 1;
    }
    match tip(path)? {
        Some((told, _)) if told > lines => {
            Err(io::Error::other(format!("{} lines are missing at the end: {told} were written, {lines} stand", told - lines)))
        }
        Some((told, digest)) if told == lines && digest != last => Err(wrong(lines, "it was altered: its digest was another")),
        _ => Ok(lines),
    }
}

fn tip(path: &Path) -> io::Result<Option<(u64, String)>> {
    match File::open(super::tip_of(path)) {
        Ok(file) => Tip(file).read(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn next(reader: &mut impl BufRead, number: u64) -> io::Result<Option<Stands>> {
    let mut text = Vec::new();
    if reader.read_until(b'\n', &mut text)? == 0 {
        return Ok(None);
    }
    let text = whole(&text).ok_or_else(|| wrong(number, "it is cut off"))?;
    let line: Line = serde_json::from_slice(text).map_err(|e| wrong(number, &e.to_string()))?;
    Ok(Some(Stands { digest: hash(text), n: line.n, before: line.before }))
}

fn wrong(line: u64, why: &str) -> io::Error {
    io::Error::other(format!("line {line}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::super::{Event, Journal};
    use super::*;

    /// A journal of ten lines, as text.
    fn journal(path: &Path) -> Vec<String> {
        let journal = Journal::open(path).unwrap();
        (0..10)
            .for_each(|n| journal.append(Event::Marked { study: "1.2".into(), revision: n, instances: 1 }, 5, true).unwrap());
        std::fs::read_to_string(path).unwrap().lines().map(str::to_string).collect()
    }

    #[test]
    fn the_exact_record_is_named_whatever_was_done_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let lines = journal(&path);
        assert_eq!(verify(&path).unwrap(), 10);
        let written = |lines: &[String]| lines.iter().map(|l| format!("{l}\n")).collect::<String>().into_bytes();
        let changed = |at: usize, line: String| written(&[&lines[..at], &[line], &lines[at + 1..]].concat());
        let other = "0".repeat(64);
        for (bytes, named) in [
            (changed(4, lines[4].replace("\"revision\":4", "\"revision\":9")), "line 5"),
            (changed(4, lines[4].replace("\"at_ms\":5", "\"at_ms\":6")), "line 5"),
            (changed(4, lines[4].replace(&lines[4][lines[4].len() - 66..lines[4].len() - 2], &other)), "line 5"),
            (changed(4, format!("{}\r", lines[4])), "line 5"),
            (changed(4, format!("{} ", lines[4])), "line 5"),
            (changed(4, lines[4].replace("\"n\":", "\"m\":")), "line 5"),
            (changed(9, lines[9].replace("\"revision\":9", "\"revision\":8")), "line 10"),
            (changed(0, lines[0].replace("\"revision\":0", "\"revision\":1")), "line 1"),
            (written(&[&lines[..4], &lines[5..]].concat()), "line 5"),
            (written(&lines[..8]), "2 lines are missing at the end"),
            (Vec::new(), "10 lines are missing at the end"),
            ([written(&lines[..4]), vec![0xFF, b'\n'], written(&lines[5..])].concat(), "line 5"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let why = verify(&path).unwrap_err().to_string();
            assert!(why.starts_with(named), "{named}: {why}");
        }
    }

    #[test]
    fn a_node_that_starts_on_a_damaged_journal_keeps_every_line_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let lines = journal(&path);
        let damaged = lines.iter().map(|l| format!("{}\n", l.replace("\"revision\":4", "\"revisio\":4"))).collect::<String>();
        std::fs::write(&path, &damaged).unwrap();
        for _ in 0..3 {
            Journal::open(&path).unwrap();
            let now = std::fs::read_to_string(&path).unwrap();
            assert!(now.starts_with(&damaged), "nothing is put aside");
            assert_eq!(now.lines().count(), 11, "it is said once");
            assert!(now.ends_with('\n') && now.contains(r#""event":"broken","line":5"#));
        }
        assert!(verify(&path).unwrap_err().to_string().starts_with("line 5"));
        // Lines that were taken off the end while nothing ran.
        std::fs::write(&path, lines[..7].iter().map(|l| format!("{l}\n")).collect::<String>()).unwrap();
        Journal::open(&path).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains(r#""event":"lost","records":4"#));
    }
}
