//! Where matches are looked for: the narrowest key that can be looked up decides, and studies come one by one, so that the cost
//! grows with the answer and not with the archive.

use super::SledIndex;
use super::fits::{classes_match, level_matches, modalities_match, study_visible};
use super::keys::{FUZZY, INSTANCE, SERIES, date_key, find_prefix, fold, joined, study_of_find_key, value_of_find_key};
use crate::dicom::levels::Level;
use crate::dicom::{Tag, Uid, names, tags};
use crate::index::matching::{day_before_and_after, literal_prefix, wildcard};
use crate::index::{IndexError, InstanceRow, Page, Query, SeriesRow, StudyRow, View};
use std::collections::BTreeSet;

/// Matches behind a full page that are counted, and studies that are looked at for it.
const COUNTED: usize = 1000;

/// As many where their keys are enough.
const COUNTED_BY_KEY: usize = 2000;

type Studies<'a> = Box<dyn Iterator<Item = Result<StudyRow, IndexError>> + 'a>;
/// Puts a match into the page; false when there is no need of more.
pub(super) type Take<'a, T> = &'a mut dyn FnMut(&dyn Fn() -> T) -> bool;

impl SledIndex {
    /// Studies newest first, ties by UID: the same order whichever way they were found, so that pages fit together.
    fn sorted(&self, uids: BTreeSet<Uid>) -> Result<Studies<'_>, IndexError> {
        let rows: Result<Vec<StudyRow>, _> = uids.iter().filter_map(|uid| self.one(uid)).collect();
        let mut rows = rows?;
        rows.sort_by_cached_key(|row| std::cmp::Reverse(date_key(row)));
        Ok(Box::new(rows.into_iter().map(Ok)))
    }

    fn one(&self, uid: &Uid) -> Option<Result<StudyRow, IndexError>> {
        self.get(&joined(super::STUDY, &[uid.as_str()])).transpose()
    }

    /// Studies that may match, newest first.
    fn candidates(&self, query: &Query) -> Result<Studies<'_>, IndexError> {
        if let Some(study) = &query.study {
            return self.sorted(BTreeSet::from([study.clone()]));
        }
        let key = |tag: Tag| {
            let keys = query.keys.iter().filter(|k| k.path.len() == 1 && k.tag() == tag);
            keys.map(|k| k.pattern.trim()).find(|p| !p.trim_matches('*').is_empty() && (!query.matching.empty || *p != "\"\""))
        };
        if let Some(list) = key(tags::STUDY_INSTANCE_UID) {
            return self.sorted(list.split(['\\', ',']).filter_map(|u| Uid::parse(u.trim()).ok()).collect());
        }
        if let Some(list) = key(tags::SOP_INSTANCE_UID) {
            let mut studies = BTreeSet::new();
            for uid in list.split(['\\', ',']).filter_map(|u| Uid::parse(u.trim()).ok()) {
                studies.extend(crate::index::Index::instance(self, &uid)?.map(|row| row.study));
            }
            return self.sorted(studies);
        }
        for tag in [tags::ACCESSION_NUMBER, tags::PATIENT_ID, tags::PATIENT_NAME] {
            let Some(pattern) = key(tag) else { continue };
            if let Some(found) = self.looked_up(tag, pattern, query)? {
                return self.sorted(found);
            }
        }
        // The old form with dots means the same day.
        let date = key(tags::STUDY_DATE).filter(|p| !p.contains(['*', '?', ',', '\\'])).map(|p| p.replace('.', ""));
        match date.as_deref().map(|p| p.split_once('-').unwrap_or((p, p))) {
            Some((from, to)) if query.matching.zone.is_some() => {
                let (from, to) = (from.trim(), to.trim());
                let wider = (day_before_and_after(from).map(|d| d.0), day_before_and_after(to).map(|d| d.1));
                Ok(self.by_date(&wider.0.unwrap_or_else(|| from.into()), &wider.1.unwrap_or_else(|| to.into())))
            }
            Some((from, to)) => Ok(self.by_date(from.trim(), to.trim())),
            None => Ok(self.by_date("", "")),
        }
    }

    /// Studies by a text that has keys of its own; none when the keys do not help.
    fn looked_up(&self, tag: Tag, pattern: &str, query: &Query) -> Result<Option<BTreeSet<Uid>>, IndexError> {
        if query.matching.fuzzy && tag == tags::PATIENT_NAME {
            let mut found = BTreeSet::new();
            for prefix in names::lookups(pattern) {
                self.found(find_prefix(FUZZY, &prefix), |_| true, &mut found)?;
            }
            // What matches plainly matches as well: wildcards are none of the words.
            let plain = self.by_key(tag, pattern, query)?;
            return Ok(plain.map(|plain| found.into_iter().chain(plain).collect()));
        }
        self.by_key(tag, pattern, query)
    }

    /// Studies by a key as it is written.
    fn by_key(&self, tag: Tag, pattern: &str, query: &Query) -> Result<Option<BTreeSet<Uid>>, IndexError> {
        // Of several values, and of a name with several component groups, the first one that says something is enough to look it up.
        let pattern = if query.matching.multiple { pattern.split('\\').next().unwrap_or(pattern) } else { pattern };
        let groups: Vec<&str> = if tag == tags::PATIENT_NAME { pattern.split('=').collect() } else { vec![pattern] };
        let Some(group) = groups.into_iter().map(fold).find(|g| !g.trim_matches(['*', '?']).is_empty()) else {
            return Ok(None);
        };
        let mut found = BTreeSet::new();
        self.found(find_prefix(tag, literal_prefix(&group)), |value| wildcard(&group, value), &mut found)?;
        Ok(Some(found))
    }

    fn found(&self, prefix: Vec<u8>, fits: impl Fn(&str) -> bool, into: &mut BTreeSet<Uid>) -> Result<(), IndexError> {
        for row in self.db.scan_prefix(prefix) {
            let key = row?.0;
            if fits(&value_of_find_key(&key)) {
                into.insert(study_of_find_key(&key)?);
            }
        }
        Ok(())
    }

    fn by_date(&self, from: &str, to: &str) -> Studies<'_> {
        Box::new(self.uids_by_date(from, to).filter_map(|uid| match uid {
            Ok(uid) => self.one(&uid),
            Err(e) => Some(Err(e)),
        }))
    }

    /// A page of the studies of a span of dates when nothing else is asked: those before it are passed over by their keys, and those
    /// behind it are counted by theirs. None when rows have to be looked at.
    pub(super) fn page_by_date(&self, query: &Query) -> Result<Option<Page<StudyRow>>, IndexError> {
        let plain = |k: &&crate::index::Key| !matches!(k.pattern.trim(), "" | "*");
        let mut keys = query.keys.iter().filter(plain);
        let span = match (keys.next(), keys.next()) {
            (None, _) => Some(("", "")),
            (Some(k), None) if k.path == [tags::STUDY_DATE] => {
                Some(k.pattern.split_once('-').unwrap_or((&k.pattern, &k.pattern)))
            }
            _ => None,
        };
        let is_day = |text: &str| text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit());
        let free = query.view == View::House
            && !query.only.is_some()
            && query.study.is_none()
            && query.series.is_none()
            && query.matching.zone.is_none();
        let Some((from, to)) = span.filter(|s| free && (*s == ("", "") || (is_day(s.0) && is_day(s.1)))) else {
            return Ok(None);
        };
        let mut uids = self.uids_by_date(from, to).skip(query.offset);
        let mut rows = Vec::new();
        for uid in uids.by_ref().take(query.limit) {
            rows.extend(self.one(&uid?).transpose()?);
        }
        let more = match span {
            Some(("", "")) => {
                let all = usize::try_from(crate::index::Index::counts(self)?.studies).unwrap_or(usize::MAX);
                all.saturating_sub(query.offset.saturating_add(rows.len()))
            }
            _ => uids.take(COUNTED_BY_KEY).try_fold(0, |count, uid| uid.map(|_| count + 1))?,
        };
        Ok(Some(Page { rows, more }))
    }

    fn uids_by_date(&self, from: &str, to: &str) -> Box<dyn Iterator<Item = Result<Uid, IndexError>> + '_> {
        let start = find_prefix(tags::STUDY_DATE, from);
        let mut end = find_prefix(tags::STUDY_DATE, to);
        end.push(0xFF);
        if start > end {
            return Box::new(std::iter::empty());
        }
        Box::new(self.db.range(start..end).rev().map(|row| study_of_find_key(&row?.0)))
    }

    /// Walks the matches at a level in order and cuts the page out.
    pub(super) fn page<T>(
        &self,
        query: &Query,
        mut each: impl FnMut(&StudyRow, Take<'_, T>) -> Result<bool, IndexError>,
    ) -> Result<Page<T>, IndexError> {
        let (mut rows, mut passed, mut more, mut examined, mut counted) = (Vec::new(), 0usize, 0usize, 0usize, 0usize);
        for study in self.candidates(query)? {
            let study = study?;
            if rows.len() >= query.limit {
                counted += 1;
                if counted > COUNTED {
                    break;
                }
            } else if examined >= query.examined {
                return Err(IndexError::TooBroad);
            }
            examined += 1;
            if !study_visible(&study, query.view)
                || !level_matches(query, &study.attributes, Level::Study)
                || !modalities_match(query, &study)
                || !classes_match(query, &study)
                || !query.only.allows(&study)?
            {
                continue;
            }
            let mut take = |row: &dyn Fn() -> T| {
                if passed < query.offset {
                    passed += 1;
                } else if rows.len() < query.limit {
                    rows.push(row());
                } else {
                    more += 1;
                }
                more < COUNTED
            };
            if !each(&study, &mut take)? {
                break;
            }
        }
        Ok(Page { rows, more })
    }

    pub(super) fn series_of(&self, query: &Query, study: &StudyRow) -> Result<Vec<SeriesRow>, IndexError> {
        let mut rows = Vec::new();
        for row in self.scan::<SeriesRow>(&joined(SERIES, &[study.study.as_str(), ""])) {
            let row = row?;
            let wanted = query.series.as_ref().is_none_or(|s| *s == row.series)
                && (query.view == View::House || study.recognised.series.contains_key(&row.series))
                && level_matches(query, &row.attributes, Level::Series);
            if wanted {
                rows.push(row);
            }
        }
        rows.sort_by_cached_key(|r| (r.attributes.int(tags::SERIES_NUMBER), r.series.clone()));
        Ok(rows)
    }

    pub(super) fn instances_of(&self, series: &SeriesRow) -> Result<Vec<InstanceRow>, IndexError> {
        let prefix = joined(INSTANCE, &[series.study.as_str(), series.series.as_str(), ""]);
        let mut rows: Vec<InstanceRow> = self.scan(&prefix).collect::<Result<_, _>>()?;
        rows.sort_by_cached_key(|r| (r.attributes.int(tags::INSTANCE_NUMBER), r.sop_instance.clone()));
        Ok(rows)
    }
}
