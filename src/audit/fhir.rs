//! A record of the journal as FHIR R4 AuditEvent, after the patterns of IHE BALP: who, what, when, with which outcome, about which study.

use super::message::{Code, Told, instant};
use serde_json::{Value as Json, json};

const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";

/// The resource; `n` is the record's number in the journal.
pub fn resource(told: &Told, n: u64, at_ms: i64, source: &str) -> Json {
    let coding = |(code, display): (&str, &str)| json!({"system": DCM, "code": code, "display": display});
    let agent = |(name, asked, role): (&str, bool, Option<Code>)| match role {
        Some(role) => json!({"type": {"coding": [coding(role)]}, "who": {"display": name}, "requestor": asked}),
        None => json!({"who": {"display": name}, "requestor": asked}),
    };
    let agents: Vec<Json> = told.parties(source).into_iter().map(agent).collect();
    let some = told.detail.iter().filter(|(_, value)| !value.is_empty());
    let details: Vec<Json> = some.map(|(name, value)| json!({"type": name, "valueString": value})).collect();
    let mut event = json!({
        "resourceType": "AuditEvent",
        "id": n.to_string(),
        "type": coding(told.event),
        "action": told.action.to_string(),
        "recorded": instant(at_ms),
        "outcome": told.outcome.to_string(),
        "agent": agents,
        "source": {"observer": {"display": source}, "type": [{"system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4"}]},
    });
    let Some(object) = event.as_object_mut() else { return event };
    if let Some(kind) = told.kind {
        object.insert("subtype".into(), json!([coding(kind)]));
    }
    if let Some(purpose) = &told.purpose {
        object.insert("purposeOfEvent".into(), json!([{"text": purpose}]));
    }
    let mut entity = match &told.study {
        Some(study) => json!({
            "what": {"identifier": {"system": "urn:dicom:uid", "value": format!("urn:oid:{study}")}},
            "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": "2", "display": "System Object"},
            "role": {"system": "http://terminology.hl7.org/CodeSystem/object-role", "code": "3", "display": "Report"},
        }),
        None if !details.is_empty() => {
            json!({"type": {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": "2", "display": "System Object"}})
        }
        None => return event,
    };
    if let (Some(entity), false) = (entity.as_object_mut(), details.is_empty()) {
        entity.insert("detail".into(), details.into());
    }
    object.insert("entity".into(), json!([entity]));
    event
}
