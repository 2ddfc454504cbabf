//! The labelled sets: the domain folder's development set, and our own of other wording (fixtures/labelled). No mark may be wrong.

use crate::support::shared;
use hutong::exam::labelled;
use hutong::exam::score::{Score, score};
use hutong::procedure::{embedded::FILES, load};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn score_of(path: &Path) -> Score {
    let procedures = load(FILES).map_err(|e| format!("{e:?}")).unwrap();
    let region = procedures.region_for("20260310").unwrap();
    let cases = labelled::read(&std::fs::read(path).unwrap()).unwrap();
    let score = score(&cases, region, &procedures);
    for miss in &score.misses {
        println!("{}: {} {miss:?}", path.display(), cases.iter().find(|c| c.id == miss.case_id).unwrap().title);
    }
    score
}

#[test]
fn the_development_set_is_classified_without_a_false_mark() {
    let Some(shared) = shared() else { return };
    let score = score_of(&shared.join("domain/goldset_dev.csv"));
    assert_eq!((score.rows, score.false_marks), (257, 0));
    assert!(score.exact * 100 >= score.rows * 97, "{} of {}", score.exact, score.rows);
}

/// Rows of our own sets that are still missed, all of them for a person to look at; one that joins them is a fault.
const MISSED: &[&str] =
    &["H175", "H286", "B031", "C251", "E079", "G034", "G244", "H085", "H090", "I078", "J230", "J240", "K124", "L035", "L036"];

/// Our own sets, most of them by authors who had not seen the vocabulary.
#[test]
fn our_own_sets_of_other_wording_are_classified_without_a_false_mark() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/labelled");
    let (mut rows, mut exact) = (0, 0);
    let (mut reasons, mut reasoned) = (0, 0);
    let mut missed = BTreeSet::new();
    let mut positive = BTreeMap::<u32, usize>::new();
    let mut near = BTreeMap::<u32, usize>::new();
    for file in std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()) {
        if file.extension().is_none_or(|e| e != "csv") {
            continue;
        }
        let score = score_of(&file);
        assert_eq!(score.false_marks, 0, "{}", file.display());
        missed.extend(score.misses.into_iter().map(|m| m.case_id));
        reasons += score.reasons_exact;
        (rows, exact) = (rows + score.rows, exact + score.exact);
        for case in labelled::read(&std::fs::read(&file).unwrap()).unwrap() {
            reasoned += usize::from(case.expected.is_empty() && !case.reason.is_empty());
            case.expected.iter().for_each(|n| *positive.entry(*n).or_default() += 1);
            // Named by the author as what the case nearly is.
            let tagged = case.tags.iter().filter_map(|t| t.strip_prefix("near:")).flat_map(|t| t.split(['|', ',']));
            let nearly: BTreeSet<u32> = case.candidates.iter().copied().chain(tagged.filter_map(|n| n.parse().ok())).collect();
            nearly.difference(&case.expected).for_each(|n| *near.entry(*n).or_default() += 1);
        }
    }
    println!("{exact} of {rows} exact");
    assert!(exact * 100 >= rows * 98, "{exact} of {rows}");
    // Nine of ten refusals give the author's reason; the rest name another true one first.
    assert!(reasoned > 1000 && reasons * 100 >= reasoned * 90, "{reasons} of {reasoned} reasons");
    let joined: Vec<&String> = missed.iter().filter(|id| !MISSED.contains(&id.as_str())).collect();
    assert!(joined.is_empty(), "{joined:?}");
    for number in 1..=67 {
        let count = |of: &BTreeMap<u32, usize>| of.get(&number).copied().unwrap_or(0);
        assert!(count(&positive) >= 2 && count(&near) >= 2, "item {number}: {} and {}", count(&positive), count(&near));
    }
}
