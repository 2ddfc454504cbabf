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
    let hospital = hospital_of(&posted.principal, named.as_deref())?;
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
                let asked = Asked { patient, item: None, order_code, hospital: None };
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

/// Identifiers of one patient that are looked for.
const MOST_IDENTIFIERS: usize = 5;

/// The patient of the prefetched FHIR resource as it may be known here: under each of the identifiers, with the name and birth date that go
/// with them, and by name and birth date alone.
fn patients(prefetch: &Value) -> Result<Vec<Patient>, Problem> {
    let resource = prefetch.get("patient").filter(|p| p["resourceType"] == "Patient");
    let resource = resource.ok_or_else(|| Problem::bad("prefetch.patient: a FHIR Patient is needed"))?;
    let text = |value: &Value| value.as_str().map(str::to_string);
    let identifiers = resource["identifier"].as_array().into_iter().flatten().filter_map(|i| text(&i["value"]));
    let name = resource.pointer("/name/0").and_then(|name| {
        let given = name.pointer("/given/0").and_then(Value::as_str).unwrap_or("");
        let family = name.get("family").and_then(Value::as_str).unwrap_or("");
        let both = if family.is_ascii() { format!("{family} {given}") } else { format!("{family}{given}") };
        text(name.get("text").unwrap_or(&Value::Null)).or(Some(both.trim().to_string()).filter(|t| !t.is_empty()))
    });
    let birth_date = resource.get("birthDate").and_then(text);
    let by_name = (name.is_some() && birth_date.is_some()).then_some(None);
    let ids = identifiers.take(MOST_IDENTIFIERS).map(Some).chain(by_name);
    let known: Vec<Patient> = ids.map(|id| Patient { id, name: name.clone(), birth_date: birth_date.clone() }).collect();
    if known.is_empty() {
        return Err(Problem::bad("prefetch.patient: an identifier, or name and birthDate, are needed"));
    }
    Ok(known)
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
        assert!(patients(&json!({})).is_err());
        assert!(patients(&json!({"patient": {"resourceType": "Patient", "name": [{"text": "王小东"}]}})).is_err());
    }
}
