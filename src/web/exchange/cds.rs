//! The reminder as a CDS Hooks service (2.0): discovery, and cards for `order-select` and `order-sign`.

use super::reminders::{Asked, Patient, candidates};
use super::{blocking, hospital_of, posted};
use crate::web::problem::Problem;
use crate::web::router::{App, EXCHANGE};
use axum::Json;
use axum::extract::{Path, Request, State};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Different orders of one call that are looked at.
const MOST_ORDERS: usize = 20;

/// `GET /exchange/cds-services`
pub async fn discovery() -> Json<Value> {
    let service = |hook: &str| {
        json!({
            "hook": hook,
            "id": format!("recognised-exams-{hook}"),
            "title": "检查结果互认提醒 Exams to recognise",
            "description": "Exams of other hospitals that are to be recognised instead of repeating them",
            "prefetch": {"patient": "Patient/{{context.patientId}}"},
        })
    };
    Json(json!({"services": [service("order-select"), service("order-sign")]}))
}

/// What an EHR posts.
#[derive(Deserialize)]
struct Call {
    hook: String,
    #[serde(default)]
    context: Value,
    #[serde(default)]
    prefetch: Value,
}

/// `POST /exchange/cds-services/{id}`
///
/// # Errors
/// The hook is another one, or no patient was given.
pub async fn call(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Result<Json<Value>, Problem> {
    let base = EXCHANGE.url(&app, request.headers());
    let named = request.headers().get("x-hospital").and_then(|v| v.to_str().ok()).map(str::to_string);
    let posted = posted::<Call>(request).await?;
    if id != format!("recognised-exams-{}", posted.body.hook)
        || !matches!(posted.body.hook.as_str(), "order-select" | "order-sign")
    {
        return Err(Problem::unknown("this service"));
    }
    let hospital = hospital_of(&app, &posted.principal, named.as_deref())?;
    let patients = patients(&posted.body.prefetch)?;
    if orders_nothing_here(&posted.body.context) {
        return Ok(Json(json!({"cards": []})));
    }
    let codes = order_codes(&posted.body.context);
    let by = (posted.principal.name.clone(), posted.said.clone());
    let cards = blocking(&app, move |app| {
        let known = |code: &String| app.procedures.regions.iter().flat_map(|r| &r.items).any(|i| i.codes.contains(code));
        let ordered: Vec<Option<String>> = codes.iter().filter(|c| known(c)).take(MOST_ORDERS).cloned().map(Some).collect();
        // Orders without a known code: everything that there is, so that nothing is missed.
        let asked = if ordered.is_empty() { vec![None] } else { ordered };
        let mut cards = Vec::new();
        let mut seen = BTreeSet::new();
        for order_code in asked {
            for patient in &patients {
                let (patient, order_code) = (patient.clone(), order_code.clone());
                let asked = Asked { patient, item: None, order_code, encounter: None, hospital: None };
                for found in candidates(app, &asked, &hospital, &by, &base)? {
                    if seen.insert((found.study.clone(), found.answer.item)) {
                        cards.push(card(&found));
                    }
                }
            }
        }
        Ok(cards)
    })
    .await?;
    Ok(Json(json!({"cards": cards})))
}

fn card(found: &super::reminders::Candidate) -> Value {
    let summary: String = found.text.chars().take(140).collect();
    let reasons: Vec<&str> = found.answer.reasons.iter().map(|r| r.zh.as_str()).collect();
    json!({
        "summary": summary,
        "indicator": if found.answer.recent { "warning" } else { "info" },
        "detail": format!(
            "患者 {} {} {}，档案号 {}；{}。请核对患者，是否采用由接诊医师判断。",
            found.patient.name, found.patient.sex, found.patient.birth_date, found.accession, reasons.join("，")
        ),
        "source": {"label": format!("互通 Hutong · {} {}", found.answer.region, found.answer.edition)},
        "links": [{"label": "影像 Images (DICOMweb)", "url": found.wado, "type": "absolute"}],
        "overrideReasons": [],
    })
}

/// Ways of naming one patient that are looked for.
const MOST_WAYS: usize = 40;

/// The patient of the prefetched FHIR resource as it may be known here: under each of the identifiers, with the names and birth date that go
/// with them, and by names and birth date alone. What cannot be searched by (a year of birth, a pattern) is left out.
fn patients(prefetch: &Value) -> Result<Vec<Patient>, Problem> {
    let resource = prefetch.get("patient").filter(|p| p["resourceType"] == "Patient");
    let resource = resource.ok_or_else(|| Problem::bad("prefetch.patient: a FHIR Patient is needed"))?;
    let plain = |text: &String| !text.trim().is_empty() && !text.contains(['*', '?', '\\']);
    let values =
        resource["identifier"].as_array().into_iter().flatten().filter_map(|i| i["value"].as_str().map(str::to_string));
    let mut ids: Vec<String> = values.filter(plain).collect();
    ids.dedup();
    let mut names: Vec<String> = resource["name"].as_array().into_iter().flatten().flat_map(names_of).filter(plain).collect();
    names.sort();
    names.dedup();
    let birth_date = resource["birthDate"].as_str().filter(|day| day.chars().filter(char::is_ascii_digit).count() == 8);
    let birth_date = birth_date.map(str::to_string);
    let mut known = Vec::new();
    for id in ids.into_iter().map(Some).chain(birth_date.as_ref().map(|_| None)) {
        // Without a name the number and the birth date have to do.
        if names.is_empty() && id.is_some() {
            known.push(Patient { id: id.clone(), name: None, birth_date: birth_date.clone() });
        }
        known.extend(names.iter().map(|name| Patient {
            id: id.clone(),
            name: Some(name.clone()),
            birth_date: birth_date.clone(),
        }));
    }
    known.truncate(MOST_WAYS);
    if known.is_empty() {
        return Err(Problem::bad("prefetch.patient: an identifier, or a name and a whole birthDate, are needed"));
    }
    Ok(known)
}

/// How a FHIR HumanName may stand in DICOM: its text, or family and given names, these together and apart.
fn names_of(name: &Value) -> Vec<String> {
    let given: Vec<&str> = name["given"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let family = name["family"].as_str().unwrap_or("");
    let space = if family.is_ascii() { " " } else { "" };
    let both = |given: String| format!("{family}{space}{given}").trim().to_string();
    let text = name["text"].as_str().map(str::to_string);
    text.into_iter().chain([both(given.concat()), both(given.join(" "))]).collect()
}

/// Medicines and other things are ordered, and no service.
fn orders_nothing_here(context: &Value) -> bool {
    let entries = context.pointer("/draftOrders/entry").and_then(Value::as_array);
    let kinds = entries.into_iter().flatten().filter_map(|e| e.pointer("/resource/resourceType")?.as_str());
    let kinds: Vec<&str> = kinds.collect();
    !kinds.is_empty() && !kinds.contains(&"ServiceRequest")
}

/// Codes of the orders that are being made, as `SYSTEM code`, LOINC as `LN`.
fn order_codes(context: &Value) -> BTreeSet<String> {
    let selected: BTreeSet<&str> = context["selections"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let entries = context.pointer("/draftOrders/entry").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut codes = BTreeSet::new();
    for resource in entries.iter().filter_map(|e| e.get("resource")) {
        let kind = resource["resourceType"].as_str().unwrap_or("");
        let id = format!("{kind}/{}", resource["id"].as_str().unwrap_or(""));
        if kind != "ServiceRequest" || (!selected.is_empty() && !selected.contains(id.as_str())) {
            continue;
        }
        for coding in resource.pointer("/code/coding").and_then(Value::as_array).into_iter().flatten() {
            let system = match coding["system"].as_str().unwrap_or("") {
                "http://loinc.org" => "LN",
                "http://www.radlex.org" | "http://radlex.org" => "RADLEX",
                other => other,
            };
            codes.insert(format!("{system} {}", coding["code"].as_str().unwrap_or("")));
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_patients_are_read_from_fhir() {
        let context = json!({"selections": ["ServiceRequest/1"], "draftOrders": {"entry": [
            {"resource": {"resourceType": "ServiceRequest", "id": "1", "code": {"coding": [{"system": "http://loinc.org", "code": "24725-4"}]}}},
            {"resource": {"resourceType": "ServiceRequest", "id": "2", "code": {"coding": [{"system": "http://loinc.org", "code": "1"}]}}},
            {"resource": {"resourceType": "MedicationRequest", "id": "3"}},
        ]}});
        assert_eq!(order_codes(&context), ["LN 24725-4".to_string()].into());
        let medicine = json!({"draftOrders": {"entry": [{"resource": {"resourceType": "MedicationRequest", "id": "3"}}]}});
        assert!(orders_nothing_here(&medicine) && !orders_nothing_here(&context) && !orders_nothing_here(&json!({})));
        let prefetch = json!({"patient": {"resourceType": "Patient", "identifier": [{"value": "P0"}, {"value": "P1"}], "birthDate": "1970-02-03",
                                          "name": [{"family": "王", "given": ["小东"]}]}});
        let known: Vec<_> = patients(&prefetch).unwrap().into_iter().map(|p| (p.id, p.name, p.birth_date)).collect();
        let (name, born) = (Some("王小东".to_string()), Some("1970-02-03".to_string()));
        let ids = [Some("P0"), Some("P1"), None].map(|id| id.map(str::to_string));
        assert_eq!(known, ids.map(|id| (id, name.clone(), born.clone())));
        let poor = json!({"patient": {"resourceType": "Patient", "identifier": [{"value": "P*"}, {"value": "P1"}], "birthDate": "1970-02",
                                      "name": [{"text": "old"}, {"family": "Wang", "given": ["Xiao", "Dong"]}]}});
        let known: Vec<_> = patients(&poor).unwrap().into_iter().map(|p| (p.id, p.name, p.birth_date)).collect();
        let with = |name: &str| (Some("P1".to_string()), Some(name.to_string()), None);
        assert_eq!(known, [with("Wang Xiao Dong"), with("Wang XiaoDong"), with("old")]);
        assert!(patients(&json!({})).is_err());
        assert!(patients(&json!({"patient": {"resourceType": "Patient", "name": [{"text": "王小东"}]}})).is_err());
    }
}
