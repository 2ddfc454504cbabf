//! QIDO-RS (PS3.18 10.6): search for studies, series and instances.

use super::problem::Problem;
use super::router::{App, Root};
use crate::dicom::levels::{Level, level_of};
use crate::dicom::{Attributes, Tag, Uid, VR, json as dicom_json, tags};
use crate::index::{InstanceMatch, Query as Search, SeriesMatch, SeriesRow, StudyRow, View};
use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::StandardDataDictionary;
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::sync::Arc;

type Parameters = Query<Vec<(String, String)>>;

/// Matches returned when the client names no limit.
const DEFAULT_LIMIT: usize = 1000;
/// Most matches returned at once.
const MAX_LIMIT: usize = 10_000;

/// Attributes returned of every study (PS3.18 table 10.6.3-3), empty ones included.
const STUDY_KEYS: &[Tag] = &[
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::STUDY_DESCRIPTION,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_INSTANCE_UID,
    tags::STUDY_ID,
];
/// Of every series (table 10.6.3-4).
const SERIES_KEYS: &[Tag] = &[
    tags::MODALITY,
    tags::SERIES_DESCRIPTION,
    tags::BODY_PART_EXAMINED,
    tags::LATERALITY,
    tags::SERIES_INSTANCE_UID,
    tags::SERIES_NUMBER,
    tags::PERFORMED_PROCEDURE_STEP_START_DATE,
    tags::PERFORMED_PROCEDURE_STEP_START_TIME,
    tags::REQUEST_ATTRIBUTES_SEQUENCE,
];
/// Of every instance (table 10.6.3-5).
const INSTANCE_KEYS: &[Tag] = &[
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::INSTANCE_NUMBER,
    tags::ROWS,
    tags::COLUMNS,
    tags::BITS_ALLOCATED,
    tags::NUMBER_OF_FRAMES,
];
/// Left out when they are absent: they are conditional or say nothing when empty.
const CONDITIONAL: &[Tag] = &[
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::REQUEST_ATTRIBUTES_SEQUENCE,
    tags::ROWS,
    tags::COLUMNS,
    tags::BITS_ALLOCATED,
    tags::NUMBER_OF_FRAMES,
    tags::BODY_PART_EXAMINED,
    tags::LATERALITY,
    tags::STUDY_DESCRIPTION,
];

/// What a request asks for.
struct Asked {
    search: Search,
    include: Include,
    fuzzy: bool,
}

enum Include {
    All,
    These(Vec<Tag>),
}

fn asked(parameters: Vec<(String, String)>, view: View, study: Option<Uid>, series: Option<Uid>) -> Result<Asked, Problem> {
    let mut search = Search { view, study, series, keys: Vec::new(), offset: 0, limit: DEFAULT_LIMIT };
    let (mut include, mut all, mut fuzzy) = (Vec::new(), false, false);
    for (name, value) in parameters {
        let number = || value.parse::<usize>().map_err(|_| Problem::bad(format!("{name} must be a whole number")));
        match name.as_str() {
            "limit" => search.limit = number()?.min(MAX_LIMIT),
            "offset" => search.offset = number()?,
            "fuzzymatching" => match value.as_str() {
                "true" => fuzzy = true,
                "false" => {}
                _ => return Err(Problem::bad("fuzzymatching must be true or false")),
            },
            "includefield" => {
                for field in value.split(',') {
                    match field.trim() {
                        "all" => all = true,
                        field => include.extend(tag_of(field)),
                    }
                }
            }
            _ => {
                if let Some(tag) = tag_of(&name) {
                    if search.keys.iter().any(|(t, _)| *t == tag) {
                        return Err(Problem::bad(format!("{name} stands twice")));
                    }
                    search.keys.push((tag, value));
                }
            }
        }
    }
    let include = if all { Include::All } else { Include::These(include) };
    Ok(Asked { search, include, fuzzy })
}

/// A tag from its eight digits or its keyword.
fn tag_of(name: &str) -> Option<Tag> {
    if name.len() == 8
        && let Ok(number) = u32::from_str_radix(name, 16)
    {
        let [a, b, c, d] = number.to_be_bytes();
        return Some(Tag(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])));
    }
    StandardDataDictionary.by_name(name).map(|entry| entry.tag())
}

fn uid(text: &str, what: &str) -> Result<Uid, Problem> {
    Uid::parse(text).map_err(|e| Problem::bad(format!("{what}: {e}")))
}

/// `GET /studies`
pub async fn studies(
    State(app): State<Arc<App>>,
    Extension(root): Extension<Root>,
    headers: HeaderMap,
    Query(parameters): Parameters,
) -> Result<Response, Problem> {
    let asked = asked(parameters, root.view, None, None)?;
    let url = root.url(&app, &headers);
    run(move || {
        let page = app.index.studies(&asked.search)?;
        let rows = page.rows.iter().map(|s| study_json(s, &asked, &url)).collect();
        Ok(answer(rows, page.more, asked.fuzzy, &url))
    })
    .await
}

/// `GET /series`
pub async fn all_series(
    State(app): State<Arc<App>>,
    Extension(root): Extension<Root>,
    headers: HeaderMap,
    Query(parameters): Parameters,
) -> Result<Response, Problem> {
    let asked = asked(parameters, root.view, None, None)?;
    series(app, root, headers, asked, true).await
}

/// `GET /studies/{study}/series`
pub async fn series_of_study(
    State(app): State<Arc<App>>,
    Extension(root): Extension<Root>,
    Path(study): Path<String>,
    headers: HeaderMap,
    Query(parameters): Parameters,
) -> Result<Response, Problem> {
    let asked = asked(parameters, root.view, Some(uid(&study, "Study Instance UID")?), None)?;
    series(app, root, headers, asked, false).await
}

async fn series(app: Arc<App>, root: Root, headers: HeaderMap, asked: Asked, with_study: bool) -> Result<Response, Problem> {
    let url = root.url(&app, &headers);
    run(move || {
        let page = app.index.series(&asked.search)?;
        let rows = page.rows.iter().map(|m| series_json(m, &asked, &url, with_study)).collect();
        Ok(answer(rows, page.more, asked.fuzzy, &url))
    })
    .await
}

/// `GET /instances`
pub async fn all_instances(
    State(app): State<Arc<App>>,
    Extension(root): Extension<Root>,
    headers: HeaderMap,
    Query(parameters): Parameters,
) -> Result<Response, Problem> {
    let asked = asked(parameters, root.view, None, None)?;
    instances(app, root, headers, asked, (true, true)).await
}

/// `GET /studies/{study}/instances`
pub async fn instances_of_study(
    State(app): State<Arc<App>>,
    Extension(root): Extension<Root>,
    Path(study): Path<String>,
    headers: HeaderMap,
    Query(parameters): Parameters,
) -> Result<Response, Problem> {
    let asked = asked(parameters, root.view, Some(uid(&study, "Study Instance UID")?), None)?;
    instances(app, root, headers, asked, (false, true)).await
}

/// `GET /studies/{study}/series/{series}/instances`
pub async fn instances_of_series(
    State(app): State<Arc<App>>,
    Extension(root): Extension<Root>,
    Path((study, series)): Path<(String, String)>,
    headers: HeaderMap,
    Query(parameters): Parameters,
) -> Result<Response, Problem> {
    let (study, series) = (uid(&study, "Study Instance UID")?, uid(&series, "Series Instance UID")?);
    let asked = asked(parameters, root.view, Some(study), Some(series))?;
    instances(app, root, headers, asked, (false, false)).await
}

async fn instances(
    app: Arc<App>,
    root: Root,
    headers: HeaderMap,
    asked: Asked,
    with: (bool, bool),
) -> Result<Response, Problem> {
    let url = root.url(&app, &headers);
    run(move || {
        let page = app.index.instances(&asked.search)?;
        let rows = page.rows.iter().map(|m| instance_json(m, &asked, &url, with)).collect();
        Ok(answer(rows, page.more, asked.fuzzy, &url))
    })
    .await
}

async fn run(work: impl FnOnce() -> Result<Response, Problem> + Send + 'static) -> Result<Response, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(super::problem::task_failed)?
}

fn answer(rows: Vec<Json>, more: bool, fuzzy: bool, service: &str) -> Response {
    let mut headers = HeaderMap::new();
    let mut warn = |text: String| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.append(header::WARNING, value);
        }
    };
    if more {
        warn(format!("299 {service}: There are additional results that can be requested"));
    }
    if fuzzy {
        // PS3.18 8.3.4.2: literal matching was done instead, and must be said.
        warn(format!("299 {service}: The fuzzymatching parameter is not supported. Only literal matching has been performed."));
    }
    if rows.is_empty() {
        return (StatusCode::NO_CONTENT, headers).into_response();
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/dicom+json"));
    (StatusCode::OK, headers, Json::Array(rows).to_string()).into_response()
}

fn select(attributes: &Attributes, keys: &[Tag], level: Level, asked: &Asked) -> Attributes {
    let mut chosen = attributes.only(|tag| match &asked.include {
        Include::All => true,
        Include::These(tags) => {
            keys.contains(&tag)
                || (tags.contains(&tag) && level_of(tag) == Some(level))
                || asked.search.keys.iter().any(|(t, _)| *t == tag)
        }
    });
    for tag in keys.iter().filter(|t| !CONDITIONAL.contains(t)) {
        if !chosen.has(*tag) {
            chosen.set(*tag, crate::dicom::dataset::dictionary_vr(*tag), Vec::new());
        }
    }
    chosen.set(tags::SPECIFIC_CHARACTER_SET, VR::CS, vec!["ISO_IR 192".into()]);
    chosen.set(tags::INSTANCE_AVAILABILITY, VR::CS, vec!["ONLINE".into()]);
    chosen
}

fn study_attributes(study: &StudyRow, asked: &Asked, url: &str) -> Attributes {
    let mut chosen = select(&study.attributes, STUDY_KEYS, Level::Study, asked);
    let (series, instances) = match asked.search.view {
        View::House => {
            let made = |of: fn(&(u32, u32)) -> u32| of(&study.originals) + of(&study.marked) + of(&study.reports);
            (made(|n| n.0), made(|n| n.1))
        }
        View::Exchange => (u32::try_from(study.recognised.series.len()).unwrap_or(0), study.recognised.instances),
    };
    let reports = (asked.search.view == View::House && study.reports.1 > 0).then(|| "SR".to_string());
    let modalities: BTreeSet<String> = study.modalities.iter().cloned().chain(reports).collect();
    chosen.set(tags::MODALITIES_IN_STUDY, VR::CS, modalities.into_iter().collect());
    chosen.set(tags::NUMBER_OF_STUDY_RELATED_SERIES, VR::IS, vec![series.to_string()]);
    chosen.set(tags::NUMBER_OF_STUDY_RELATED_INSTANCES, VR::IS, vec![instances.to_string()]);
    chosen.set(tags::RETRIEVE_URL, VR::UR, vec![format!("{url}/studies/{}", study.study)]);
    chosen
}

fn study_json(study: &StudyRow, asked: &Asked, url: &str) -> Json {
    Json::Object(dicom_json::of_attributes(&study_attributes(study, asked, url)))
}

fn series_attributes(study: &StudyRow, series: &SeriesRow, asked: &Asked, url: &str, with_study: bool) -> Attributes {
    let mut chosen = select(&series.attributes, SERIES_KEYS, Level::Series, asked);
    chosen.set(tags::STUDY_INSTANCE_UID, VR::UI, vec![study.study.to_string()]);
    let copies = study.recognised.series.get(&series.series).filter(|_| asked.search.view == View::Exchange);
    let count = copies.filter(|c| !c.is_empty()).map_or(series.instances as usize, std::collections::BTreeSet::len);
    chosen.set(tags::NUMBER_OF_SERIES_RELATED_INSTANCES, VR::IS, vec![count.to_string()]);
    chosen.set(tags::RETRIEVE_URL, VR::UR, vec![format!("{url}/studies/{}/series/{}", study.study, series.series)]);
    if with_study {
        chosen.fill_from(&study_attributes(study, asked, url));
    }
    chosen
}

fn series_json((study, series): &SeriesMatch, asked: &Asked, url: &str, with_study: bool) -> Json {
    Json::Object(dicom_json::of_attributes(&series_attributes(study, series, asked, url, with_study)))
}

fn instance_json((study, series, row): &InstanceMatch, asked: &Asked, url: &str, with: (bool, bool)) -> Json {
    let mut chosen = select(&row.attributes, INSTANCE_KEYS, Level::Instance, asked);
    let path = format!("{url}/studies/{}/series/{}/instances/{}", study.study, series.series, row.sop_instance);
    chosen.set(tags::STUDY_INSTANCE_UID, VR::UI, vec![study.study.to_string()]);
    chosen.set(tags::SERIES_INSTANCE_UID, VR::UI, vec![series.series.to_string()]);
    chosen.set(tags::RETRIEVE_URL, VR::UR, vec![path]);
    if with.1 {
        chosen.fill_from(&series_attributes(study, series, asked, url, with.0));
    }
    Json::Object(dicom_json::of_attributes(&chosen))
}
