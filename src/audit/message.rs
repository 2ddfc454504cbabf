//! A record of the journal as an audit message (PS3.15 A.5.3): a table of what each event is, and the XML of it.

use crate::journal::Event;
use quick_xml::escape::escape as escaped;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A code of DCM with its meaning.
pub type Code = (&'static str, &'static str);

/// What an auditor is told of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What happened.
    pub event: Code,
    /// What kind of it.
    pub kind: Option<Code>,
    /// `C`, `R`, `U`, `D` or `E`.
    pub action: char,
    /// 0: success; 4: minor failure; 8: serious failure.
    pub outcome: u8,
    /// Who did it; the node itself where it is empty.
    pub by: String,
    /// Who else took part: where something went to or came from.
    pub other: Option<String>,
    /// The study that it is about.
    pub study: Option<String>,
    /// What was asked for, or changed.
    pub detail: Vec<(&'static str, String)>,
    /// Why somebody asked.
    pub purpose: Option<String>,
}

const ACTIVITY: Code = ("110100", "Application Activity");
const STARTED: Code = ("110120", "Application Start");
const STOPPED: Code = ("110121", "Application Stop");
const ACCESSED: Code = ("110103", "DICOM Instances Accessed");
const TRANSFERRED: Code = ("110104", "DICOM Instances Transferred");
const RECORD: Code = ("110110", "Patient Record");
const QUERY: Code = ("110112", "Query");
const SECURITY: Code = ("110113", "Security Alert");
const AUTHENTICATION: Code = ("110114", "User Authentication");
const LOGIN: Code = ("110122", "Login");
const NETWORK: Code = ("110128", "Network Configuration");
/// Study Root Query/Retrieve Information Model - FIND.
const STUDY_ROOT: &str = "1.2.840.10008.5.1.4.1.2.2.1";
const CONFIGURATION: Code = ("110129", "Security Configuration");

/// What an auditor is to be told of an event; none of what is no access, decision or change.
pub fn of(event: &Event) -> Option<Told> {
    let told = |event, action, by: &str| Told {
        event,
        kind: None,
        action,
        outcome: 0,
        by: by.to_string(),
        other: None,
        study: None,
        detail: Vec::new(),
        purpose: None,
    };
    let about = |told: Told, study: &str| Told { study: Some(study.to_string()), ..told };
    Some(match event {
        Event::Started { version, configuration, register } => {
            let said = [("version", version), ("configuration", configuration), ("register", register)];
            let detail = said.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, text.clone()));
            Told { kind: Some(STARTED), detail: detail.collect(), ..told(ACTIVITY, 'E', "") }
        }
        Event::Stopped => Told { kind: Some(STOPPED), ..told(ACTIVITY, 'E', "") },
        Event::Denied { by, why } => {
            Told { kind: Some(LOGIN), outcome: 4, detail: vec![("why", why.clone())], ..told(AUTHENTICATION, 'E', by) }
        }
        Event::Queried { view, by, keys, on_behalf, .. } => {
            let detail = vec![("view", view.clone()), ("keys", keys.join(","))];
            Told { detail, ..told(QUERY, 'E', by) }.on_behalf(on_behalf)
        }
        Event::Retrieved { view, study, by, on_behalf, .. } => {
            Told { detail: vec![("view", view.clone())], ..about(told(TRANSFERRED, 'R', by), study) }.on_behalf(on_behalf)
        }
        Event::Forwarded { study, to, .. } => Told { other: Some(to.clone()), ..about(told(TRANSFERRED, 'R', ""), study) },
        Event::External { study, node, by, on_behalf, .. } => {
            Told { other: Some(node.clone()), ..about(told(TRANSFERRED, 'C', by), study) }.on_behalf(on_behalf)
        }
        Event::NotFetched { study, node, by, why } => Told {
            other: Some(node.clone()),
            outcome: 4,
            detail: vec![("why", why.clone())],
            ..about(told(TRANSFERRED, 'C', by), study)
        },
        Event::Marked { study, .. } => about(told(ACCESSED, 'C', ""), study),
        Event::Withdrawn { study, why, .. } => {
            Told { detail: vec![("why", why.clone())], ..about(told(ACCESSED, 'D', ""), study) }
        }
        Event::Judged { study, outcome, .. } => {
            Told { detail: vec![("outcome", outcome.clone())], ..about(told(ACCESSED, 'U', ""), study) }
        }
        Event::Ruled { study, ruling } => {
            let by = ruling.get("by").and_then(serde_json::Value::as_str).unwrap_or("");
            about(told(RECORD, 'U', by), study)
        }
        Event::Decided { study, hospital, clinician, item, accepted, by, encounter, .. } => {
            let said = [("item", item.to_string()), ("accepted", accepted.to_string()), ("encounter", encounter.clone())];
            Told {
                detail: said.into_iter().filter(|(_, text)| !text.is_empty()).collect(),
                // The system that it was told by.
                other: (!by.is_empty()).then(|| by.clone()),
                ..about(told(RECORD, 'C', &format!("{hospital}/{clinician}")), study)
            }
        }
        Event::ReportAdded { study, by, verified, .. } => {
            Told { detail: vec![("verified", verified.to_string())], ..about(told(RECORD, 'C', by), study) }
        }
        Event::RegisterChanged { by, .. } => {
            Told { kind: Some(CONFIGURATION), detail: vec![("what", "register".into())], ..told(SECURITY, 'E', by) }
        }
        Event::PeerChanged { aet, by, .. } => {
            Told { kind: Some(NETWORK), detail: vec![("peer", aet.clone())], ..told(SECURITY, 'E', by) }
        }
        Event::Offered { study, by, item, on_behalf, .. } => {
            Told { detail: vec![("item", item.to_string())], ..about(told(QUERY, 'E', by), study) }.on_behalf(on_behalf)
        }
        Event::Cut { bytes, .. } => Told {
            outcome: 8,
            detail: vec![("journal", format!("{bytes} bytes of a broken record were put aside"))],
            ..told(SECURITY, 'E', "")
        },
        Event::Broken { line } => {
            Told { outcome: 12, detail: vec![("journal", format!("line {line} was altered"))], ..told(SECURITY, 'E', "") }
        }
        Event::Lost { records } => Told {
            outcome: 12,
            detail: vec![("journal", format!("{records} records are gone from its end"))],
            ..told(SECURITY, 'E', "")
        },
        Event::Conflict { .. } | Event::Performed { .. } | Event::Missed { .. } => return None,
    })
}

/// A text inside of XML 1.0, which knows no control characters.
fn escape(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control() && !matches!(c, '\u{FFFE}' | '\u{FFFF}')).take(256).collect();
    escaped(clean.as_str()).into_owned()
}

/// When, as XML and FHIR write it.
pub fn instant(at_ms: i64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ms) * 1_000_000);
    let format = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    at.ok().and_then(|at| at.format(&format).ok()).unwrap_or_default()
}

impl Told {
    /// With what the one that asked said of his purpose, the clinician and the encounter.
    fn on_behalf(mut self, said: &BTreeMap<String, String>) -> Told {
        self.purpose = said.get("purpose").cloned();
        self.detail.extend(["clinician", "encounter"].iter().filter_map(|name| Some((*name, said.get(*name)?.clone()))));
        self
    }

    /// The audit message (PS3.15 A.5.1): `source` is this node's name.
    pub fn xml(&self, at_ms: i64, source: &str) -> String {
        let mut x = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?><AuditMessage>");
        let code = |x: &mut String, name: &str, (value, meaning): Code| {
            let _ = write!(x, "<{name} csd-code=\"{value}\" codeSystemName=\"DCM\" originalText=\"{meaning}\"/>");
        };
        let _ = write!(
            x,
            "<EventIdentification EventActionCode=\"{}\" EventDateTime=\"{}\" EventOutcomeIndicator=\"{}\">",
            self.action,
            instant(at_ms),
            self.outcome
        );
        code(&mut x, "EventID", self.event);
        self.kind.into_iter().for_each(|kind| code(&mut x, "EventTypeCode", kind));
        if self.study.is_none() && self.event != QUERY && !self.detail.is_empty() {
            let said: Vec<String> = self.detail.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            let _ = write!(x, "<EventOutcomeDescription>{}</EventOutcomeDescription>", escape(&said.join("; ")));
        }
        if let Some(purpose) = &self.purpose {
            let purpose = escape(purpose);
            let _ = write!(x, "<PurposeOfUse csd-code=\"{purpose}\" codeSystemName=\"local\" originalText=\"{purpose}\"/>");
        }
        x.push_str("</EventIdentification>");
        self.parties(source).into_iter().for_each(|(name, asked, role)| participant(&mut x, name, asked, role));
        let _ = write!(x, "<AuditSourceIdentification AuditSourceID=\"{}\"/>", escape(source));
        if let Some(study) = &self.study {
            let _ = write!(
                x,
                "<ParticipantObjectIdentification ParticipantObjectID=\"{}\" ParticipantObjectTypeCode=\"2\" ParticipantObjectTypeCodeRole=\"3\">",
                escape(study)
            );
            code(&mut x, "ParticipantObjectIDTypeCode", ("110180", "Study Instance UID"));
            self.details(&mut x);
            x.push_str("</ParticipantObjectIdentification>");
        } else if self.event == QUERY {
            // What was asked by, without with what: the journal does not have it. QIDO-RS is Study Root.
            let _ = write!(
                x,
                "<ParticipantObjectIdentification ParticipantObjectID=\"{STUDY_ROOT}\" ParticipantObjectTypeCode=\"2\" ParticipantObjectTypeCodeRole=\"3\">"
            );
            code(&mut x, "ParticipantObjectIDTypeCode", ("110181", "SOP Class UID"));
            self.details(&mut x);
            x.push_str("</ParticipantObjectIdentification>");
        }
        x.push_str("</AuditMessage>");
        x
    }

    /// Who took part: name, whether he asked, and his role.
    pub fn parties<'a>(&'a self, source: &'a str) -> Vec<(&'a str, bool, Option<Code>)> {
        let by = if self.by.is_empty() { source } else { &self.by };
        let other = self.other.as_deref().or((!self.by.is_empty()).then_some(source));
        let [own, others] = self.roles();
        std::iter::once((by, true, own)).chain(other.map(|name| (name, false, others))).collect()
    }

    /// Roles of the one that asked and of the other one, where the message has them (PS3.15 A.5.3.1, A.5.3.7, A.5.3.10).
    fn roles(&self) -> [Option<Code>; 2] {
        const APPLICATION: Code = ("110150", "Application");
        const SOURCE: Code = ("110153", "Source Role ID");
        const DESTINATION: Code = ("110152", "Destination Role ID");
        match self.event {
            ACTIVITY => [Some(APPLICATION), None],
            QUERY => [Some(SOURCE), Some(DESTINATION)],
            // Who retrieves gets, who fetches from another node gets, who forwards gives.
            TRANSFERRED if self.by.is_empty() => [Some(SOURCE), Some(DESTINATION)],
            TRANSFERRED => [Some(DESTINATION), Some(SOURCE)],
            _ => [None, None],
        }
    }

    fn details(&self, x: &mut String) {
        use base64::Engine;
        for (name, value) in &self.detail {
            let value = base64::engine::general_purpose::STANDARD.encode(value);
            let _ = write!(x, "<ParticipantObjectDetail type=\"{name}\" value=\"{value}\"/>");
        }
    }
}

fn participant(x: &mut String, name: &str, asked: bool, role: Option<Code>) {
    let _ = write!(x, "<ActiveParticipant UserID=\"{}\" UserIsRequestor=\"{asked}\"", escape(name));
    // The journal names a client with its address behind it.
    let address = name.rsplit_once(' ').map(|(_, address)| address).filter(|a| a.parse::<std::net::IpAddr>().is_ok());
    if let Some(address) = address {
        let _ = write!(x, " NetworkAccessPointID=\"{address}\" NetworkAccessPointTypeCode=\"2\"");
    }
    match role {
        Some((value, meaning)) => {
            let _ = write!(
                x,
                "><RoleIDCode csd-code=\"{value}\" codeSystemName=\"DCM\" originalText=\"{meaning}\"/></ActiveParticipant>"
            );
        }
        None => x.push_str("/>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_access_decision_and_change_is_told_and_names_are_escaped() {
        let events = [
            Event::Denied { by: "10.0.0.1".into(), why: "no such key".into() },
            Event::Queried {
                view: "exchange".into(),
                by: "t2 \"<&> 10.0.0.2".into(),
                keys: vec!["PatientID".into()],
                matches: 1,
                on_behalf: BTreeMap::from(
                    [("purpose", "TREATMENT"), ("clinician", "李")].map(|(n, v)| (n.to_string(), v.to_string())),
                ),
            },
            Event::RegisterChanged { by: "admin".into(), digest: String::new() },
            Event::Ruled { study: "1.2".into(), ruling: serde_json::json!({"by": "王"}) },
        ];
        let told: Vec<Told> = events.iter().filter_map(of).collect();
        assert_eq!(
            told.iter().map(|t| (t.event.0, t.outcome)).collect::<Vec<_>>(),
            [("110114", 4), ("110112", 0), ("110113", 0), ("110110", 0)]
        );
        assert!(told[1].detail.contains(&("clinician", "李".to_string())), "{:?}", told[1].detail);
        let xml = told[1].xml(1_000, "HUTONG");
        assert!(
            xml.contains("UserID=\"t2 &quot;&lt;&amp;&gt; 10.0.0.2\"") && xml.contains("NetworkAccessPointID=\"10.0.0.2\""),
            "{xml}"
        );
        assert!(
            xml.contains("EventDateTime=\"1970-01-01T00:00:01.000Z\"") && xml.contains("PurposeOfUse csd-code=\"TREATMENT\"")
        );
        assert_eq!(of(&Event::Conflict { study: "1".into(), instance: "2".into(), sender: "X".into() }), None);
    }
}
