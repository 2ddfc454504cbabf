//! One other node over HTTP: searches, manifests, objects.
//!
//! Follows no redirection: what the configuration names is what is asked. Never logs what it was asked for.

use super::External;
use super::part::{Part, boundary};
use crate::dimse::{ClientTls, Own};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::io::{BufReader, Read};
use std::path::Path;
use std::time::Duration;

/// Longest JSON answer, bytes.
const LONGEST: u64 = 64 << 20;
/// Seconds without a byte after which an object is given up.
const PATIENCE: u64 = 60;
/// Rows asked for at a time.
const PAGE: usize = 500;
/// Pages at most.
const PAGES: usize = 400;

/// See the module.
pub struct Remote {
    /// As configured.
    pub settings: External,
    agent: ureq::Agent,
}

/// Why another node gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// It does not answer, or not in time.
    #[error("it does not answer: {0}")]
    Silent(String),
    /// It refuses.
    #[error("it answers {status}{}", detail.as_ref().map(|d| format!(": {d}")).unwrap_or_default())]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it says.
        detail: Option<String>,
    },
    /// What it says is not what was asked for.
    #[error("its answer does not read: {0}")]
    Unreadable(String),
    /// A file of ours.
    #[error("{0}")]
    Ours(String),
}

impl RemoteError {
    /// It knows nothing of that name.
    pub fn is_unknown(&self) -> bool {
        matches!(self, RemoteError::Refused { status: 400 | 404 | 405 | 406 | 501, .. })
    }
}

/// What a Hutong node says of a study that it shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Code of the hospital that made it.
    pub hospital: String,
    /// Region code.
    pub region: String,
    /// Edition of its list.
    pub edition: String,
    /// Text of the mark.
    pub mark: String,
    /// Numbers of the accepted items.
    pub items: Vec<u32>,
    /// Its objects.
    pub objects: Vec<Listed>,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// Series Instance UID.
    pub series: String,
    /// SOP Instance UID.
    pub instance: String,
    /// SHA-256 of its data set as it is stored there, hexadecimal; none where the server does not say.
    #[serde(default)]
    pub sha256: Option<String>,
}

impl Remote {
    /// Of a configured node.
    ///
    /// # Errors
    /// A certificate or key does not read.
    pub fn open(settings: &External) -> Result<Remote, String> {
        let mut builder = ureq::AgentBuilder::new()
            .redirects(0)
            .timeout_connect(Duration::from_secs(settings.seconds.min(10)))
            .timeout_read(Duration::from_secs(PATIENCE))
            .user_agent(concat!("Hutong/", env!("CARGO_PKG_VERSION")));
        if let Some(authorities) = &settings.authorities {
            let own = settings.certificate.as_deref().zip(settings.key.as_deref());
            let own = own.map(|(certificate, key)| Own { certificate, key });
            builder = builder.tls_config(ClientTls::new(authorities, own, true)?.config());
        }
        Ok(Remote { settings: settings.clone(), agent: builder.build() })
    }

    fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
        accept: &str,
        within: Option<Duration>,
    ) -> Result<ureq::Response, RemoteError> {
        let mut request = self.agent.get(&format!("{}{path}", self.settings.url.trim_end_matches('/'))).set("Accept", accept);
        for (name, value) in query {
            request = request.query(name, value);
        }
        if let Some(file) = &self.settings.api_key_file {
            request = request.set("X-Api-Key", &secret(file)?);
        }
        if let Some(file) = &self.settings.token_file {
            request = request.set("Authorization", &format!("Bearer {}", secret(file)?));
        }
        if let Some(within) = within {
            request = request.timeout(within);
        }
        match request.call() {
            Ok(response) if response.status() < 300 => Ok(response),
            Ok(response) | Err(ureq::Error::Status(_, response)) => Err(refused(response)),
            Err(ureq::Error::Transport(e)) => Err(RemoteError::Silent(e.kind().to_string())),
        }
    }

    /// A search: a page of DICOM JSON objects after another, until there are no more.
    ///
    /// # Errors
    /// It does not answer, refuses, or answers something else.
    pub fn search(&self, path: &str, query: &[(&str, &str)], within: Duration) -> Result<Vec<Map<String, Json>>, RemoteError> {
        let until = std::time::Instant::now() + within;
        let mut all: Vec<Map<String, Json>> = Vec::new();
        for page in 0..PAGES {
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return Err(RemoteError::Silent("the time is over".into()));
            }
            let (limit, offset) = (PAGE.to_string(), (page * PAGE).to_string());
            let query = [query, &[("limit", limit.as_str()), ("offset", offset.as_str())]].concat();
            let response = self.get(path, &query, "application/dicom+json", Some(left))?;
            if response.status() == 204 {
                break;
            }
            let rows: Vec<Map<String, Json>> = parsed(response)?;
            let more = rows.len() >= PAGE;
            // A server that knows no offset begins again.
            if rows.first().is_some_and(|row| all.first() == Some(row)) {
                break;
            }
            all.extend(rows);
            if !more {
                break;
            }
        }
        Ok(all)
    }

    /// The manifest of a study; none where the server knows no such thing.
    ///
    /// # Errors
    /// It does not answer, refuses, or answers something else.
    pub fn manifest(&self, study: &str, within: Duration) -> Result<Option<Manifest>, RemoteError> {
        match self.get(&format!("/studies/{study}/manifest"), &[], "application/json", Some(within)) {
            Ok(response) => parsed(response).map(Some),
            Err(e) if e.is_unknown() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// An object's file, as it is stored there.
    ///
    /// # Errors
    /// It does not answer, refuses, or answers something else.
    pub fn object(&self, study: &str, series: &str, instance: &str) -> Result<Box<dyn Read + Send>, RemoteError> {
        let path = format!("/studies/{study}/series/{series}/instances/{instance}");
        let accept = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
        let response = self.get(&path, &[], accept, None)?;
        let kind = response.header("Content-Type").unwrap_or_default().to_string();
        if kind.trim().starts_with("application/dicom") && !kind.contains("json") {
            return Ok(response.into_reader());
        }
        let Some(boundary) = boundary(&kind) else { return Err(RemoteError::Unreadable(format!("{kind} is no object"))) };
        let body = BufReader::with_capacity(1 << 16, response.into_reader());
        Part::first(body, &boundary).map(|part| Box::new(part) as Box<dyn Read + Send>).map_err(unreadable)
    }
}

fn unreadable(error: impl std::fmt::Display) -> RemoteError {
    RemoteError::Unreadable(error.to_string())
}

fn secret(file: &Path) -> Result<String, RemoteError> {
    let name = || file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = std::fs::read_to_string(file).map_err(|e| RemoteError::Ours(format!("{}: {e}", name())))?;
    Ok(text.trim().to_string())
}

fn refused(response: ureq::Response) -> RemoteError {
    let status = response.status();
    let mut text = String::new();
    let _ = response.into_reader().take(4096).read_to_string(&mut text);
    let problem: Option<Json> = serde_json::from_str(&text).ok();
    let detail =
        problem.and_then(|p| p.get("detail")?.as_str().map(|d| d.chars().filter(|c| !c.is_control()).take(200).collect()));
    RemoteError::Refused { status, detail }
}

fn parsed<T: serde::de::DeserializeOwned>(response: ureq::Response) -> Result<T, RemoteError> {
    let mut bytes = Vec::new();
    response.into_reader().take(LONGEST + 1).read_to_end(&mut bytes).map_err(|e| RemoteError::Silent(e.kind().to_string()))?;
    if bytes.len() as u64 > LONGEST {
        return Err(RemoteError::Unreadable("over 64 MiB of JSON".into()));
    }
    serde_json::from_slice(&bytes).map_err(unreadable)
}
