//! FHIR R4 for EHRs, to be read: ImagingStudy, DiagnosticReport, Patient, Endpoint. The same studies that the exchange root shows, to the same hospitals.
//!
//! Never answers a search that names no patient and no study of one.

use super::blocking;
use super::fhir_search::{ISSUER, Search, Wrong, id_of, of_patient, parameters};
use crate::dicom::{Attributes, Uid, tags};
use crate::exam::report::is_report;
use crate::index::{InstanceRow, Query, SeriesRow, StudyRow, View};
use crate::web::asked::{Asked, address};
use crate::web::problem::Problem;
use crate::web::router::{App, EXCHANGE};
use axum::Form;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as Json, json};

const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
/// The one endpoint.
const ENDPOINT: &str = "wado-rs";

fn fhir(status: StatusCode, resource: &Json) -> Response {
    let mut response = (status, resource.to_string()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/fhir+json; charset=utf-8"));
    response
}

/// A refusal in FHIR's terms.
fn refused(status: StatusCode, code: &str, text: &str) -> Response {
    let issue = json!({"severity": "error", "code": code, "diagnostics": text});
    fhir(status, &json!({"resourceType": "OperationOutcome", "issue": [issue]}))
}

fn not_found() -> Response {
    refused(StatusCode::NOT_FOUND, "not-found", "there is no such resource here")
}

/// The text of an attribute, trimmed.
fn text(attributes: &Attributes, tag: crate::dicom::Tag) -> Option<String> {
    attributes.text(tag).map(|t| t.trim().to_string()).filter(|t| !t.is_empty())
}

/// Puts a value in where there is one.
fn put(object: &mut Map<String, Json>, name: &str, value: Option<impl Into<Json>>) {
    if let Some(value) = value {
        object.insert(name.into(), value.into());
    }
}

/// `GET /exchange/fhir/metadata`
pub async fn capabilities() -> Response {
    let resource = |kind: &str| {
        let search = |(name, kind): (&str, &str)| json!({"name": name, "type": kind});
        // The one endpoint is read.
        let parameters: Vec<Json> =
            if kind == "Endpoint" { vec![] } else { parameters(kind).into_iter().map(search).collect() };
        let interactions = if parameters.is_empty() { vec!["read"] } else { vec!["read", "search-type"] };
        let interactions: Vec<Json> = interactions.into_iter().map(|code| json!({"code": code})).collect();
        let mut resource = json!({"type": kind, "interaction": interactions});
        if let (Some(object), false) = (resource.as_object_mut(), parameters.is_empty()) {
            object.insert("searchParam".into(), parameters.into());
        }
        resource
    };
    let statement = json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-28",
        "kind": "instance",
        "software": {"name": "Hutong", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "互通：可互认的影像检查 exams to recognise"},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "rest": [{"mode": "server", "resource": [
            resource("ImagingStudy"),
            resource("DiagnosticReport"),
            resource("Patient"),
            resource("Endpoint"),
        ]}],
    });
    fhir(StatusCode::OK, &statement)
}

/// `GET /exchange/fhir/{type}`
///
/// # Errors
/// The index or the journal fails.
pub async fn search(asked: Asked, Path(kind): Path<String>) -> Result<Response, Problem> {
    let wanted = match Search::of(&kind, &asked) {
        Ok(wanted) => wanted,
        Err(Wrong::Nobody) => {
            asked.record_refusal("the FHIR search names no patient")?;
            let why = "name the patient or the study: patient, subject, patient.identifier, identifier or _id";
            return Ok(refused(StatusCode::FORBIDDEN, "security", why));
        }
        Err(Wrong::Parameter(why)) => return Ok(refused(StatusCode::BAD_REQUEST, "not-supported", &why)),
    };
    let root = asked.url();
    let base = format!("{}/exchange/fhir", root.trim_end_matches(EXCHANGE.path));
    let (app, parameters, of) = (asked.app.clone(), asked.query.clone(), kind.clone());
    let (query, filter) = (wanted.query.clone(), asked.shown());
    let parameters_said: Vec<String> = asked.query.iter().map(|(name, _)| name.clone()).collect();
    let found = blocking(&app, move |app| {
        let studies = app.index.studies(&Query { only: filter, ..query })?.rows;
        let said = parameters_said.into_iter();
        asked.record_search(std::iter::once("FHIR".to_string()).chain(said).collect(), studies.len())?;
        match of.as_str() {
            "ImagingStudy" => studies.iter().map(|s| imaging_study(app, s)).collect::<Result<Vec<_>, _>>().map(Some),
            "Patient" => {
                let mut patients: Vec<Json> = studies.iter().filter_map(|s| patient(&s.attributes)).collect();
                let mut seen = std::collections::BTreeSet::new();
                patients.retain(|p| seen.insert(p.get("id").map(ToString::to_string)));
                Ok(Some(patients))
            }
            "DiagnosticReport" => {
                let each = studies.iter().map(|s| reports_of(app, s, &root)).collect::<Result<Vec<_>, _>>()?;
                Ok(Some(each.concat()))
            }
            _ => Ok(None),
        }
    })
    .await?;
    let Some(mut found) = found else { return Ok(not_found()) };
    found.retain(|resource| wanted.takes(resource));
    Ok(fhir(StatusCode::OK, &bundle(&base, &kind, found, &wanted, &parameters)))
}

/// `POST /exchange/fhir/{type}/_search`: the same with its parameters in the body, so that no identifier stands in an address.
///
/// # Errors
/// As [`search`].
pub async fn search_by_form(
    mut asked: Asked,
    Path((kind, id)): Path<(String, String)>,
    Form(parameters): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    if id != "_search" {
        return Ok(refused(StatusCode::METHOD_NOT_ALLOWED, "not-supported", "resources are read; POST is for _search"));
    }
    asked.query.extend(parameters);
    search(asked, Path(kind)).await
}

/// A page of what was found.
fn bundle(base: &str, kind: &str, found: Vec<Json>, wanted: &Search, parameters: &[(String, String)]) -> Json {
    let total = found.len();
    let entry = |resource: Json| {
        let part = |name: &str| resource.get(name).and_then(Json::as_str).unwrap_or("").to_string();
        let url = format!("{base}/{}/{}", part("resourceType"), part("id"));
        json!({"fullUrl": url, "resource": resource, "search": {"mode": "match"}})
    };
    let page: Vec<Json> = found.into_iter().skip(wanted.offset).take(wanted.count).map(entry).collect();
    let address = |offset: usize| {
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(parameters.iter().filter(|(name, _)| name != "_offset"));
        if offset > 0 {
            text.append_pair("_offset", &offset.to_string());
        }
        format!("{base}/{kind}?{}", text.finish())
    };
    let mut links = vec![json!({"relation": "self", "url": address(wanted.offset)})];
    let next = wanted.offset.saturating_add(wanted.count);
    if wanted.count > 0 && next < total {
        links.push(json!({"relation": "next", "url": address(next)}));
    }
    let mut bundle = json!({"resourceType": "Bundle", "type": "searchset", "total": total, "link": links});
    if let (Some(object), false) = (bundle.as_object_mut(), page.is_empty()) {
        object.insert("entry".into(), page.into());
    }
    bundle
}

/// `GET /exchange/fhir/{type}/{id}`
///
/// # Errors
/// The index or the journal fails.
pub async fn read(asked: Asked, Path((kind, id)): Path<(String, String)>) -> Result<Response, Problem> {
    let app = asked.app.clone();
    let base = asked.url();
    blocking(&app, move |app| {
        let one = |query: Query| -> Result<Option<StudyRow>, Problem> {
            let named = query.study.as_ref().map(|uid| format!("StudyInstanceUID={uid}"));
            let found = app.index.studies(&Query { only: asked.shown(), limit: 1, ..query })?.rows.into_iter().next();
            asked.record_search(["FHIR".into()].into_iter().chain(named).collect(), usize::from(found.is_some()))?;
            Ok(found)
        };
        let resource = match kind.as_str() {
            "Endpoint" if id == ENDPOINT => Some(endpoint(&base)),
            "ImagingStudy" => match Uid::parse(&id) {
                Ok(uid) => one(Query { study: Some(uid), ..Query::all(View::Exchange) })?
                    .map(|s| imaging_study(app, &s))
                    .transpose()?,
                Err(_) => None,
            },
            "DiagnosticReport" => match Uid::parse(&id) {
                Ok(uid) => match app.index.instance(&uid)? {
                    Some(row) => one(Query { study: Some(row.study), ..Query::all(View::Exchange) })?
                        .map(|s| reports_of(app, &s, &base))
                        .transpose()?
                        .and_then(|all| all.into_iter().find(|r| r.get("id").and_then(Json::as_str) == Some(uid.as_str()))),
                    None => None,
                },
                Err(_) => None,
            },
            "Patient" => match of_patient(&id) {
                Some(query) => {
                    let found = app.index.studies(&Query { only: asked.shown(), ..query })?.rows;
                    asked.record_search(vec!["FHIR".into(), "Patient".into()], found.len())?;
                    found
                        .iter()
                        .find(|s| patient_id(&s.attributes).as_deref() == Some(&id))
                        .and_then(|s| patient(&s.attributes))
                }
                None => None,
            },
            _ => None,
        };
        Ok(resource.map_or_else(not_found, |resource| fhir(StatusCode::OK, &resource)))
    })
    .await
}

/// A patient's logical id.
fn patient_id(attributes: &Attributes) -> Option<String> {
    id_of(&text(attributes, tags::PATIENT_ID)?, text(attributes, tags::ISSUER_OF_PATIENT_ID).as_deref())
}

/// `YYYYMMDD` as FHIR writes it.
fn date(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    (digits.len() == 8).then(|| Some(format!("{}-{}-{}", digits.get(..4)?, digits.get(4..6)?, digits.get(6..)?))).flatten()
}

fn patient(attributes: &Attributes) -> Option<Json> {
    let identifier = text(attributes, tags::PATIENT_ID)?;
    let mut patient = Map::new();
    patient.insert("resourceType".into(), "Patient".into());
    patient.insert("id".into(), patient_id(attributes)?.into());
    let mut known = Map::new();
    known.insert("value".into(), identifier.into());
    put(&mut known, "system", text(attributes, tags::ISSUER_OF_PATIENT_ID).map(|issuer| format!("{ISSUER}{issuer}")));
    patient.insert("identifier".into(), json!([known]));
    if let Some(name) = text(attributes, tags::PATIENT_NAME) {
        // One name for each component group: letters, characters, sounds.
        let groups = name.split('=').map(|g| g.trim_matches('^').replace('^', " ")).filter(|g| !g.is_empty());
        patient.insert("name".into(), groups.map(|g| json!({"text": g})).collect::<Vec<_>>().into());
    }
    let sex = text(attributes, tags::PATIENT_SEX);
    let gender = match sex.as_deref() {
        Some("M") => Some("male"),
        Some("F") => Some("female"),
        Some("O") => Some("other"),
        _ => None,
    };
    put(&mut patient, "gender", gender);
    put(&mut patient, "birthDate", text(attributes, tags::PATIENT_BIRTH_DATE).and_then(|d| date(&d)));
    Some(patient.into())
}

fn endpoint(root: &str) -> Json {
    json!({
        "resourceType": "Endpoint",
        "id": ENDPOINT,
        "status": "active",
        "connectionType": {"system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type", "code": "dicom-wado-rs"},
        "payloadType": [{"text": "DICOM"}],
        "payloadMimeType": ["application/dicom"],
        "address": root,
    })
}

/// The reports that go with a study's marked copies.
fn reports_of(app: &App, study: &StudyRow, root: &str) -> Result<Vec<Json>, Problem> {
    let rows = app.index.named(View::Exchange, &study.study, None, None)?;
    let reports = rows.iter().filter(|row| is_report(&row.sop_class));
    Ok(reports.map(|row| diagnostic_report(study, row, root)).collect())
}

fn diagnostic_report(study: &StudyRow, row: &InstanceRow, root: &str) -> Json {
    let about = &study.attributes;
    let verified = text(&row.attributes, tags::VERIFICATION_FLAG).as_deref() == Some("VERIFIED");
    let mut report = Map::new();
    report.insert("resourceType".into(), "DiagnosticReport".into());
    report.insert("id".into(), row.sop_instance.to_string().into());
    report.insert("identifier".into(), json!([{"system": "urn:dicom:uid", "value": format!("urn:oid:{}", row.sop_instance)}]));
    report.insert("status".into(), if verified { "final" } else { "preliminary" }.into());
    let code = json!({"coding": [{"system": "http://loinc.org", "code": "18748-4", "display": "Diagnostic imaging study"}]});
    report.insert("code".into(), code);
    let id = patient_id(about);
    let subject = id.map_or_else(|| json!({"display": "unknown"}), |id| json!({"reference": format!("Patient/{id}")}));
    report.insert("subject".into(), subject);
    put(&mut report, "effectiveDateTime", text(about, tags::STUDY_DATE).and_then(|d| date(&d)));
    report.insert("imagingStudy".into(), json!([{"reference": format!("ImagingStudy/{}", study.study)}]));
    let address = address(root, row);
    report.insert("presentedForm".into(), json!([{"contentType": "application/dicom", "url": address}]));
    report.into()
}

fn imaging_study(app: &App, study: &StudyRow) -> Result<Json, Problem> {
    let rows = app.index.named(View::Exchange, &study.study, None, None)?;
    let contents = app.index.contents(&study.study)?;
    let about = &study.attributes;
    let mut resource = Map::new();
    resource.insert("resourceType".into(), "ImagingStudy".into());
    resource.insert("id".into(), study.study.to_string().into());
    let mut identifiers = vec![json!({"system": "urn:dicom:uid", "value": format!("urn:oid:{}", study.study)})];
    if let Some(accession) = text(about, tags::ACCESSION_NUMBER) {
        let kind = json!({"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]});
        identifiers.push(json!({"type": kind, "value": accession}));
    }
    resource.insert("identifier".into(), identifiers.into());
    resource.insert("status".into(), "available".into());
    let id = patient_id(about);
    let subject = id.map_or_else(|| json!({"display": "unknown"}), |id| json!({"reference": format!("Patient/{id}")}));
    resource.insert("subject".into(), subject);
    put(&mut resource, "started", text(about, tags::STUDY_DATE).and_then(|d| date(&d)));
    put(&mut resource, "description", text(about, tags::STUDY_DESCRIPTION));
    resource.insert("endpoint".into(), json!([{"reference": format!("Endpoint/{ENDPOINT}")}]));
    let shown: Vec<(&SeriesRow, Vec<&InstanceRow>)> = contents
        .iter()
        .map(|(series, _)| (series, rows.iter().filter(|r| r.series == series.series).collect::<Vec<_>>()))
        .filter(|(_, rows)| !rows.is_empty())
        .collect();
    let mut modalities: Vec<String> = shown.iter().filter_map(|(s, _)| text(&s.attributes, tags::MODALITY)).collect();
    modalities.sort();
    modalities.dedup();
    let modality = |m: &String| json!({"system": DCM, "code": m});
    resource.insert("modality".into(), modalities.iter().map(modality).collect::<Vec<_>>().into());
    resource.insert("numberOfSeries".into(), shown.len().into());
    resource.insert("numberOfInstances".into(), rows.len().into());
    if let Some(verdict) = app.index.verdict(&study.study)? {
        let code = |i: &crate::exam::verdict::ItemVerdict| {
            let region = verdict.region.as_ref().map_or("", |(code, _)| code.as_str());
            json!({"coding": [{"system": format!("urn:hutong:{region}:item"), "code": i.number.to_string(), "display": i.name}]})
        };
        let codes: Vec<Json> = verdict.accepted().map(code).collect();
        if !codes.is_empty() {
            resource.insert("procedureCode".into(), codes.into());
        }
    }
    resource.insert("series".into(), shown.iter().map(|(s, rows)| series(s, rows)).collect::<Vec<_>>().into());
    Ok(resource.into())
}

fn series(row: &SeriesRow, instances: &[&InstanceRow]) -> Json {
    let about = &row.attributes;
    let mut series = Map::new();
    series.insert("uid".into(), row.series.to_string().into());
    put(&mut series, "number", about.int(tags::SERIES_NUMBER).and_then(|n| u32::try_from(n).ok()));
    let modality = text(about, tags::MODALITY).unwrap_or_else(|| "OT".into());
    series.insert("modality".into(), json!({"system": DCM, "code": modality}));
    put(&mut series, "description", text(about, tags::SERIES_DESCRIPTION));
    put(&mut series, "bodySite", text(about, tags::BODY_PART_EXAMINED).map(|part| json!({"display": part})));
    series.insert("numberOfInstances".into(), instances.len().into());
    let one = |row: &&InstanceRow| {
        let mut instance = Map::new();
        instance.insert("uid".into(), row.sop_instance.to_string().into());
        let class = json!({"system": "urn:ietf:rfc:3986", "code": format!("urn:oid:{}", row.sop_class)});
        instance.insert("sopClass".into(), class);
        put(&mut instance, "number", row.attributes.int(tags::INSTANCE_NUMBER).and_then(|n| u32::try_from(n).ok()));
        Json::from(instance)
    };
    series.insert("instance".into(), instances.iter().map(one).collect::<Vec<_>>().into());
    series.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_fhir_does() {
        assert_eq!(date("20260310").as_deref(), Some("2026-03-10"));
        assert_eq!(date("2026"), None);
    }
}
