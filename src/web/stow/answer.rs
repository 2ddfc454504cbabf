//! What became of the parts, as the Store Instances Response Module (PS3.18 annex I).

use crate::dicom::{Uid, xml};
use crate::ingest::{Failed, IngestError, Refused, Stored};
use crate::web::accept::Offer;
use crate::web::asked::address_of;
use crate::web::multipart::Boundary;
use crate::web::problem::Problem;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeSet;

/// What became of the parts.
#[derive(Default)]
pub struct Tally {
    /// The root's address.
    url: String,
    stored: Vec<Json>,
    /// The studies that something was stored in.
    studies: BTreeSet<Uid>,
    failed: Vec<Json>,
    other: Vec<Json>,
    out_of_space: bool,
    /// Something was stored with a warning.
    warned: bool,
}

fn reference(class: &str, instance: &str) -> Map<String, Json> {
    let mut item = Map::new();
    let class = if class.is_empty() { json!({"vr": "UI"}) } else { json!({"vr": "UI", "Value": [class]}) };
    item.insert("00081150".into(), class);
    item.insert("00081155".into(), json!({"vr": "UI", "Value": [instance]}));
    item
}

/// Failure Reason (0008,1197), PS3.18 table I.2-2.
fn reason_of(error: &IngestError) -> u16 {
    match error {
        IngestError::Refused(refused) => match refused {
            Refused::Conflict(..) => 0x0111,
            Refused::Mismatch(_) | Refused::OtherStudy(..) => 0xA900,
            Refused::NotUnderstood(_) | Refused::NotAFile(_) => 0xC000,
            Refused::TooLarge(_) => 0xA700,
        },
        IngestError::Failed(Failed::NoSpace) => 0xA700,
        IngestError::Failed(_) => 0x0110,
    }
}

impl Tally {
    /// Of a request to the root with this address.
    pub fn new(url: String) -> Tally {
        Tally { url, ..Tally::default() }
    }

    /// Something was stored.
    pub fn has_stored(&self) -> bool {
        !self.stored.is_empty()
    }

    /// Parts counted so far.
    pub fn parts(&self) -> usize {
        self.stored.len() + self.failed.len() + self.other.len()
    }

    /// A part that names no instance failed.
    pub fn fail_unnamed(&mut self, reason: u16) {
        self.other.push(json!({"00081197": {"vr": "US", "Value": [reason]}}));
    }

    /// An instance failed.
    pub fn fail(&mut self, class: &str, instance: &str, reason: u16) {
        let mut item = reference(class, instance);
        item.insert("00081197".into(), json!({"vr": "US", "Value": [reason]}));
        self.failed.push(Json::Object(item));
    }

    /// What ingest says of a part.
    pub fn count(&mut self, result: Result<Stored, IngestError>) {
        match result {
            Ok(Stored { sop_class, key, is_cut, .. }) => {
                let mut item = reference(&sop_class, key.sop_instance.as_str());
                let place = address_of(&self.url, &key.study, &key.series, &key.sop_instance);
                item.insert("00081190".into(), json!({"vr": "UR", "Value": [place]}));
                if is_cut {
                    // Data Set does not match SOP Class: there are fewer pixels than it says (table I.2-2).
                    item.insert("00081196".into(), json!({"vr": "US", "Value": [0xB007]}));
                    self.warned = true;
                }
                self.stored.push(Json::Object(item));
                self.studies.insert(key.study);
            }
            Err(error) => {
                tracing::warn!(error = %error, "a part of a STOW-RS request was refused");
                self.out_of_space |= matches!(error, IngestError::Failed(Failed::NoSpace));
                let reason = reason_of(&error);
                match &error {
                    IngestError::Refused(Refused::Conflict(key, class) | Refused::OtherStudy(key, class)) => {
                        self.fail(class, key.sop_instance.as_str(), reason);
                    }
                    _ => self.fail_unnamed(reason),
                }
            }
        }
    }

    /// 200 for all, 202 for some or with a warning, 409 for none (table 10.5.3-1). `study` is the one that the request named.
    pub fn answer(&self, study: Option<&Uid>, offer: Offer) -> Response {
        let failures = !self.failed.is_empty() || !self.other.is_empty();
        let status = match (self.stored.is_empty(), failures) {
            (true, _) if self.out_of_space => StatusCode::INSUFFICIENT_STORAGE,
            (true, true) => StatusCode::CONFLICT,
            (false, true) => StatusCode::ACCEPTED,
            (false, false) if self.warned => StatusCode::ACCEPTED,
            (false, false) => StatusCode::OK,
            (true, false) => return Problem::bad("the body holds no part").into_response(),
        };
        let mut body = Map::new();
        // Of the study that was named, else of the only one that something was stored in.
        let only = self.studies.first().filter(|_| self.studies.len() == 1);
        let named = study.filter(|study| self.studies.contains(study));
        let place = named.or(only).map(|study| format!("{}/studies/{study}", self.url));
        if let Some(place) = &place {
            body.insert("00081190".into(), json!({"vr": "UR", "Value": [place]}));
        }
        for (tag, items) in [("00081198", &self.failed), ("00081199", &self.stored), ("0008119A", &self.other)] {
            if !items.is_empty() {
                body.insert(tag.into(), json!({"vr": "SQ", "Value": items}));
            }
        }
        let (kind, text) = if offer.media == "application/dicom+xml" && !offer.multipart {
            (offer.media.to_string(), xml::of_json(&body))
        } else if offer.multipart {
            let boundary = Boundary::random();
            let text = format!("{}{}{}", boundary.head(offer.media, None), xml::of_json(&body), boundary.tail());
            (format!("{offer}; boundary={boundary}"), text)
        } else {
            (offer.media.to_string(), Json::Object(body).to_string())
        };
        let place = place.filter(|_| !self.stored.is_empty()).map(|place| [(header::CONTENT_LOCATION, place)]);
        (status, [(header::CONTENT_TYPE, kind)], place, text).into_response()
    }
}
