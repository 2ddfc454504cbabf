//! One other node over HTTP: searches, manifests, objects.
//!
//! Follows no redirection: what the configuration names is what is asked. Never logs what it was asked for.

use super::part::{Part, boundary};
use super::{External, ON_BEHALF};
use crate::dicom::Uid;
use crate::dimse::{ClientTls, Own};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::path::Path;
use std::time::Duration;

/// Longest JSON answer, bytes.
const LONGEST: u64 = 16 << 20;
/// Seconds without a byte after which an object is given up.
const PATIENCE: u64 = 20;
/// Rows of one search, and objects of one study.
const MOST_ROWS: usize = 20_000;
/// Items of one study: a list has fewer.
const MOST_ITEMS: usize = 100;
/// Longest text of a manifest.
const LONGEST_TEXT: usize = 64;
/// Rows asked for at a time.
const PAGE: usize = 500;

/// See the module.
pub struct Remote {
    /// As configured.
    pub settings: External,
    agent: ureq::Agent,
    /// On whose behalf it is asked, by what stands for it in the journal.
    on_behalf: BTreeMap<String, String>,
}

/// Why another node gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// It does not answer, or not in time.
    #[error("it does not answer: {0}")]
    Silent(String),
    /// It refuses.
    #[error("it answers {status}")]
    Refused {
        /// HTTP status. What it says besides may name a patient.
        status: u16,
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
        matches!(self, RemoteError::Refused { status: 400 | 404 | 405 | 406 | 501 })
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

impl Manifest {
    /// What no manifest says is not let in: it would stand in journals and answers.
    fn checked(mut self) -> Result<Manifest, RemoteError> {
        let wrong = |what: &str| Err(RemoteError::Unreadable(what.to_string()));
        let plain = |text: &String| text.chars().count() <= LONGEST_TEXT && !text.chars().any(char::is_control);
        if ![&self.hospital, &self.region, &self.edition, &self.mark].into_iter().all(plain) {
            return wrong("a manifest with texts that are none");
        }
        self.items.sort_unstable();
        self.items.dedup();
        if self.items.len() > MOST_ITEMS || self.objects.len() > MOST_ROWS {
            return wrong("a manifest of more items or objects than a study has");
        }
        let named = |o: &Listed| Uid::parse(&o.series).is_ok() && Uid::parse(&o.instance).is_ok();
        let distinct: std::collections::BTreeSet<&str> = self.objects.iter().map(|o| o.instance.as_str()).collect();
        if distinct.len() != self.objects.len() || !self.objects.iter().all(named) {
            return wrong("a manifest that names an object twice, or one without UIDs");
        }
        Ok(self)
    }
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
        Ok(Remote { settings: settings.clone(), agent: builder.build(), on_behalf: BTreeMap::new() })
    }

    /// The same node, asked on somebody's behalf: it is told the purpose, the clinician and the encounter.
    #[must_use]
    pub fn on_behalf_of(&self, said: &BTreeMap<String, String>) -> Remote {
        Remote { settings: self.settings.clone(), agent: self.agent.clone(), on_behalf: said.clone() }
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
        for (header, name) in ON_BEHALF {
            if let Some(said) = self.on_behalf.get(*name) {
                request = request.set(header, said);
            }
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
            Ok(response) | Err(ureq::Error::Status(_, response)) => Err(RemoteError::Refused { status: response.status() }),
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
        loop {
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return Err(RemoteError::Silent("the time is over".into()));
            }
            // Servers have limits of their own: the next page begins after what came.
            let (limit, offset) = (PAGE.to_string(), all.len().to_string());
            let query = [query, &[("limit", limit.as_str()), ("offset", offset.as_str())]].concat();
            let response = self.get(path, &query, "application/dicom+json", Some(left))?;
            if response.status() == 204 {
                break;
            }
            let rows: Vec<Map<String, Json>> = parsed(response)?;
            // A server that knows no offset begins again.
            if rows.is_empty() || rows.first().is_some_and(|row| all.first() == Some(row)) {
                break;
            }
            all.extend(rows);
            if all.len() > MOST_ROWS {
                return Err(RemoteError::Unreadable(format!("over {MOST_ROWS} rows")));
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
            Ok(response) => parsed::<Manifest>(response)?.checked().map(Some),
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
        let Some(boundary) = boundary(&kind) else { return Err(unreadable("no object")) };
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

fn parsed<T: serde::de::DeserializeOwned>(response: ureq::Response) -> Result<T, RemoteError> {
    let mut bytes = Vec::new();
    response.into_reader().take(LONGEST + 1).read_to_end(&mut bytes).map_err(|e| RemoteError::Silent(e.kind().to_string()))?;
    if bytes.len() as u64 > LONGEST {
        return Err(RemoteError::Unreadable("over 16 MiB of JSON".into()));
    }
    // What does not fit may be a patient's: it is not repeated.
    serde_json::from_slice(&bytes).map_err(|_| RemoteError::Unreadable("JSON of another form".into()))
}
