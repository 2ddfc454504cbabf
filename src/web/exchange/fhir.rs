//! FHIR R4 for EHRs, to be read: ImagingStudy, DiagnosticReport, Patient, Endpoint. The same studies that the exchange root shows, to the same hospitals.
//!
//! Never answers a search that names no patient and no study of one.

use super::blocking;
use crate::dicom::{Attributes, Uid, tags};
use crate::exam::report::is_report;
use crate::index::{InstanceRow, Key, Query, SeriesRow, StudyRow, View};
use crate::web::asked::{Asked, address};
use crate::web::problem::Problem;
use crate::web::router::{App, EXCHANGE};
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as Json, json};

/// Studies of one answer.
const MOST: usize = 200;
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
    let search = |name: &str, kind: &str| json!({"name": name, "type": kind});
    let resource = |kind: &str, parameters: Vec<Json>| {
        let interactions = if parameters.is_empty() { vec!["read"] } else { vec!["read", "search-type"] };
        let interactions: Vec<Json> = interactions.into_iter().map(|code| json!({"code": code})).collect();
        let mut resource = json!({"type": kind, "interaction": interactions});
        if let (Some(object), false) = (resource.as_object_mut(), parameters.is_empty()) {
            object.insert("searchParam".into(), parameters.into());
        }
        resource
    };
    let studies = vec![search("patient", "reference"), search("patient.identifier", "token"), search("identifier", "token")];
    let statement = json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-27",
        "kind": "instance",
        "software": {"name": "Hutong", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "互通：可互认的影像检查 exams to recognise"},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "rest": [{"mode": "server", "resource": [
            resource("ImagingStudy", studies),
            resource("DiagnosticReport", vec![search("patient", "reference"), search("patient.identifier", "token"), search("identifier", "token")]),
            resource("Patient", vec![search("identifier", "token")]),
            resource("Endpoint", vec![]),
        ]}],
    });
    fhir(StatusCode::OK, &statement)
}

/// `GET /exchange/fhir/{type}`
///
/// # Errors
/// The index or the journal fails.
pub async fn search(asked: Asked, Path(kind): Path<String>) -> Result<Response, Problem> {
    let Some(query) = wanted(&asked)? else {
        let why = "name the patient: patient, patient.identifier or identifier";
        return Ok(refused(StatusCode::FORBIDDEN, "security", why));
    };
    let root = asked.url();
    let base = format!("{}/exchange/fhir", root.trim_end_matches(EXCHANGE.path));
    let app = asked.app.clone();
    let found = blocking(&app, move |app| {
        let studies = app.index.studies(&Query { only: asked.shown(), limit: MOST, ..query })?.rows;
        asked.record_search(vec!["FHIR".into()], studies.len())?;
        match kind.as_str() {
            "ImagingStudy" => studies.iter().map(|s| imaging_study(app, s)).collect::<Result<Vec<_>, _>>().map(Some),
            "Patient" => {
                let mut patients: Vec<Json> = studies.iter().filter_map(|s| patient(&s.attributes)).collect();
                patients.dedup_by(|a, b| a.get("id") == b.get("id"));
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
    let Some(found) = found else { return Ok(not_found()) };
    let entry = |resource: Json| {
        let part = |name: &str| resource.get(name).and_then(Json::as_str).unwrap_or("").to_string();
        let url = format!("{base}/{}/{}", part("resourceType"), part("id"));
        json!({"fullUrl": url, "resource": resource, "search": {"mode": "match"}})
    };
    let mut bundle = json!({"resourceType": "Bundle", "type": "searchset", "total": found.len()});
    if let (Some(object), false) = (bundle.as_object_mut(), found.is_empty()) {
        object.insert("entry".into(), found.into_iter().map(entry).collect::<Vec<_>>().into());
    }
    Ok(fhir(StatusCode::OK, &bundle))
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
            let found = app.index.studies(&Query { only: asked.shown(), limit: 1, ..query })?.rows.into_iter().next();
            asked.record_search(vec!["FHIR".into()], usize::from(found.is_some()))?;
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
            "Patient" => match identifier_of(&id) {
                Some(id) => one(keyed(tags::PATIENT_ID, &id))?.and_then(|s| patient(&s.attributes)),
                None => None,
            },
            _ => None,
        };
        Ok(resource.map_or_else(not_found, |resource| fhir(StatusCode::OK, &resource)))
    })
    .await
}

fn keyed(tag: crate::dicom::Tag, value: &str) -> Query {
    Query { keys: vec![Key::of(tag, value)], ..Query::all(View::Exchange) }
}

/// What a search asks for; none where it names no patient.
fn wanted(asked: &Asked) -> Result<Option<Query>, Problem> {
    let plain = |value: &str| !value.trim().is_empty() && !value.contains(['*', '?', '\\']);
    // A token is SYSTEM|VALUE.
    let value = |text: &str| text.rsplit('|').next().unwrap_or("").trim().to_string();
    if let Some(reference) = asked.parameter("patient")? {
        let id = identifier_of(reference.trim_start_matches("Patient/")).filter(|id| plain(id));
        return Ok(id.map(|id| keyed(tags::PATIENT_ID, &id)));
    }
    if let Some(token) = asked.parameter("patient.identifier")? {
        return Ok(Some(value(token)).filter(|v| plain(v)).map(|v| keyed(tags::PATIENT_ID, &v)));
    }
    let Some(token) = asked.parameter("identifier")?.map(value).filter(|v| plain(v)) else { return Ok(None) };
    let is_patient = asked.path.split(['?', '/']).any(|part| part == "Patient");
    Ok(Some(match token.strip_prefix("urn:oid:").map(Uid::parse) {
        Some(Ok(uid)) => Query { study: Some(uid), ..Query::all(View::Exchange) },
        _ if is_patient => keyed(tags::PATIENT_ID, &token),
        _ => keyed(tags::ACCESSION_NUMBER, &token),
    }))
}

/// A patient's logical id: hexadecimal of the identifier, where that fits.
fn id_of(identifier: &str) -> Option<String> {
    let id: String = identifier.bytes().map(|b| format!("{b:02x}")).collect();
    (!id.is_empty() && id.len() <= 64).then_some(id)
}

fn identifier_of(id: &str) -> Option<String> {
    let digits: Vec<u32> = id.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let bytes = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    });
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok().filter(|t| !t.is_empty())
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
    patient.insert("id".into(), id_of(&identifier)?.into());
    let mut known = Map::new();
    known.insert("value".into(), identifier.into());
    put(&mut known, "system", text(attributes, tags::ISSUER_OF_PATIENT_ID).map(|issuer| format!("urn:hutong:issuer:{issuer}")));
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
    let id = text(about, tags::PATIENT_ID).and_then(|id| id_of(&id));
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
    let id = text(about, tags::PATIENT_ID).and_then(|id| id_of(&id));
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
    fn a_patients_id_is_its_identifier_and_nothing_else_is_one() {
        for identifier in ["HT0002", "王-1", "a b"] {
            assert_eq!(identifier_of(&id_of(identifier).unwrap()).as_deref(), Some(identifier));
        }
        assert_eq!(id_of(&"x".repeat(33)), None);
        for no in ["", "4", "zz", "ff", "../x"] {
            assert_eq!(identifier_of(no), None, "{no}");
        }
        assert_eq!(date("20260310").as_deref(), Some("2026-03-10"));
        assert_eq!(date("2026"), None);
    }
}
