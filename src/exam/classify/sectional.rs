//! What CT and MR share: items by contrast, and the sides of an examination that is complete. It never judges completeness.

use super::study::{Series, Study};
use super::{Classification, Confidence, Evidence, Reason, Recognised, numbers, side};
use crate::procedure::{Contrast, Item};
use std::collections::BTreeSet;

/// The plain and the plain-and-enhanced items.
pub(super) fn by_contrast<'a>(items: &[&'a Item]) -> (Vec<&'a Item>, Vec<&'a Item>) {
    let of = |contrast| items.iter().copied().filter(|i| i.contrast == Some(contrast)).collect();
    (of(Contrast::Plain), of(Contrast::PlainAndEnhanced))
}

/// Adds the items of the sides that were found, each with the series that carry it; `whole` tells whether those are enough for the side.
pub(super) fn recognise(
    study: &Study<'_>,
    concept: &str,
    wanted: &[&Item],
    (carrying, contrast): (&[&Series<'_>], &[&Series<'_>]),
    whole: &dyn Fn(&[&Series<'_>]) -> bool,
    (regions, because): (Vec<Evidence>, Vec<Evidence>),
    result: &mut Classification,
) {
    for answer in side::items(study, carrying, wanted, concept) {
        match answer {
            Ok((item, side)) => {
                let own: Vec<&Series> = carrying.iter().copied().filter(|s| side::carries(study, s, side, concept)).collect();
                if !whole(&own) {
                    result.refuse(Reason::SeriesIncomplete, vec![item], regions.clone());
                    continue;
                }
                let one = Recognised {
                    item,
                    side,
                    series: own.iter().map(|s| s.facts.uid.clone()).collect(),
                    images: BTreeSet::new(),
                    enhanced: contrast.iter().map(|s| s.facts.uid.clone()).collect(),
                    because: because.clone(),
                    assumed: vec![],
                    confidence: Confidence::Stated,
                };
                result.recognise(one, &regions);
            }
            Err((reason, evidence)) => {
                result.refuse(reason, numbers(wanted), regions.iter().cloned().chain(evidence).collect());
            }
        }
    }
}
