//! `GET /openapi.json`: the house root as an OpenAPI 3.1 document, from the table of resources.

use super::problem::Problem;
use super::resources::{Does, RESOURCES, Resource};
use super::router::{App, HOUSE};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as Json, json};
use std::sync::Arc;

/// `GET /openapi.json`
///
/// # Errors
/// None.
pub async fn document(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    let mut paths = Map::new();
    for resource in RESOURCES {
        let path = paths.entry(resource.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(resource.method.to_lowercase(), operation(resource));
        }
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Hutong DICOMweb",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "STOW-RS, QIDO-RS, WADO-RS and storage commitment of PS3.18. Every attribute of the index can be a matching \
                            key, by keyword, by tag, or by a path with dots.",
        },
        "servers": [{"url": HOUSE.url(&app, &headers)}],
        "paths": paths,
        "components": {"schemas": {"problem": problem(), "model": model()}},
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response())
}

fn problem() -> Json {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
        },
    })
}

/// An object of the DICOM JSON model (F.2).
fn model() -> Json {
    json!({
        "type": "object",
        "propertyNames": {"pattern": "^[0-9A-F]{8}$"},
        "additionalProperties": {
            "type": "object",
            "required": ["vr"],
            "properties": {
                "vr": {"type": "string", "pattern": "^[A-Z]{2}$"},
                "Value": {"type": "array"},
                "BulkDataURI": {"type": "string"},
                "InlineBinary": {"type": "string"},
            },
            "additionalProperties": false,
        },
    })
}

fn schema(kind: &str) -> Json {
    match kind {
        "integer" => json!({"type": "integer", "minimum": 0, "maximum": 1_000_000}),
        "boolean" => json!({"type": "string", "enum": ["true", "false"]}),
        "date" => json!({"type": "string", "pattern": "^[0-9]{8}(-([0-9]{8})?)?$"}),
        "time" => json!({"type": "string", "pattern": "^[0-9]{6}(-([0-9]{6})?)?$"}),
        "zone" => json!({"type": "string", "pattern": "^[+-](0[0-9]|1[0-3])[0-5][0-9]$"}),
        "uid" => json!({"type": "string", "pattern": "^[0-2](\\.(0|[1-9][0-9]{0,8})){1,6}$"}),
        "quality" => json!({"type": "integer", "minimum": 1, "maximum": 100}),
        "viewport" => {
            json!({"type": "string", "pattern": "^[1-9][0-9]{0,2},[1-9][0-9]{0,2}(,0,0,-?[1-9][0-9]?,-?[1-9][0-9]?)?$"})
        }
        "viewport2" => json!({"type": "string", "pattern": "^[1-9][0-9]{0,2},[1-9][0-9]{0,2}$"}),
        "window" => json!({"type": "string", "pattern": "^-?[0-9]{1,4},[1-9][0-9]{0,3},(linear|linear-exact|sigmoid)$"}),
        "annotation" => json!({"type": "string", "enum": ["patient", "technique", "patient,technique"]}),
        "icc" => json!({"type": "string", "enum": ["yes", "no"]}),
        "frames" => json!({"type": "string", "pattern": "^[1-9][0-9]{0,3}(,[1-9][0-9]{0,3}){0,4}$"}),
        "path" => json!({"type": "string", "pattern": "^[0-9A-F]{8}$"}),
        _ => json!({"type": "string", "maxLength": 64}),
    }
}

fn operation(resource: &Resource) -> Json {
    let variables = resource.path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'));
    let kind = |name: &str| match name {
        "frames" => "frames",
        "path" => "path",
        _ => "uid",
    };
    let mut parameters: Vec<Json> =
        variables.map(|name| json!({"name": name, "in": "path", "required": true, "schema": schema(kind(name))})).collect();
    for (name, kind) in resource.does.parameters() {
        parameters.push(json!({"name": name, "in": "query", "schema": schema(kind)}));
    }
    let mut responses = Map::new();
    for status in resource.does.statuses() {
        responses.insert(status.to_string(), response(*status, resource));
    }
    let mut operation = json!({"operationId": resource.id, "parameters": parameters, "responses": responses});
    if let (Some(map), Some(body)) = (operation.as_object_mut(), body(resource.does)) {
        map.insert("requestBody".into(), body);
    }
    operation
}

fn body(does: Does) -> Option<Json> {
    let model = json!({"$ref": "#/components/schemas/model"});
    match does {
        Does::Store => Some(json!({"required": true, "content": {
            "multipart/related": {"schema": {"type": "string"}},
            "application/dicom": {"schema": {"type": "string"}},
            "application/dicom+xml": {"schema": {"type": "string"}},
            "application/dicom+json": {"schema": {"type": "array", "items": model}},
        }})),
        Does::Commit => Some(json!({"required": true, "content": {"application/dicom+json": {"schema": model}}})),
        _ => None,
    }
}

fn response(status: u16, resource: &Resource) -> Json {
    let model = json!({"$ref": "#/components/schemas/model"});
    let content = match (status, resource.does) {
        (204 | 304, _) | (202, Does::Commit | Does::Committed) => return json!({"description": "no body"}),
        (200, Does::Search | Does::Metadata) => json!({
            "application/dicom+json": {"schema": {"type": "array", "items": model}},
            "application/json": {"schema": {"type": "array", "items": model}},
            "multipart/related": {},
        }),
        (200 | 202 | 409 | 507, Does::Store) | (200, Does::Commit | Does::Committed) => json!({
            "application/dicom+json": {"schema": model},
            "application/json": {"schema": model},
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/problem"}},
            "multipart/related": {},
        }),
        (200 | 206, Does::Objects) => json!({"multipart/related": {}, "application/dicom": {}}),
        (200 | 206, Does::Pixels | Does::Bulk) => {
            json!({"multipart/related": {}, "application/octet-stream": {}, "image/*": {}})
        }
        (200 | 206, Does::Rendered) => {
            json!({"multipart/related": {}, "image/*": {}, "text/*": {}, "video/*": {}, "application/pdf": {}})
        }
        (200 | 206, Does::Thumbnail) => json!({"image/*": {}}),
        _ => json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/problem"}}}),
    };
    json!({"description": "PS3.18", "content": content})
}
