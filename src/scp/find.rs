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
use crate::index::{Filter, Index, IndexError, Key, Query, SeriesRow, StudyRow, View, names_a_patient, told};
use crate::ingest::now_ms;
use crate::journal::Event;
use std::collections::BTreeMap;
use std::time::Duration;

/// Matches sent between two looks for a cancellation.
const BETWEEN: usize = 50;

/// Attributes wanted of the items of a sequence.
type Inner = Vec<(Tag, VR)>;

/// What a requester asks.
#[derive(Debug)]
struct Identifier {
    level: Level,
    charset: String,
    query: Query,
    /// What to answer, in the order of tags, with the attributes wanted of items.
    wanted: Vec<(Tag, VR, Inner)>,
    /// Some keys are not kept here.
    unsupported: bool,
}

/// How a query is answered.
pub struct Asked {
    /// What may be seen.
    pub view: View,
    /// Fuzzy matching of names was agreed on.
    pub fuzzy: bool,
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
            Err(why) => return refuse(association, Status::DataSetMismatch, &why),
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
        for (tag, vr, value) in all.iter() {
            if matches!(tag, tags::SPECIFIC_CHARACTER_SET | tags::QUERY_RETRIEVE_LEVEL) || tag.1 == 0 {
                continue;
            }
            if tag == tags::TIMEZONE_OFFSET_FROM_UTC && all.text(tag).is_some() {
                let zone = crate::index::matching::offset_of(all.text(tag).unwrap_or_default());
                identifier.query.matching.zone = Some(zone.ok_or("Timezone Offset From UTC is like +0800")?);
            } else {
                identifier.key(tag, vr, value);
            }
        }
        if asked.must_name_patient && !names_a_patient(&identifier.query) {
            return Err("name the patient: Patient ID, or name and birth date, or a study".into());
        }
        Ok(identifier)
    }

    fn key(&mut self, tag: Tag, vr: VR, value: &Decoded) {
        const COUNTED: &[Tag] = &[
            tags::MODALITIES_IN_STUDY,
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
        let mut inner = Vec::new();
        match value {
            Decoded::Texts(texts) => self.query.keys.push(Key { path: vec![tag], pattern: texts.join("\\") }),
            Decoded::Items(items) => {
                for (below, vr, value) in items.iter().flat_map(Attributes::iter) {
                    inner.push((below, vr));
                    if let Decoded::Texts(texts) = value {
                        self.query.keys.push(Key { path: vec![tag, below], pattern: texts.join("\\") });
                    }
                }
            }
        }
        let vr = if vr == VR::UN { dictionary_vr(tag) } else { vr };
        self.wanted.push((tag, vr, inner));
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
                (patients, more)
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
        let mut found: BTreeMap<(String, String), (Attributes, [i64; 3])> = BTreeMap::new();
        for row in index.studies(&self.query)?.rows {
            let told = told::study(&row, self.query.view);
            let text = |tag| told.text(tag).unwrap_or("").to_string();
            let counts = [
                1,
                told.int(tags::NUMBER_OF_STUDY_RELATED_SERIES).unwrap_or(0),
                told.int(tags::NUMBER_OF_STUDY_RELATED_INSTANCES).unwrap_or(0),
            ];
            let entry = found.entry((text(tags::PATIENT_ID), text(tags::ISSUER_OF_PATIENT_ID)));
            let (_, sum) = entry.or_insert_with(|| (told, [0; 3]));
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        const COUNTS: [Tag; 3] = [
            tags::NUMBER_OF_PATIENT_RELATED_STUDIES,
            tags::NUMBER_OF_PATIENT_RELATED_SERIES,
            tags::NUMBER_OF_PATIENT_RELATED_INSTANCES,
        ];
        let one = |(mut told, sum): (Attributes, [i64; 3])| {
            COUNTS.iter().zip(sum).for_each(|(tag, count)| told.set(*tag, VR::IS, vec![count.to_string()]));
            told
        };
        Ok(found.into_values().map(one).collect())
    }

    /// The identifier of a match, in the requester's character set if that can express it, else in UTF-8.
    fn written(&self, mut told: Attributes, aet: &str, transfer_syntax: &str) -> Vec<u8> {
        told.set(tags::RETRIEVE_AE_TITLE, VR::AE, vec![aet.to_string()]);
        told.set(tags::INSTANCE_AVAILABILITY, VR::CS, vec!["ONLINE".into()]);
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
        for (tag, vr, inner) in &self.wanted {
            let value = if *vr == VR::SQ {
                let item = |attributes: &Attributes| {
                    let mut item = DataSet::default();
                    for (below, vr) in inner {
                        let value = Value::Bytes(written(*vr, attributes.texts(*below), charset)?);
                        item.elements.push(Element { tag: *below, vr: *vr, value });
                    }
                    item.elements.sort_by_key(|e| e.tag);
                    Some(item)
                };
                Value::Items(told.items(*tag).iter().map(item).collect::<Option<Vec<_>>>()?)
            } else {
                Value::Bytes(written(*vr, told.texts(*tag), charset)?)
            };
            data_set.elements.push(Element { tag: *tag, vr: *vr, value });
        }
        data_set.elements.sort_by_key(|e| e.tag);
        Some(data_set)
    }
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
