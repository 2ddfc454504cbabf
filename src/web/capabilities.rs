//! `OPTIONS` on a root: what it can do, as WADL or as JSON (PS3.18 8.9, annex H).

use super::accept::Offer;
use super::asked::Asked;
use super::problem::Problem;
use super::resources::{Does, On, RESOURCES, Resource};
use crate::index::View;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use quick_xml::escape::escape;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fmt::Write;

const WADL: Offer = Offer::one("application/vnd.sun.wadl+xml");

/// What stands at one segment of the paths.
#[derive(Default)]
struct Node {
    methods: Vec<&'static Resource>,
    below: BTreeMap<&'static str, Node>,
}

fn tree(view: View) -> Node {
    let mut root = Node::default();
    for resource in RESOURCES.iter().filter(|r| view == View::House || r.on == On::Both) {
        let segments = resource.path.split('/').filter(|s| !s.is_empty());
        segments.fold(&mut root, |node, segment| node.below.entry(segment).or_default()).methods.push(resource);
    }
    root
}

/// `OPTIONS /`
///
/// # Errors
/// Neither WADL nor JSON is acceptable.
pub async fn options(asked: Asked) -> Result<Response, Problem> {
    let accepted = asked.accepts()?;
    let (offer, _) = accepted.choose(&[WADL, Offer::one("application/json"), Offer::one("application/xml")])?;
    let (base, tree) = (asked.url(), tree(asked.root.view));
    let text = if offer.media == "application/json" {
        json!({"application": {"resources": {"base": base, "resource": json_of(&tree)}}}).to_string()
    } else {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let _ = write!(
            out,
            "<application xmlns=\"http://wadl.dev.java.net/2009/02\"><resources base=\"{}\">",
            escape(base.as_str())
        );
        wadl_of(&tree, &mut out);
        out.push_str("</resources></application>\n");
        out
    };
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, offer.media)], text).into_response())
}

/// What a body of a request may be.
fn taken(does: Does) -> &'static [&'static str] {
    match does {
        Does::Store => &[
            "multipart/related; type=\"application/dicom\"",
            "multipart/related; type=\"application/dicom+json\"",
            "multipart/related; type=\"application/dicom+xml\"",
            "application/dicom",
            "application/dicom+json",
            "application/dicom+xml",
        ],
        Does::Commit => &["application/dicom+json"],
        _ => &[],
    }
}

fn wadl_of(node: &Node, out: &mut String) {
    for (segment, below) in &node.below {
        let _ = write!(out, "<resource path=\"{}\">", escape(*segment));
        for method in &below.methods {
            let _ = write!(out, "<method name=\"{}\" id=\"{}\"><request>", method.method, method.id);
            out.push_str("<param name=\"Accept\" style=\"header\">");
            for media in method.does.media() {
                let _ = write!(out, "<option value=\"{}\"/>", escape(*media));
            }
            out.push_str("</param>");
            for (name, _) in method.does.parameters() {
                let repeating = if *name == "includefield" { " repeating=\"true\"" } else { "" };
                let _ = write!(out, "<param name=\"{name}\" style=\"query\"{repeating}/>");
            }
            for media in taken(method.does) {
                let _ = write!(out, "<representation mediaType=\"{}\"/>", escape(*media));
            }
            out.push_str("</request>");
            for status in method.does.statuses() {
                let _ = write!(out, "<response status=\"{status}\">");
                if *status == 200 {
                    for media in method.does.media() {
                        let _ = write!(out, "<representation mediaType=\"{}\"/>", escape(*media));
                    }
                }
                out.push_str("</response>");
            }
            out.push_str("</method>");
        }
        wadl_of(below, out);
        out.push_str("</resource>");
    }
}

fn json_of(node: &Node) -> Json {
    let one = |(segment, below): (&&str, &Node)| {
        let method = |r: &&'static Resource| {
            let names: Vec<&str> = r.does.parameters().iter().map(|(name, _)| *name).collect();
            json!({
                "name": r.method,
                "id": r.id,
                "request": {"param": names, "accept": r.does.media(), "representation": taken(r.does)},
                "response": r.does.statuses(),
            })
        };
        json!({"path": segment, "method": below.methods.iter().map(method).collect::<Vec<_>>(), "resource": json_of(below)})
    };
    Json::Array(node.below.iter().map(one).collect())
}
