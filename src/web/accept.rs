//! Content negotiation (PS3.18 8.7): media ranges with q, `type`, `transfer-syntax` and `charset`, quoted or not.
//!
//! Never gives what was not asked for: when nothing fits, the answer is 406 with what there is.

use super::problem::Problem;
use axum::http::{HeaderMap, header};

/// One media range of an Accept header or `accept` parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    /// `type/subtype`, lower case.
    pub media: String,
    /// Parameters, names lower case, quotes off.
    pub parameters: Vec<(String, String)>,
    /// Weight, 0 to 1.
    pub q: f64,
}

impl Range {
    /// A parameter by name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The transfer syntax that is asked for; none: the default of the media type.
    pub fn transfer_syntax(&self) -> Option<&str> {
        self.parameter("transfer-syntax")
    }

    /// How closely it names what is on offer, 1 to 4; none when it does not.
    fn fits(&self, offer: Offer) -> Option<u8> {
        let closeness = |wanted: &str| match wanted {
            "*/*" => Some(1),
            wanted if wanted == offer.media => Some(3),
            wanted => wanted.strip_suffix('*').filter(|kind| offer.media.starts_with(kind)).map(|_| 2),
        };
        let close = match self.media.as_str() {
            "*/*" | "multipart/*" if self.media == "*/*" || offer.multipart => Some(1),
            "multipart/related" if offer.multipart => closeness(&self.parameter("type").unwrap_or("*/*").to_lowercase()),
            _ if offer.multipart => None,
            media => closeness(media),
        }?;
        Some(close + u8::from(self.transfer_syntax().is_some()))
    }
}

/// A representation that can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Its media type; of the parts, in a multipart body.
    pub media: &'static str,
    /// It is a multipart/related body.
    pub multipart: bool,
}

impl Offer {
    /// A body of one part.
    pub const fn one(media: &'static str) -> Offer {
        Offer { media, multipart: false }
    }

    /// A body of many parts.
    pub const fn many(media: &'static str) -> Offer {
        Offer { media, multipart: true }
    }
}

impl std::fmt::Display for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.multipart { write!(f, "multipart/related; type=\"{}\"", self.media) } else { f.write_str(self.media) }
    }
}

/// Media types that only pictures and pages for people have (PS3.18 8.7.4).
const RENDERED: &[&str] = &[
    "image/jpeg",
    "image/gif",
    "image/png",
    "image/jp2",
    "video/mpeg",
    "video/mp4",
    "video/h265",
    "text/html",
    "text/plain",
    "text/rtf",
    "application/pdf",
];

/// What a request accepts.
#[derive(Debug, Clone)]
pub struct Accepted {
    ranges: Vec<Range>,
}

impl Accepted {
    /// The ranges of a request; the `accept` parameter wins over the header (8.3.3.1).
    ///
    /// # Errors
    /// There is neither (8.7.5), unless `lenient`; or DICOM and rendered media types stand side by side (8.7.5).
    pub fn of(headers: &HeaderMap, query: &[(String, String)], lenient: bool) -> Result<Accepted, Problem> {
        let parameter = query.iter().find(|(k, _)| k.eq_ignore_ascii_case("accept")).map(|(_, v)| v.clone());
        let header: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
        let text = match parameter {
            Some(text) => text,
            None if !header.is_empty() => header.join(","),
            None if lenient => "*/*".into(),
            None => return Err(Problem::unacceptable("the request names no acceptable media type; send Accept, e.g. */*")),
        };
        Ok(Accepted { ranges: split(&text, ',').iter().filter_map(|text| range(text)).collect() })
    }

    /// Refuses a list of DICOM and rendered media types (8.7.5).
    ///
    /// # Errors
    /// It is one.
    pub fn unmixed(self) -> Result<Accepted, Problem> {
        let is_dicom = |r: &Range| {
            let inner = if r.media == "multipart/related" { r.parameter("type").unwrap_or("") } else { &r.media };
            inner.to_lowercase().starts_with("application/dicom") || inner.eq_ignore_ascii_case("application/octet-stream")
        };
        let rendered = |r: &Range| RENDERED.contains(&r.media.as_str());
        if self.ranges.iter().any(is_dicom) && self.ranges.iter().any(rendered) {
            return Err(Problem::bad("Accept names DICOM and rendered media types; ask for one kind (PS3.18 8.7.5)"));
        }
        Ok(self)
    }

    /// The weight of an offer: q of the range that names it most closely.
    fn weight(&self, offer: Offer) -> f64 {
        let fitting = self.ranges.iter().filter_map(|r| r.fits(offer).map(|close| (close, r.q)));
        fitting.max_by(|a, b| (a.0, a.1).partial_cmp(&(b.0, b.1)).unwrap_or(std::cmp::Ordering::Equal)).map_or(0.0, |(_, q)| q)
    }

    /// The best of what is on offer, and the ranges that ask for it, best first. Among equals the one that the client named
    /// first and most closely, then the one offered first.
    ///
    /// # Errors
    /// None is acceptable.
    pub fn choose(&self, offers: &[Offer]) -> Result<(Offer, Vec<&Range>), Problem> {
        let place = |offer: Offer| {
            let fitting = self
                .ranges
                .iter()
                .enumerate()
                .filter_map(|(i, r)| r.fits(offer).map(|close| (std::cmp::Reverse(close.min(3)), i)));
            fitting.min().unwrap_or((std::cmp::Reverse(0), usize::MAX))
        };
        let weighed = offers.iter().map(|o| (self.weight(*o), *o)).filter(|(q, _)| *q > 0.0);
        let best = weighed.reduce(|best, next| {
            let better = next.0 > best.0 || (next.0 >= best.0 && place(next.1) < place(best.1));
            if better { next } else { best }
        });
        let Some((_, offer)) = best else {
            let all: Vec<String> = offers.iter().map(ToString::to_string).collect();
            return Err(Problem::unacceptable(format!("this resource can be had as {}", all.join(", "))));
        };
        let mut asking: Vec<&Range> = self.ranges.iter().filter(|r| r.q > 0.0 && r.fits(offer).is_some()).collect();
        asking.sort_by(|a, b| b.q.total_cmp(&a.q));
        Ok((offer, asking))
    }

    /// The only character set that is written is UTF-8.
    ///
    /// # Errors
    /// `charset` or Accept-Charset names others only (8.8).
    pub fn utf8(&self, headers: &HeaderMap, query: &[(String, String)]) -> Result<(), Problem> {
        let parameter = query.iter().find(|(k, _)| k.eq_ignore_ascii_case("charset")).map(|(_, v)| v.as_str());
        let header = || headers.get(header::ACCEPT_CHARSET).and_then(|v| v.to_str().ok());
        let of_range = || self.ranges.iter().find_map(|r| r.parameter("charset"));
        let Some(text) = parameter.or_else(header).or_else(of_range) else { return Ok(()) };
        let known = |part: &str| {
            let name = part.split(';').next().unwrap_or("").trim().trim_matches('"').to_lowercase();
            let weight = |p: &str| p.trim().strip_prefix("q=").map(|q| q.trim().parse::<f64>().unwrap_or(0.0));
            let refused = part.split(';').skip(1).filter_map(weight).any(|q| q <= 0.0);
            matches!(name.as_str(), "utf-8" | "utf8" | "iso_ir 192" | "iso-ir-192" | "*") && !refused
        };
        if text.split(',').any(known) { Ok(()) } else { Err(Problem::unacceptable("text is written in UTF-8 only")) }
    }
}

fn range(text: &str) -> Option<Range> {
    let mut parts = split(text, ';').into_iter();
    let media = parts.next()?.trim().to_lowercase();
    if !media.contains('/') {
        return None;
    }
    let parameters: Vec<(String, String)> = parts
        .filter_map(|p| p.split_once('=').map(|(n, v)| (n.trim().to_lowercase(), v.trim().trim_matches('"').to_string())))
        .collect();
    let q = parameters.iter().find(|(n, _)| n == "q").map_or(1.0, |(_, v)| v.parse::<f64>().unwrap_or(0.0));
    Some(Range { media, parameters, q: if q.is_finite() { q.clamp(0.0, 1.0) } else { 0.0 } })
}

/// Splits at a separator outside of quotes.
pub fn split(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && c == '\\' && !escaped;
        if c == separator && !quoted {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accept: &str) -> Accepted {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        Accepted::of(&headers, &[], false).unwrap()
    }

    const PICTURES: [Offer; 2] = [Offer::one("image/jpeg"), Offer::one("image/png")];

    #[test]
    fn the_most_specific_range_gives_the_weight() {
        let chosen = |accept: &str| of(accept).choose(&PICTURES).map(|c| c.0.media).ok();
        assert_eq!(chosen("image/webp, image/png;q=0.9, image/jpeg;q=0.5"), Some("image/png"));
        assert_eq!(chosen("image/*"), Some("image/jpeg"));
        assert_eq!(chosen("image/*, image/jpeg;q=0.1"), Some("image/png"));
        assert_eq!(chosen("*/*;q=0.1, image/jpeg;q=0"), Some("image/png"));
        assert_eq!(chosen("image/png, image/jpeg"), Some("image/png"));
        assert_eq!((chosen("text/html"), chosen("image/png;q=0"), chosen("image/png;q=NaN")), (None, None, None));
    }

    #[test]
    fn multipart_and_single_part_are_different_things() {
        let offers = [Offer::many("application/dicom"), Offer::one("application/dicom")];
        for accept in [
            "multipart/related; type=\"application/dicom\"; transfer-syntax=\"*\"",
            "multipart/related; type=application/dicom; transfer-syntax=*",
            "Multipart/Related; TYPE=\"application/dicom\";Transfer-Syntax=*;q=0.7",
        ] {
            let accepted = of(accept);
            let (offer, ranges) = accepted.choose(&offers).unwrap();
            assert_eq!((offer, ranges[0].transfer_syntax()), (offers[0], Some("*")));
        }
        assert_eq!(of("application/dicom").choose(&offers).unwrap().0, offers[1]);
        assert!(of("application/dicom").choose(&offers[..1]).is_err());
        assert_eq!(of("*/*").choose(&offers).unwrap().0, offers[0]);
    }

    #[test]
    fn no_range_a_mixed_list_and_a_foreign_charset_are_refused() {
        let none = HeaderMap::new();
        assert!(Accepted::of(&none, &[], false).is_err() && Accepted::of(&none, &[], true).is_ok());
        assert!(of("application/dicom, image/jpeg").unmixed().is_err());
        assert!(of("multipart/related; type=\"image/jpeg\", application/octet-stream").unmixed().is_ok());
        let charset = |text: &str| of("*/*").utf8(&none, &[("charset".into(), text.into())]).is_ok();
        assert!(charset("utf-8") && charset("gb18030, utf-8;q=0.5") && !charset("gb18030") && !charset("utf-8;q=0"));
        let quoted = of("application/dicom+json; charset=\"utf-16\"");
        assert!(quoted.utf8(&none, &[]).is_err());
    }
}
