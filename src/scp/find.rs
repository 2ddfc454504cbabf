//! C-FIND (PS3.4 C.4.1): what is here, patient, study, series or image by image, to whom may ask.
//!
//! Never answers with a key that was not asked for.

use super::asking::{self, Level};
use super::listener::Shared;
use crate::dicom::attributes::{self, Decoded};
use crate::dicom::charset::Charset;
use crate::dicom::dataset::dictionary_vr;
use crate::dicom::json;
use crate::dicom::levels::level_of;
use crate::dicom::{Attributes, DataSet, Element, Syntax, Tag, VR, Value, tags, uids};
use crate::dimse::{Association, AssociationError, Command, Context, Status, identifier};
use crate::index::matching::{legal, offset_of, put_in_zone};
use crate::index::{Filter, Index, IndexError, Key, Query, SeriesRow, StudyRow, View, names_a_patient, told};
use crate::ingest::now_ms;
use crate::journal::Event;
use std::collections::BTreeMap;
use std::time::Duration;

/// Matches sent between two looks for a cancellation.
const BETWEEN: usize = 50;

/// An attribute that is to be answered.
#[derive(Debug, Clone)]
struct Wanted {
    tag: Tag,
    vr: VR,
    /// Of a sequence: what of its items; none means all of them (PS3.4 C.2.2.2.6).
    inner: Vec<Wanted>,
}

/// What a requester asks.
#[derive(Debug)]
struct Identifier {
    level: Level,
    charset: String,
    query: Query,
    /// What to answer, in the order of tags.
    wanted: Vec<Wanted>,
    /// Some keys are not kept here.
    unsupported: bool,
}

/// How a query is answered.
pub struct Asked {
    /// What may be seen.
    pub view: View,
    /// Fuzzy matching of names was agreed on.
    pub fuzzy: bool,
    /// So was matching of dates and times as moments.
    pub combined: bool,
    /// Studies that may be seen.
    pub only: Filter,
    /// The query must say whose exams it is about.
    pub must_name_patient: bool,
}

/// Answers a C-FIND-RQ whose data set has not been read yet.
///
/// # Errors
/// The association ended.
pub fn serve(
    shared: &Shared,
    asked: &Asked,
    association: &mut Association,
    context: &Context,
    request: &Command,
) -> Result<(), AssociationError> {
    let read = identifier(association, context)?;
    let refuse = |association: &mut Association, status: Status, why: &str| {
        tracing::warn!(aet = association.peer_aet, why, "C-FIND refused");
        association.send(context.id, &request.response(status).with_comment(why))
    };
    let patient_root = context.abstract_syntax == uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND;
    let identifier = match read {
        Err(why) => return refuse(association, Status::UnableToProcess, &why),
        Ok(query) => match Identifier::of(&query, patient_root, asked) {
            Ok(identifier) => identifier,
            Err(why) => {
                if asked.view == View::Exchange {
                    // Who tries to browse stands in the journal; refused it is either way.
                    let event = Event::Denied { by: association.peer_aet.clone(), why: why.clone() };
                    if let Err(e) = shared.journal.append(event, now_ms(), false) {
                        tracing::error!(error = %e, "the journal cannot be written");
                    }
                }
                return refuse(association, Status::DataSetMismatch, &why);
            }
        },
    };
    metrics::counter!("hutong_find_total").increment(1);
    if asked.view == View::Exchange {
        let keys = identifier.query.keys.iter().filter(|k| !k.pattern.trim().is_empty()).map(|k| json::keyword(k.tag()));
        let (by, view) = (association.peer_aet.clone(), "exchange".to_string());
        let event = Event::Queried { view, by, keys: keys.collect(), matches: 0, on_behalf: BTreeMap::new() };
        if let Err(e) = shared.journal.append(event, now_ms(), false) {
            tracing::error!(error = %e, "the journal cannot be written");
            return refuse(association, Status::UnableToProcess, "the query cannot be recorded");
        }
    }
    let (index, most, aet) = (&*shared.index, shared.config.max_matches, shared.config.aet.as_str());
    match answer(index, &identifier, (most, aet), association, context, request) {
        Ok(status) => association.send(context.id, &request.response(status)),
        Err(Ended::Association(e)) => Err(e),
        Err(Ended::TooMany) => {
            let why = format!("over {most} matches: narrow the query (dimse.max_matches)");
            refuse(association, Status::OutOfResources, &why)
        }
        Err(Ended::Index(e)) => {
            tracing::error!(error = %e, "the index failed in a C-FIND");
            refuse(association, Status::UnableToProcess, "the index failed")
        }
    }
}

enum Ended {
    Association(AssociationError),
    Index(IndexError),
    TooMany,
}

impl From<IndexError> for Ended {
    fn from(error: IndexError) -> Ended {
        Ended::Index(error)
    }
}

fn answer(
    index: &dyn Index,
    identifier: &Identifier,
    (most, aet): (usize, &str),
    association: &mut Association,
    context: &Context,
    request: &Command,
) -> Result<Status, Ended> {
    let status = if identifier.unsupported { Status::PendingWithoutSomeKeys } else { Status::Pending };
    let pending = request.response(status).with_data_set();
    let (matches, more) = identifier.matches(index, most)?;
    for (sent, found) in (1..).zip(matches) {
        let bytes = identifier.written(found, aet, &context.transfer_syntax);
        association.send_with_data(context.id, &pending, &mut bytes.as_slice()).map_err(Ended::Association)?;
        if sent % BETWEEN == 0 && association.is_cancelled(request.message_id(), Duration::ZERO).map_err(Ended::Association)? {
            return Ok(Status::Cancelled);
        }
    }
    if more { Err(Ended::TooMany) } else { Ok(Status::Success) }
}

impl Identifier {
    fn of(all: &Attributes, patient_root: bool, asked: &Asked) -> Result<Identifier, String> {
        let level = asking::level(all, patient_root)?;
        let mut identifier = Identifier {
            level,
            charset: all.texts(tags::SPECIFIC_CHARACTER_SET).join("\\"),
            query: Query { only: asked.only.clone(), ..Query::all(asked.view) },
            wanted: Vec::new(),
            unsupported: false,
        };
        identifier.query.matching.fuzzy = asked.fuzzy;
        identifier.query.matching.combined = asked.combined;
        for (tag, vr, value) in all.iter() {
            if matches!(tag, tags::SPECIFIC_CHARACTER_SET | tags::QUERY_RETRIEVE_LEVEL) || tag.1 == 0 {
                continue;
            }
            if tag == tags::TIMEZONE_OFFSET_FROM_UTC && all.text(tag).is_some() {
                let zone = offset_of(all.text(tag).unwrap_or_default());
                identifier.query.matching.zone = Some(zone.ok_or("Timezone Offset From UTC is like +0800")?);
                // Answers are in that zone and say so.
                identifier.wanted.push(Wanted { tag, vr, inner: Vec::new() });
            } else {
                identifier.key(tag, vr, value);
            }
        }
        for key in &identifier.query.keys {
            let tag = key.tag();
            legal(dictionary_vr(tag), &key.pattern).map_err(|why| format!("{}: {why}", json::keyword(tag)))?;
        }
        if asked.must_name_patient && !names_a_patient(&mut identifier.query) {
            return Err("name the patient: Patient ID, or the whole name and birth date, or a study".into());
        }
        Ok(identifier)
    }

    fn key(&mut self, tag: Tag, vr: VR, value: &Decoded) {
        const COUNTED: &[Tag] = &[
            tags::MODALITIES_IN_STUDY,
            tags::SOP_CLASSES_IN_STUDY,
            tags::NUMBER_OF_STUDY_RELATED_SERIES,
            tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
            tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
            tags::NUMBER_OF_PATIENT_RELATED_STUDIES,
            tags::NUMBER_OF_PATIENT_RELATED_SERIES,
            tags::NUMBER_OF_PATIENT_RELATED_INSTANCES,
            tags::INSTANCE_AVAILABILITY,
            tags::RETRIEVE_AE_TITLE,
        ];
        self.unsupported |= level_of(tag).is_none() && !COUNTED.contains(&tag);
        let wanted = self.wanted_of(&[], tag, vr, value);
        self.wanted.push(wanted);
    }

    /// Takes the keys of an attribute that lies at the end of a path; what is to be answered of it.
    fn wanted_of(&mut self, above: &[Tag], tag: Tag, vr: VR, value: &Decoded) -> Wanted {
        let path = [above, &[tag]].concat();
        let vr = if vr == VR::UN { dictionary_vr(tag) } else { vr };
        let inner = match value {
            Decoded::Texts(texts) => {
                self.query.keys.push(Key { path, pattern: texts.join("\\") });
                Vec::new()
            }
            Decoded::Items(items) => {
                let below: Vec<(Tag, VR, &Decoded)> = items.iter().flat_map(Attributes::iter).collect();
                below.into_iter().map(|(tag, vr, value)| self.wanted_of(&path, tag, vr, value)).collect()
            }
        };
        Wanted { tag, vr, inner }
    }

    /// So many matches at most, with all that is told of them, and whether there are more.
    fn matches(&self, index: &dyn Index, most: usize) -> Result<(Vec<Attributes>, bool), IndexError> {
        let query = &Query { limit: most, ..self.query.clone() };
        let in_study = |mut told: Attributes, study: &StudyRow| {
            told.fill_from(&told::study(study, query.view));
            told
        };
        let in_series = |mut told: Attributes, study: &StudyRow, series: &SeriesRow| {
            told.fill_from(&told::series(study, series, query.view));
            in_study(told, study)
        };
        Ok(match self.level {
            Level::Patient => {
                let mut patients = self.patients(index)?;
                let more = patients.len() > most;
                patients.truncate(most);
                (self.counted(index, patients)?, more)
            }
            Level::Study => {
                let page = index.studies(query)?;
                (page.rows.iter().map(|s| told::study(s, query.view)).collect(), page.more > 0)
            }
            Level::Series => {
                let page = index.series(query)?;
                (page.rows.iter().map(|(study, s)| in_series(Attributes::default(), study, s)).collect(), page.more > 0)
            }
            Level::Image => {
                let page = index.instances(query)?;
                (page.rows.iter().map(|(study, s, row)| in_series(told::instance(row), study, s)).collect(), page.more > 0)
            }
        })
    }

    /// Patients are what their studies say: one for each identifier and its issuer.
    fn patients(&self, index: &dyn Index) -> Result<Vec<Attributes>, IndexError> {
        let mut found: BTreeMap<(String, String), Attributes> = BTreeMap::new();
        for row in index.studies(&self.query)?.rows {
            let told = told::study(&row, self.query.view);
            found.entry(patient(&told)).or_insert(told);
        }
        Ok(found.into_values().collect())
    }

    /// With the counts of all that may be seen of each patient, whatever else was asked: where counts are wanted.
    fn counted(&self, index: &dyn Index, mut patients: Vec<Attributes>) -> Result<Vec<Attributes>, IndexError> {
        const COUNTS: [(Tag, Option<Tag>); 3] = [
            (tags::NUMBER_OF_PATIENT_RELATED_STUDIES, None),
            (tags::NUMBER_OF_PATIENT_RELATED_SERIES, Some(tags::NUMBER_OF_STUDY_RELATED_SERIES)),
            (tags::NUMBER_OF_PATIENT_RELATED_INSTANCES, Some(tags::NUMBER_OF_STUDY_RELATED_INSTANCES)),
        ];
        if !self.wanted.iter().any(|w| COUNTS.iter().any(|(tag, _)| w.tag == *tag)) {
            return Ok(patients);
        }
        for told in &mut patients {
            let own = patient(told);
            let keys = vec![Key::of(tags::PATIENT_ID, own.0.clone())];
            let only = self.query.only.clone();
            let studies = match own.0.as_str() {
                // Nothing names them: those that were found are all there is to count.
                "" => index.studies(&self.query)?.rows,
                _ => index.studies(&Query { keys, only, ..Query::all(self.query.view) })?.rows,
            };
            let all: Vec<Attributes> = studies.iter().map(|row| told::study(row, self.query.view)).collect();
            let all: Vec<&Attributes> = all.iter().filter(|study| patient(study) == own).collect();
            for (tag, of) in COUNTS {
                let sum: i64 = all.iter().map(|study| of.map_or(1, |of| study.int(of).unwrap_or(0))).sum();
                told.set(tag, VR::IS, vec![sum.to_string()]);
            }
        }
        Ok(patients)
    }

    /// The identifier of a match, in the requester's character set if that can express it, else in UTF-8.
    fn written(&self, mut told: Attributes, aet: &str, transfer_syntax: &str) -> Vec<u8> {
        told.set(tags::RETRIEVE_AE_TITLE, VR::AE, vec![aet.to_string()]);
        told.set(tags::INSTANCE_AVAILABILITY, VR::CS, vec!["ONLINE".into()]);
        if let Some(zone) = self.query.matching.zone {
            put_in_zone(&mut told, zone);
        }
        let theirs = Charset::from_terms(&self.charset);
        let data_set = self.encoded(&told, &self.charset, &theirs);
        let data_set = data_set.or_else(|| self.encoded(&told, "ISO_IR 192", &Charset::from_terms("ISO_IR 192")));
        let mut bytes = Vec::new();
        data_set.unwrap_or_default().write_as(Syntax::of(transfer_syntax), &mut bytes);
        bytes
    }

    fn encoded(&self, told: &Attributes, terms: &str, charset: &Charset) -> Option<DataSet> {
        let mut data_set = DataSet::default();
        if !terms.is_empty() {
            data_set.put_text(tags::SPECIFIC_CHARACTER_SET, VR::CS, terms);
        }
        data_set.put_text(tags::QUERY_RETRIEVE_LEVEL, VR::CS, self.level.term());
        for wanted in &self.wanted {
            data_set.elements.push(element(told, wanted, charset)?);
        }
        data_set.elements.sort_by_key(|e| e.tag);
        Some(data_set)
    }
}

/// What tells patients apart: identifier and issuer.
fn patient(told: &Attributes) -> (String, String) {
    let text = |tag| told.text(tag).unwrap_or("").to_string();
    (text(tags::PATIENT_ID), text(tags::ISSUER_OF_PATIENT_ID))
}

/// An attribute of a match; none when the character set cannot express it.
fn element(told: &Attributes, wanted: &Wanted, charset: &Charset) -> Option<Element> {
    let Wanted { tag, vr, inner } = wanted;
    if *vr != VR::SQ {
        return Some(Element { tag: *tag, vr: *vr, value: Value::Bytes(written(*vr, told.texts(*tag), charset)?) });
    }
    let item = |attributes: &Attributes| {
        let all: Vec<Wanted>;
        let wanted = if inner.is_empty() {
            all = attributes.iter().map(|(tag, vr, _)| Wanted { tag, vr, inner: Vec::new() }).collect();
            &all
        } else {
            inner
        };
        let mut elements = wanted.iter().map(|w| element(attributes, w, charset)).collect::<Option<Vec<_>>>()?;
        elements.sort_by_key(|e| e.tag);
        Some(DataSet { elements })
    };
    let items = told.items(*tag).iter().map(item).collect::<Option<Vec<_>>>()?;
    Some(Element { tag: *tag, vr: VR::SQ, value: Value::Items(items) })
}

/// The bytes of values; none when the character set cannot express them.
fn written(vr: VR, texts: &[String], charset: &Charset) -> Option<Vec<u8>> {
    if texts.is_empty() {
        return Some(Vec::new());
    }
    match attributes::bytes_of(vr, texts) {
        // What the index keeps was read as such numbers; nothing else is said of an attribute than what it holds.
        Some(bytes) => Some(bytes.unwrap_or_default()),
        None => {
            let mut bytes = charset.encode(&texts.join("\\"))?;
            if bytes.len() % 2 == 1 {
                bytes.push(if vr == VR::UI { 0 } else { b' ' });
            }
            Some(bytes)
        }
    }
}
