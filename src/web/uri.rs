//! WADO-URI (PS3.18 section 9): one object by a query string, as viewers of the first generation ask for it.

use super::accept::{Accepted, Offer};
use super::asked::Asked;
use super::problem::{Problem, task_failed};
use super::ranges;
use super::wado::objects;
use super::wado::rendered::{Region, Wanted, window};
use super::wado::text;
use crate::dicom::syntax;
use crate::index::InstanceRow;
use crate::retrieve::WRITTEN;
use crate::retrieve::look::{LONGEST, Viewport};
use axum::http::HeaderMap;
use axum::response::Response;

const PICTURES: &[Offer] =
    &[Offer::one("image/jpeg"), Offer::one("image/png"), Offer::one("image/gif"), Offer::one("image/jp2")];
const DICOM: Offer = Offer::one("application/dicom");

/// `GET /wado?requestType=WADO&…`
///
/// # Errors
/// The parameter that is missing or wrong; the object is not here, or cannot be had so.
pub async fn get(asked: Asked) -> Result<Response, Problem> {
    let required = |name: &str| asked.parameter(name)?.ok_or_else(|| Problem::bad(format!("{name} is missing")));
    if required("requestType")? != "WADO" {
        return Err(Problem::bad("requestType is WADO"));
    }
    let (study, series, object) = (required("studyUID")?, required("seriesUID")?, required("objectUID")?);
    let row = asked.row(study, series, object).await?;
    let accepted = accepted(&asked)?;
    if row.pixels_at.is_none() {
        return document(&asked, row, &accepted).await;
    }
    // Pictures come first: they are what is given when nothing is said (9.3).
    let offers = [PICTURES, &[DICOM]].concat();
    let offer = accepted.choose(&offers)?.0;
    if offer.media == DICOM.media { dicom(&asked, row).await } else { rendered(&asked, row, offer).await }
}

/// `contentType` wins over Accept; a charset or transfer syntax has parameters of its own.
fn accepted(asked: &Asked) -> Result<Accepted, Problem> {
    let Some(kinds) = asked.parameter("contentType")? else { return Accepted::of(&asked.headers, &[], true) };
    if kinds.contains("transfer-syntax=") || kinds.contains("charset=") {
        return Err(Problem::bad("contentType has no parameters; transferSyntax and charset are parameters of the request"));
    }
    Accepted::of(&HeaderMap::new(), &[("accept".into(), kinds.into())], true)
}

/// The object itself; the transfer syntax is Explicit VR Little Endian unless another is asked for.
async fn dicom(asked: &Asked, row: InstanceRow) -> Result<Response, Problem> {
    if asked.parameter("anonymize")?.is_some() {
        return Err(Problem::bad("anonymize: objects are not de-identified here"));
    }
    for name in ["rows", "columns", "region", "windowCenter", "windowWidth", "frameNumber", "imageQuality", "presentationUID"] {
        if asked.parameter(name)?.is_some() {
            return Err(Problem::bad(format!("{name} belongs to a picture, not to contentType=application/dicom")));
        }
    }
    let range = match asked.parameter("transferSyntax")? {
        Some(uid) if crate::dicom::Uid::parse(uid).is_err() => return Err(Problem::bad("transferSyntax is no UID")),
        Some(uid) if uid != row.transfer_syntax && !WRITTEN.contains(&uid) => {
            return Err(Problem::unacceptable(format!(
                "transfer syntax {uid} cannot be made here; ask for one of {}",
                WRITTEN.join(", ")
            )));
        }
        Some(uid) => format!("application/dicom;transfer-syntax={uid}"),
        None => "application/dicom".into(),
    };
    let accepted = Accepted::of(&HeaderMap::new(), &[("accept".into(), range)], true)?;
    objects::objects(asked, vec![row], &[DICOM], &accepted).await
}

async fn document(asked: &Asked, row: InstanceRow, accepted: &Accepted) -> Result<Response, Problem> {
    let offers = [
        Offer::one("text/html"),
        Offer::one("text/plain"),
        Offer::one("text/xml"),
        Offer::one("application/pdf"),
        Offer::one("application/dicom"),
    ];
    let offer = accepted.choose(&offers)?.0;
    if offer.media == DICOM.media { dicom(asked, row).await } else { text::render(asked, row, accepted).await }
}

async fn rendered(asked: &Asked, row: InstanceRow, offer: Offer) -> Result<Response, Problem> {
    if syntax::is_video(&row.transfer_syntax) {
        return Err(Problem::unacceptable("a video is not rendered; ask for contentType=application/dicom"));
    }
    for name in ["presentationUID", "presentationSeriesUID"] {
        if asked.parameter(name)?.is_some() {
            return Err(Problem::bad(format!("{name}: presentation states are not applied here")));
        }
    }
    let mut wanted = Wanted::of(&Asked { query: renamed(asked), ..asked.clone() })?;
    wanted.region = asked.parameter("region")?.map(region).transpose()?;
    wanted.viewport = viewport(asked)?;
    wanted.voi = match (asked.parameter("windowCenter")?, asked.parameter("windowWidth")?) {
        (Some(center), Some(width)) => Some(window(&format!("{center},{width},linear"))?),
        (None, None) => None,
        _ => return Err(Problem::bad("windowCenter and windowWidth go together")),
    };
    let frame = asked
        .parameter("frameNumber")?
        .map(|text| text.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(|| Problem::bad("frameNumber is a number from 1")));
    let frame = frame.transpose()?;
    let tag = asked.tag(std::slice::from_ref(&row), offer.media);
    if let Some(unchanged) = asked.unchanged(&tag) {
        return Ok(unchanged);
    }
    let app = asked.app.clone();
    let made = tokio::task::spawn_blocking(move || {
        // A frame is part of the path in WADO-RS and missing is 404 there; here it is a parameter, and a bad value.
        let frames = app.opened.get(&app.store, &row)?.layout().map_or(u32::MAX, |layout| layout.frames);
        if let Some(number) = frame.filter(|number| *number > frames) {
            return Err(Problem::bad(format!("frameNumber is {number} of {frames}")));
        }
        wanted.of_instance(&app, &row, frame, offer.media)
    });
    let bytes = made.await.map_err(task_failed)??;
    Ok(ranges::of_bytes(&asked.headers, offer.media, &tag, bytes))
}

/// The parameters that WADO-RS calls by other names.
fn renamed(asked: &Asked) -> Vec<(String, String)> {
    const NAMES: &[(&str, &str)] = &[
        ("imageQuality", "quality"),
        ("imageAnnotation", "annotation"),
        ("annotation", "annotation"),
        ("overlays", "overlays"),
    ];
    let named = |name: &str| NAMES.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| (*ours).to_string());
    asked.query.iter().filter_map(|(name, value)| Some((named(name)?, value.clone()))).collect()
}

fn region(text: &str) -> Result<Region, Problem> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
    let region = numbers.and_then(|n| Region::try_from(n).ok());
    let legal = |[x0, y0, x1, y1]: &Region| *x0 >= 0.0 && *y0 >= 0.0 && x0 < x1 && y0 < y1 && *x1 <= 1.0 && *y1 <= 1.0;
    region.filter(legal).ok_or_else(|| Problem::bad("region is xmin,ymin,xmax,ymax, each from 0 to 1"))
}

/// `columns` and `rows` are maxima; one of them may be left out.
fn viewport(asked: &Asked) -> Result<Option<Viewport>, Problem> {
    let side = |name: &str| {
        let side = asked.parameter(name)?.map(|text| {
            let side = text.parse::<u32>().ok().filter(|n| (1..=LONGEST).contains(n));
            side.ok_or_else(|| Problem::bad(format!("{name} is a whole number from 1 to {LONGEST}")))
        });
        side.transpose()
    };
    Ok(match (side("columns")?, side("rows")?) {
        (None, None) => None,
        (columns, rows) => Some(Viewport::whole(columns.unwrap_or(LONGEST), rows.unwrap_or(LONGEST))),
    })
}
