//! The labelled sets: the domain folder's development set, and our own of other wording (fixtures/labelled). No mark may be wrong.

use crate::support::shared;
use hutong::exam::labelled;
use hutong::exam::score::{Score, score};
use hutong::procedure::{embedded::FILES, load};
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
