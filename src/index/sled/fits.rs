//! Whether a row fits a query, level by level, and may be seen.

use crate::dicom::levels::{Level, level_of};
use crate::dicom::{Attributes, tags};
use crate::index::matching::{self, wildcard};
use crate::index::told::modalities;
use crate::index::{Query, State, StudyRow, View};

pub(super) fn level_matches(query: &Query, attributes: &Attributes, level: Level) -> bool {
    let keys = query.keys.iter().filter(|k| level_of(k.tag()) == Some(level)).collect::<Vec<_>>();
    matching::all_fit(attributes, &keys, &query.matching)
}

pub(super) fn modalities_match(query: &Query, study: &StudyRow) -> bool {
    let wanted = query.keys.iter().filter(|k| k.tag() == tags::MODALITIES_IN_STUDY && !k.pattern.trim().is_empty());
    let has = |one: &str| modalities(study, query.view).iter().any(|m| wildcard(one.trim(), m));
    wanted.into_iter().all(|k| {
        let mut list = k.pattern.split(['\\', ',']);
        // Without multiple value matching a list means any of them, as every archive takes it.
        if query.matching.multiple { list.all(has) } else { list.any(has) }
    })
}

/// SOP Classes in Study: any of those that are listed.
pub(super) fn classes_match(query: &Query, study: &StudyRow) -> bool {
    let wanted =
        query.keys.iter().filter(|k| k.tag() == tags::SOP_CLASSES_IN_STUDY && !k.pattern.trim_matches(['*', ' ']).is_empty());
    let any = |pattern: &str| pattern.split(['\\', ',']).any(|uid| study.classes.contains(uid.trim()));
    wanted.into_iter().all(|k| query.view == View::House && any(&k.pattern))
}

pub(super) fn study_visible(study: &StudyRow, view: View) -> bool {
    view == View::House || (study.state == State::Ready && !study.recognised.series.is_empty())
}
