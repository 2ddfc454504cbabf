//! What a search asks for: matching keys, fields to include, paging, ways of matching (PS3.18 8.3.4).

use crate::dicom::levels::level_of;
use crate::dicom::{Attributes, Tag, dataset::dictionary_vr, json, tags};
use crate::index::matching::{legal, offset_of};
use crate::index::{Key, Query as Search, View};
use crate::web::problem::Problem;
use std::collections::BTreeSet;

/// Matches returned when the client names no limit.
const DEFAULT_LIMIT: usize = 1000;
/// Most matches returned at once.
const MAX_LIMIT: usize = 10_000;

/// What a request asks for.
pub struct Sought {
    /// What to look for.
    pub search: Search,
    /// What to say of it.
    pub include: Include,
    /// Attributes to say of instances that the index does not keep.
    pub beyond: Vec<Tag>,
    /// Names of keys that nothing is matched with.
    pub unmatched: Vec<String>,
}

/// Attributes to return beside those that are always returned.
pub enum Include {
    /// All of the level.
    All,
    /// These, of their own level or above.
    These(Vec<Tag>),
}

/// Parameters that belong to the request and not to the search.
const OTHERS: &[&str] = &["accept", "charset"];

impl Sought {
    /// From the parameters, in order.
    ///
    /// # Errors
    /// The parameter that has no such value, or stands twice.
    pub fn read(parameters: Vec<(String, String)>, view: View) -> Result<Sought, Problem> {
        let mut search = Search { limit: DEFAULT_LIMIT, ..Search::all(view) };
        search.matching.combined = true;
        let mut sought = Sought { search, include: Include::These(Vec::new()), beyond: Vec::new(), unmatched: Vec::new() };
        let mut paged = BTreeSet::new();
        for (name, value) in parameters {
            if matches!(name.as_str(), "limit" | "offset" | "fuzzymatching") && !paged.insert(name.clone()) {
                return Err(Problem::bad(format!("{name} stands twice")));
            }
            let number = || value.parse::<usize>().map_err(|_| Problem::bad(format!("{name} must be a whole number")));
            let flag = || match value.as_str() {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(Problem::bad(format!("{name} must be true or false"))),
            };
            match name.as_str() {
                "limit" => sought.search.limit = number()?.min(MAX_LIMIT),
                "offset" => sought.search.offset = number()?,
                "fuzzymatching" => sought.search.matching.fuzzy = flag()?,
                "emptyvaluematching" => sought.search.matching.empty = flag()?,
                "multiplevaluematching" => sought.search.matching.multiple = flag()?,
                "includefield" => value.split(',').map(str::trim).for_each(|field| sought.include(field)),
                name if OTHERS.contains(&name) => {}
                _ => sought.key(&name, value)?,
            }
        }
        Ok(sought)
    }

    fn include(&mut self, field: &str) {
        if field.eq_ignore_ascii_case("all") {
            self.include = Include::All;
            return;
        }
        let Some(tag) = path_of(field).and_then(|path| path.first().copied()) else { return };
        if level_of(tag).is_none() {
            self.beyond.push(tag);
            // Without its creator nobody knows what a private attribute is (PS3.5 7.8.1).
            if tag.0 % 2 == 1 && tag.1 >= 0x1000 {
                self.beyond.push(Tag(tag.0, tag.1 >> 8));
            }
        }
        if let Include::These(tags) = &mut self.include {
            tags.push(tag);
        }
    }

    fn key(&mut self, name: &str, value: String) -> Result<(), Problem> {
        // What is no attribute is ignored (8.3).
        let Some(path) = path_of(name) else { return Ok(()) };
        if path == [tags::TIMEZONE_OFFSET_FROM_UTC] {
            let zone = offset_of(&value).ok_or_else(|| Problem::bad("TimezoneOffsetFromUTC is like +0800"))?;
            self.search.matching.zone = Some(zone);
            return Ok(());
        }
        if self.search.keys.iter().any(|k| k.path == path) {
            return Err(Problem::bad(format!("{name} stands twice")));
        }
        if let Some(last) = path.last() {
            // The empty value, which is sought for as such.
            if value != "\"\"" {
                legal(dictionary_vr(*last), &value).map_err(|why| Problem::bad(format!("{name}: {why}")))?;
            }
        }
        let first = path.first().copied().unwrap_or(Tag(0, 0));
        const COMPUTED: &[Tag] = &[tags::MODALITIES_IN_STUDY, tags::SOP_CLASSES_IN_STUDY];
        if level_of(first).is_none() && !COMPUTED.contains(&first) {
            self.unmatched.push(name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').take(64).collect());
        }
        self.search.keys.push(Key { path, pattern: value });
        Ok(())
    }

    /// Adds attributes of a level above that were sought for by name.
    pub fn named(&self, above: &Attributes, chosen: &mut Attributes) {
        if let Include::These(tags) = &self.include {
            chosen.fill_from(&above.only(|tag| tags.contains(&tag)));
        }
    }
}

/// The path to an attribute, from its eight digits or its keyword, with a dot between those of a sequence and its items.
fn path_of(name: &str) -> Option<Vec<Tag>> {
    let path: Option<Vec<Tag>> = name.split('.').map(json::named).collect();
    path.filter(|p| p.len() <= 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Sought, Problem> {
        Sought::read(pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(), View::House)
    }

    #[test]
    fn keys_are_tags_keywords_and_paths() {
        let sought =
            read(&[("00100020", "7"), ("RequestAttributesSequence.00400009", "S*"), ("nonsense", "1"), ("limit", "5")])
                .unwrap();
        let paths: Vec<_> = sought.search.keys.iter().map(|k| k.path.clone()).collect();
        assert_eq!(paths, [vec![tags::PATIENT_ID], vec![tags::REQUEST_ATTRIBUTES_SEQUENCE, tags::SCHEDULED_PROCEDURE_STEP_ID]]);
        assert_eq!((sought.search.limit, sought.unmatched.len()), (5, 0));
        let sought = read(&[("includefield", "00080060, Allergies,00400275.00400009"), ("Allergies", "x")]).unwrap();
        assert_eq!(sought.beyond, [tags::ALLERGIES]);
        assert_eq!(sought.unmatched, ["Allergies"]);
    }

    #[test]
    fn a_bad_value_of_a_known_parameter_is_named() {
        for pairs in [
            &[("limit", "-1")][..],
            &[("offset", "x")],
            &[("limit", "1"), ("limit", "2")],
            &[("SeriesNumber", "abc")],
            &[("fuzzymatching", "yes")],
            &[("StudyDate", "yesterday")],
            &[("StudyInstanceUID", "a.b")],
            &[("PatientID", "1"), ("00100020", "2")],
            &[("TimezoneOffsetFromUTC", "CST")],
        ] {
            assert!(read(pairs).is_err(), "{pairs:?}");
        }
    }
}
