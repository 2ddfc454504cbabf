//! Rendered documents: a report as a page, as text or as XML (PS3.18 table 8.7.4-1), an encapsulated document as its file.

use super::bulk::span_of_document;
use crate::dicom::xml;
use crate::index::InstanceRow;
use crate::retrieve::describe::Description;
use crate::retrieve::document;
use crate::web::accept::{Accepted, Offer};
use crate::web::asked::Asked;
use crate::web::problem::{Problem, task_failed};
use crate::web::ranges;
use axum::response::Response;
use std::io;

/// HTML is the default, the others are required.
const REPORT: &[Offer] = &[Offer::one("text/html"), Offer::one("text/plain"), Offer::one("text/xml")];

/// A rendered document.
///
/// # Errors
/// The object is none, or cannot be had so.
pub async fn rendered(asked: &Asked, row: InstanceRow) -> Result<Response, Problem> {
    render(asked, row, &asked.accepted()?).await
}

/// A rendered document of the media types that are accepted.
///
/// # Errors
/// As [`rendered`].
pub async fn render(asked: &Asked, row: InstanceRow, accepted: &Accepted) -> Result<Response, Problem> {
    accepted.utf8(&asked.headers, &asked.query)?;
    let (app, held, address) = (asked.app.clone(), row.clone(), asked.url_of(&row));
    let tag_of = |form: &str| asked.tag(std::slice::from_ref(&row), form);
    let opened = tokio::task::spawn_blocking(move || app.opened.get(&app.store, &held)).await.map_err(task_failed)??;
    if let Some((media, length)) = document::encapsulated(&opened.data_set) {
        let (offer, _) = accepted.choose(&[Offer::one(media)])?;
        return span_of_document(&asked.headers, &tag_of(offer.media), opened, media, length);
    }
    let Some(lines) = document::report(&opened.data_set) else {
        return Err(Problem::unacceptable("it is neither an image nor a document; get the object itself"));
    };
    let (offer, _) = accepted.choose(REPORT)?;
    let tag = tag_of(offer.media);
    if let Some(unchanged) = asked.unchanged(&tag) {
        return Ok(unchanged);
    }
    let text = match offer.media {
        "text/plain" => document::plain(&lines),
        "text/xml" => {
            let json = Description::of(&opened.data_set)
                .json(&address)
                .map_err(|e: io::Error| Problem::unacceptable(e.to_string()))?;
            xml::of_json(&json)
        }
        _ => document::page(&lines),
    };
    Ok(ranges::of_bytes(&asked.headers, &format!("{}; charset=utf-8", offer.media), &tag, text.into_bytes()))
}
