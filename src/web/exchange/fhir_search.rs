//! What a FHIR search asks for (FHIR R4, search): of one patient or of one study, narrowed by what the resources say.
//!
//! Never leaves out a parameter that it does not know: more would be shown than was asked for (`Prefer: handling=lenient` wants that).

use crate::access::digest;
use crate::dicom::{Uid, tags};
use crate::index::{Key, Query, View};
use crate::web::asked::Asked;
use serde_json::Value as Json;

/// Resources of one page at most.
pub(super) const MOST: usize = 200;

/// The parameters that narrow what is found, by the type of resource; those that name the patient or the study are for all of them.
const NARROWING: &[(&str, &[&str])] =
    &[("ImagingStudy", &["modality", "started", "status"]), ("DiagnosticReport", &["date", "status"]), ("Patient", &[])];
/// What names a patient or a study, with its type (FHIR R4, search parameter types).
pub(super) const NAMING: &[(&str, &str)] =
    &[("patient", "reference"), ("subject", "reference"), ("identifier", "token"), ("_id", "token")];
/// How the answer is to look.
const SHAPING: &[&str] = &["_format", "_pretty", "_count", "_offset"];

/// The search parameters of a type with their own types, as the capability statement lists them.
pub(super) fn parameters(kind: &str) -> Vec<(&'static str, &'static str)> {
    let typed = |name: &'static str| (name, if matches!(name, "started" | "date") { "date" } else { "token" });
    let own = NARROWING.iter().filter(|(k, _)| *k == kind).flat_map(|(_, names)| names.iter().copied().map(typed));
    NAMING.iter().copied().filter(|(name, _)| kind != "Patient" || !is_reference(name)).chain(own).collect()
}

fn is_reference(name: &str) -> bool {
    matches!(name, "patient" | "subject")
}

/// A search.
#[derive(Debug)]
pub(super) struct Search {
    /// The studies.
    pub query: Query,
    /// The one resource that is meant, where the search names it.
    pub id: Option<String>,
    narrowing: Vec<(&'static str, String)>,
    /// Resources of a page.
    pub count: usize,
    /// Resources before it.
    pub offset: usize,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It names no patient and no study.
    Nobody,
    /// A parameter is not known here, or says nothing that can be understood.
    Parameter(String),
}

impl Search {
    /// Reads a search of one type of resource.
    ///
    /// # Errors
    /// See [`Wrong`].
    pub fn of(kind: &str, asked: &Asked) -> Result<Search, Wrong> {
        let prefer = asked.headers.get("prefer").and_then(|v| v.to_str().ok()).unwrap_or("");
        read(kind, &asked.query, prefer.contains("handling=lenient"))
    }

    /// Whether a resource that was found is one that is asked for.
    pub fn takes(&self, resource: &Json) -> bool {
        let id = resource.get("id").and_then(Json::as_str).unwrap_or("");
        self.id.as_ref().is_none_or(|wanted| wanted == id)
            && self.narrowing.iter().all(|(name, value)| fits(resource, name, value))
    }
}

fn read(kind: &str, parameters: &[(String, String)], lenient: bool) -> Result<Search, Wrong> {
    let own = NARROWING.iter().find(|(k, _)| *k == kind).map_or(&[][..], |(_, names)| *names);
    let wrong = |name: &str, why: &str| Wrong::Parameter(format!("{name}: {why}"));
    let mut search = Search {
        query: Query { limit: MOST, ..Query::all(View::Exchange) },
        id: None,
        narrowing: Vec::new(),
        count: MOST,
        offset: 0,
    };
    let mut is_named = false;
    for (name, value) in parameters {
        let value = value.trim();
        let (plain, chained) = name.split_once('.').map_or((name.as_str(), None), |(a, b)| (a, Some(b)));
        let plain = plain.strip_suffix(":Patient").unwrap_or(plain);
        if let Some((naming, _)) = NAMING.iter().find(|(n, _)| *n == plain && (chained.is_none() || is_reference(n))) {
            if chained.is_some_and(|c| c != "identifier") {
                return Err(wrong(name, "is not known here"));
            }
            // All that is said must fit.
            match named(kind, naming, chained.is_some(), value).ok_or(Wrong::Nobody)? {
                Named::Study(uid) if search.query.study.as_ref().is_some_and(|known| *known != uid) => {
                    return Err(wrong(name, "is another study than the one that was named before"));
                }
                Named::Study(uid) => search.query.study = Some(uid),
                Named::Patient(id, issuer) => {
                    search.query.keys.push(Key::of(tags::PATIENT_ID, id));
                    search.narrowing.extend(issuer.map(|issuer| ("issuer", issuer)));
                }
                Named::Accession(number) => {
                    search.query.keys.push(Key::of(tags::ACCESSION_NUMBER, number));
                    // Accession numbers are counted up: they name nobody.
                    continue;
                }
            }
            is_named = true;
            match *naming {
                "_id" => search.id = Some(value.to_string()),
                "patient" | "subject" if chained.is_none() => {
                    search.narrowing.push(("subject", format!("Patient/{}", value.trim_start_matches("Patient/"))));
                }
                _ => {}
            }
        } else if let Some(own) = own.iter().find(|n| *n == name) {
            if matches!(*own, "started" | "date") && span(value).is_none() {
                return Err(wrong(name, "is no date, such as ge2026-03-01"));
            }
            search.narrowing.push((*own, value.to_string()));
        } else if matches!(name.as_str(), "_count" | "_offset") {
            let number: usize = value.parse().map_err(|_| wrong(name, "is no number"))?;
            if name == "_count" { search.count = number.min(MOST) } else { search.offset = number }
        } else if !SHAPING.contains(&name.as_str()) && !lenient {
            return Err(wrong(name, "is not known here"));
        }
    }
    if is_named { Ok(search) } else { Err(Wrong::Nobody) }
}

/// What a parameter names.
enum Named {
    Study(Uid),
    /// Identifier, and its issuer where the system is one of ours.
    Patient(String, Option<String>),
    Accession(String),
}

/// What a parameter names; none where it names nobody.
fn named(kind: &str, naming: &str, chained: bool, value: &str) -> Option<Named> {
    // A token is SYSTEM|VALUE.
    let (system, token) = value.rsplit_once('|').unwrap_or(("", value));
    let token = Some(token.trim()).filter(|token| is_plain(token)).map(str::to_string);
    let issuer = system.strip_prefix(ISSUER).map(str::to_string);
    match naming {
        _ if chained => Some(Named::Patient(token?, issuer)),
        "_id" if kind == "ImagingStudy" => Uid::parse(value).ok().map(Named::Study),
        // A report is found by its study or its patient: the index knows no other way to it.
        "_id" if kind == "DiagnosticReport" => None,
        "patient" | "subject" | "_id" => Some(Named::Patient(identifier_of(value.trim_start_matches("Patient/"))?, None)),
        _ => match token.as_deref()?.strip_prefix("urn:oid:").map(Uid::parse) {
            Some(Ok(uid)) => Some(Named::Study(uid)),
            _ if kind == "Patient" => Some(Named::Patient(token?, issuer)),
            _ => Some(Named::Accession(token?)),
        },
    }
}

/// What the system of an identifier with an issuer begins with.
pub(super) const ISSUER: &str = "urn:hutong:issuer:";

/// Whether a value is one, and no pattern.
fn is_plain(value: &str) -> bool {
    !value.trim().is_empty() && !value.contains(['*', '?', '\\'])
}

/// The studies of the patient with a logical id; none where it is no id. Those of another issuer are still among them.
pub(super) fn of_patient(id: &str) -> Option<Query> {
    Some(Query { keys: vec![Key::of(tags::PATIENT_ID, identifier_of(id)?)], ..Query::all(View::Exchange) })
}

/// A patient's logical id: hexadecimal of the identifier, and a digest of its issuer behind a point: hospitals number patients each for
/// itself. None where that is longer than FHIR's 64 characters.
pub(super) fn id_of(identifier: &str, issuer: Option<&str>) -> Option<String> {
    let hex: String = identifier.bytes().map(|b| format!("{b:02x}")).collect();
    let behind = issuer.map_or(String::new(), |issuer| format!(".{}", digest(issuer).get(..8).unwrap_or("")));
    let id = hex + &behind;
    (!identifier.is_empty() && id.len() <= 64).then_some(id)
}

/// The identifier that a patient's logical id was made of.
fn identifier_of(id: &str) -> Option<String> {
    let hex = id.split('.').next()?;
    let digits: Vec<u32> = hex.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let bytes = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    });
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok().filter(|t| is_plain(t))
}

/// Whether a resource has one of the values of a parameter.
fn fits(resource: &Json, name: &str, value: &str) -> bool {
    let text = |key: &str| resource.get(key).and_then(Json::as_str).unwrap_or("");
    // Of SYSTEM|CODE the code: there is one system.
    let mut codes = value.split(',').map(|v| v.rsplit('|').next().unwrap_or("").trim());
    match name {
        "subject" if text("resourceType") == "Patient" => value.strip_prefix("Patient/") == Some(text("id")),
        "subject" => resource.pointer("/subject/reference").and_then(Json::as_str) == Some(value),
        // Of a study the reference says it: its patient's id ends with the issuer's digest.
        "issuer" => {
            let id = resource.pointer("/subject/reference").and_then(Json::as_str).unwrap_or_else(|| text("id"));
            id_of("x", Some(value)).is_some_and(|made| made.strip_prefix("78").is_some_and(|end| id.ends_with(end)))
        }
        "status" => codes.any(|code| code == text("status")),
        "modality" => {
            let own = || resource.get("modality").and_then(Json::as_array).into_iter().flatten();
            codes.any(|code| own().any(|m| m.get("code").and_then(Json::as_str) == Some(code)))
        }
        _ => value.split(',').any(|v| {
            span(v.trim()).is_some_and(|span| span.has(text(if name == "date" { "effectiveDateTime" } else { name })))
        }),
    }
}

/// A date with its prefix (FHIR R4, search: date): from a first day to a last one.
struct Span {
    prefix: String,
    first: String,
    last: String,
}

fn span(value: &str) -> Option<Span> {
    let (prefix, date) = match value.get(..2) {
        Some(prefix) if prefix.bytes().all(|b| b.is_ascii_lowercase()) => (prefix, value.get(2..)?),
        _ => ("eq", value),
    };
    let day = date.split('T').next()?;
    let numbers = day.split('-').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    let known = matches!(prefix, "eq" | "ne" | "gt" | "lt" | "ge" | "le" | "sa" | "eb");
    let (first, last) = match day.len() {
        4 => (format!("{day}-01-01"), format!("{day}-12-31")),
        // Texts are compared: no month has a day after its 31st.
        7 => (format!("{day}-01"), format!("{day}-31")),
        10 => (day.to_string(), day.to_string()),
        _ => return None,
    };
    (known && numbers).then(|| Span { prefix: prefix.to_string(), first, last })
}

impl Span {
    fn has(&self, day: &str) -> bool {
        let (before, behind) = (day < self.first.as_str(), day > self.last.as_str());
        !day.is_empty()
            && match self.prefix.as_str() {
                "eq" => !before && !behind,
                "ne" => before || behind,
                "gt" | "sa" => behind,
                "lt" | "eb" => before,
                "ge" => !before,
                _ => !behind,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn search(kind: &str, parameters: &[(&str, &str)]) -> Result<Search, Wrong> {
        let owned: Vec<(String, String)> = parameters.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        read(kind, &owned, false)
    }

    #[test]
    fn a_search_names_one_patient_or_study_and_nothing_that_is_not_known() {
        let known = |p: &[(&str, &str)]| search("ImagingStudy", p).is_ok();
        for yes in [
            ("patient", "485430303032"),
            ("patient", "Patient/485430303032"),
            ("subject", "Patient/485430303032"),
            ("subject:Patient", "485430303032"),
            ("patient.identifier", "urn:x|HT0002"),
            ("subject:Patient.identifier", "HT0002"),
            ("identifier", "urn:dicom:uid|urn:oid:1.2.3"),
            ("_id", "1.2.3"),
        ] {
            assert!(known(&[yes]), "{yes:?}");
        }
        for nobody in [
            ("identifier", "A1"),
            ("patient", "2a"),
            ("patient", "zz"),
            ("patient", ""),
            ("identifier", "*"),
            ("patient.identifier", "x|"),
            ("modality", "CT"),
            ("_id", "x"),
        ] {
            assert_eq!(search("ImagingStudy", &[nobody]).unwrap_err(), Wrong::Nobody, "{nobody:?}");
        }
        for wrong in [("_lastUpdated", "2026"), ("patient.name", "x"), ("started", "yesterday"), ("_count", "x")] {
            let asked = search("ImagingStudy", &[("subject", "485430303032"), wrong]);
            assert!(matches!(asked.unwrap_err(), Wrong::Parameter(_)), "{wrong:?}");
        }
        let both = [("patient.identifier", "P"), ("identifier", "A1")];
        assert!(search("ImagingStudy", &both).is_ok(), "an accession number beside a patient");
        let two = search("ImagingStudy", &[("_id", "1.2.3"), ("identifier", "urn:dicom:uid|urn:oid:1.2.4")]);
        assert!(matches!(two.unwrap_err(), Wrong::Parameter(_)));
        assert!(read("Patient", &[("identifier".into(), "x".into()), ("name".into(), "y".into())], true).is_ok());
        assert!(matches!(search("Patient", &[("identifier", "x"), ("modality", "CT")]).unwrap_err(), Wrong::Parameter(_)));
    }

    #[test]
    fn what_is_found_is_narrowed() {
        let study = json!({"id": "1.2", "status": "available", "started": "2026-03-10", "modality": [{"code": "CT"}]});
        let takes = |name: &str, value: &str| search("ImagingStudy", &[("_id", "1.2"), (name, value)]).unwrap().takes(&study);
        for (name, value, is) in [
            ("modality", "CT", true),
            ("modality", "http://dicom.nema.org/resources/ontology/DCM|CT", true),
            ("modality", "MR,CT", true),
            ("modality", "MR", false),
            ("status", "available", true),
            ("status", "registered", false),
            ("started", "2026-03-10", true),
            ("started", "2026-03", true),
            ("started", "ge2026-03-11", false),
            ("started", "le2026-03-10T08:00:00Z", true),
            ("started", "lt2026-03-10", false),
            ("started", "gt2025", true),
            ("started", "ne2026", false),
        ] {
            assert_eq!(takes(name, value), is, "{name}={value}");
        }
        assert!(!search("ImagingStudy", &[("_id", "1.3")]).unwrap().takes(&study));
    }

    #[test]
    fn a_patients_id_is_its_identifier_with_its_issuer_and_nothing_else_is_one() {
        for identifier in ["HT0002", "王-1", "a b"] {
            for issuer in [None, Some("甲医院")] {
                assert_eq!(identifier_of(&id_of(identifier, issuer).unwrap()).as_deref(), Some(identifier));
            }
            assert_ne!(id_of(identifier, None), id_of(identifier, Some("甲")));
            assert_ne!(id_of(identifier, Some("乙")), id_of(identifier, Some("甲")));
        }
        assert_eq!(id_of(&"x".repeat(33), None), None);
        for no in ["", "4", "zz", "ff", "../x", "2a", "485430302a", "3f"] {
            assert_eq!(identifier_of(no), None, "{no}");
            assert!(of_patient(no).is_none(), "{no}");
        }
        let of = |issuer| serde_json::json!({"resourceType": "ImagingStudy", "subject": {"reference": format!("Patient/{}", id_of("P", issuer).unwrap())}});
        let system = format!("{ISSUER}甲|P");
        let wanted = search("ImagingStudy", &[("patient.identifier", &system)]).unwrap();
        assert!(wanted.takes(&of(Some("甲"))) && !wanted.takes(&of(Some("乙"))) && !wanted.takes(&of(None)));
    }
}
