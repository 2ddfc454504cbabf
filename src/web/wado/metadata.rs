//! Metadata (PS3.18 10.4.1.1.2): all attributes, bulk data by URI, as JSON or as XML.

use crate::dicom::xml;
use crate::index::InstanceRow;
use crate::retrieve::describe;
use crate::web::accept::Offer;
use crate::web::asked::{Asked, CACHED, address};
use crate::web::multipart::{Boundary, body};
use crate::web::problem::Problem;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::io::{self, Write};

/// JSON first: it is the default (8.7.3.2); `application/json` is what many clients say for it.
pub const OFFERS: &[Offer] =
    &[Offer::one("application/dicom+json"), Offer::many("application/dicom+xml"), Offer::one("application/json")];

/// `GET …/metadata` of a study.
pub async fn study(asked: Asked, Path(study): Path<String>) -> Result<Response, Problem> {
    let rows = asked.rows(&study, None, None).await?;
    metadata(&asked, rows)
}

/// `GET …/metadata` of a series.
pub async fn series(asked: Asked, Path((study, series)): Path<(String, String)>) -> Result<Response, Problem> {
    let rows = asked.rows(&study, Some(&series), None).await?;
    metadata(&asked, rows)
}

/// `GET …/metadata` of an instance.
pub async fn instance(
    asked: Asked,
    Path((study, series, instance)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let row = asked.row(&study, &series, &instance).await?;
    metadata(&asked, vec![row])
}

/// Instances of one series that are described together: what is held in memory.
const TOGETHER: usize = 1000;

fn metadata(asked: &Asked, rows: Vec<InstanceRow>) -> Result<Response, Problem> {
    let accepted = asked.accepted()?;
    accepted.utf8(&asked.headers, &asked.query)?;
    let (offer, _) = accepted.choose(OFFERS)?;
    let tag = format!("W/{}", asked.tag(&rows, &offer.to_string()));
    if let Some(unchanged) = asked.unchanged(tag.trim_start_matches("W/")) {
        return Ok(unchanged);
    }
    let (app, url) = (asked.app.clone(), asked.url());
    let boundary = Boundary::of(&tag);
    let kind = if offer.multipart { format!("{offer}; boundary={boundary}") } else { offer.media.to_string() };
    let body = body(move |out| {
        let mut first = true;
        if !offer.multipart {
            out.write_all(b"[")?;
        }
        for chunk in rows.chunk_by(|a, b| a.series == b.series).flat_map(|series| series.chunks(TOGETHER)) {
            let Some(one) = chunk.first() else { continue };
            for (row, described) in chunk.iter().zip(describe::series(&app.store, &one.study, &one.series, chunk)) {
                let (described, address) = (described.map_err(io::Error::other)?, address(&url, row));
                if offer.multipart {
                    boundary.part(out, offer.media, Some(&address))?;
                    out.write_all(xml::of_json(&described.json(&address)?).as_bytes())?;
                    continue;
                }
                if !std::mem::take(&mut first) {
                    out.write_all(b",")?;
                }
                described.write(&address, out)?;
            }
        }
        if offer.multipart { boundary.end(out) } else { out.write_all(b"]") }
    });
    let fixed = [(header::CONTENT_TYPE, kind), (header::ETAG, tag), (header::CACHE_CONTROL, CACHED.to_string())];
    Ok((fixed, body).into_response())
}
