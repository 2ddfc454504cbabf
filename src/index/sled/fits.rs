//! Whether a row fits a query, level by level, and may be seen.

use crate::dicom::levels::{Level, level_of};
use crate::dicom::{Attributes, tags};
use crate::index::matching::{matches, wildcard};
use crate::index::{Query, State, StudyRow, View};

pub(super) fn level_matches(query: &Query, attributes: &Attributes, level: Level) -> bool {
    query.keys.iter().filter(|(tag, _)| level_of(*tag) == Some(level)).all(|(tag, p)| matches(attributes, *tag, p))
}

pub(super) fn modalities_match(query: &Query, study: &StudyRow) -> bool {
    let wanted = query.keys.iter().filter(|(tag, p)| *tag == tags::MODALITIES_IN_STUDY && !p.trim().is_empty());
    wanted.into_iter().all(|(_, p)| p.split(['\\', ',']).any(|one| study.modalities.iter().any(|m| wildcard(one.trim(), m))))
}

pub(super) fn study_visible(study: &StudyRow, view: View) -> bool {
    view == View::House || (study.state == State::Ready && !study.recognised.series.is_empty())
}
