//! Studies that are fetched from another hospital: each a document on disk before anybody is told, with its progress.
//!
//! Never says done before everything was verified and stored.

use crate::store::Papers;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How far a retrieval is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Waiting for its turn, or for another attempt.
    Waiting,
    /// Objects are coming.
    Fetching,
    /// They are looked at and stored.
    Verifying,
    /// Everything is here.
    Done,
    /// Nothing more is tried; a person must look.
    GivenUp,
}

/// A study to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retrieval {
    /// Its name: node and study.
    pub id: String,
    /// Name of the node that has it.
    pub node: String,
    /// Study Instance UID.
    pub study: String,
    /// AE title of the peer that it is forwarded to.
    pub forward_to: Option<String>,
    /// Patient ID that it must have, if that is known.
    #[serde(default)]
    pub patient_id: Option<String>,
    /// Take it although it is not marked, or its hospital has no valid assessment.
    pub unverified: bool,
    /// Who asked for it.
    pub requested_by: String,
    /// Purpose of use, clinician and encounter that it was asked for with.
    #[serde(default)]
    pub on_behalf: BTreeMap<String, String>,
    /// How far it is.
    pub stage: Stage,
    /// Objects that are here.
    pub fetched: usize,
    /// Objects that there are, once it is known.
    pub total: Option<usize>,
    /// What was verified, and what could not be.
    pub verified: Vec<String>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// Failed attempts in a row.
    pub attempts: u32,
    /// Not before, milliseconds since 1970.
    pub due_ms: i64,
}

/// Attempts before a person must look.
const MOST_ATTEMPTS: u32 = 8;
/// First wait after a failure, milliseconds; doubled with each one.
const BACK_OFF_MS: i64 = 5_000;
/// Finished ones that are remembered.
const REMEMBERED: usize = 1_000;

impl Retrieval {
    /// A new one, due at once.
    pub fn new(node: &str, study: &str, by: &str, now_ms: i64) -> Retrieval {
        Retrieval {
            id: format!("external-{node}-{study}"),
            node: node.into(),
            study: study.into(),
            forward_to: None,
            patient_id: None,
            unverified: false,
            requested_by: by.into(),
            on_behalf: BTreeMap::new(),
            stage: Stage::Waiting,
            fetched: 0,
            total: None,
            verified: Vec::new(),
            last_error: None,
            attempts: 0,
            due_ms: now_ms,
        }
    }

    /// Whether somebody works on it.
    fn is_under_way(&self) -> bool {
        matches!(self.stage, Stage::Fetching | Stage::Verifying)
    }

    /// An attempt failed; `for_good` when another one would not help.
    pub fn failed(&mut self, why: &str, for_good: bool, now_ms: i64) {
        self.attempts += 1;
        self.last_error = Some(why.into());
        self.fetched = 0;
        self.due_ms = now_ms.saturating_add(BACK_OFF_MS.saturating_mul(1 << self.attempts.min(12)));
        self.stage = if for_good || self.attempts >= MOST_ATTEMPTS { Stage::GivenUp } else { Stage::Waiting };
    }
}

/// All of them.
pub struct Retrievals {
    papers: Papers,
    now: Mutex<BTreeMap<String, Retrieval>>,
}

impl Retrievals {
    /// Below a data root; what was under way when the node stopped begins again.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(root: &Path) -> io::Result<Retrievals> {
        let papers = Papers::open(root, "outbox/external")?;
        let resumed = |mut r: Retrieval| {
            if r.is_under_way() {
                (r.stage, r.fetched) = (Stage::Waiting, 0);
            }
            (r.id.clone(), r)
        };
        let now = Mutex::new(papers.all::<Retrieval>()?.into_iter().map(resumed).collect());
        Ok(Retrievals { papers, now })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Retrieval>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts one in; one of the same name that is under way stays as it is.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn add(&self, retrieval: Retrieval) -> io::Result<Retrieval> {
        let mut now = self.lock();
        if let Some(known) = now.get(&retrieval.id).filter(|r| r.is_under_way()) {
            return Ok(known.clone());
        }
        self.papers.save(&retrieval.id, &retrieval)?;
        let ended: Vec<String> = now.values().filter(|r| r.stage == Stage::Done).map(|r| r.id.clone()).collect();
        for id in ended.iter().take(ended.len().saturating_sub(REMEMBERED)) {
            self.papers.remove(id)?;
            now.remove(id);
        }
        now.insert(retrieval.id.clone(), retrieval.clone());
        Ok(retrieval)
    }

    /// All, by name.
    pub fn all(&self) -> Vec<Retrieval> {
        self.lock().values().cloned().collect()
    }

    /// One by its name.
    pub fn get(&self, id: &str) -> Option<Retrieval> {
        self.lock().get(id).cloned()
    }

    /// The next one that is due, of a node of which nothing is under way; it is under way now.
    pub fn begin(&self, now_ms: i64) -> Option<Retrieval> {
        let mut now = self.lock();
        let busy: BTreeSet<String> = now.values().filter(|r| r.is_under_way()).map(|r| r.node.clone()).collect();
        let due = |r: &&mut Retrieval| r.stage == Stage::Waiting && r.due_ms <= now_ms && !busy.contains(&r.node);
        let next = now.values_mut().find(due)?;
        next.stage = Stage::Fetching;
        Some(next.clone())
    }

    /// Changes one and keeps the change; progress alone is not written to the disk.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn update(&self, id: &str, change: impl FnOnce(&mut Retrieval)) -> io::Result<()> {
        let mut now = self.lock();
        let Some(retrieval) = now.get_mut(id) else { return Ok(()) };
        let stage = retrieval.stage;
        change(retrieval);
        if retrieval.stage != stage { self.papers.save(id, retrieval) } else { Ok(()) }
    }

    /// Takes one away that is not under way.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove(&self, id: &str) -> io::Result<bool> {
        let mut now = self.lock();
        if now.get(id).is_none_or(Retrieval::is_under_way) {
            return Ok(false);
        }
        self.papers.remove(id)?;
        Ok(now.remove(id).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_under_way_begins_again_and_what_failed_too_often_waits_for_a_person() {
        let root = tempfile::tempdir().unwrap();
        let all = Retrievals::open(root.path()).unwrap();
        let one = all.add(Retrieval::new("T1", "1.2", "x", 0)).unwrap();
        all.update(&one.id, |r| (r.stage, r.fetched) = (Stage::Fetching, 3)).unwrap();
        assert!(all.begin(10).is_none() && !all.remove(&one.id).unwrap());
        let again = Retrievals::open(root.path()).unwrap();
        assert_eq!(again.begin(10).map(|r| r.fetched), Some(0));
        for _ in 0..MOST_ATTEMPTS {
            again.update(&one.id, |r| r.failed("down", false, 0)).unwrap();
        }
        assert_eq!(again.get(&one.id).unwrap().stage, Stage::GivenUp);
        assert!(again.remove(&one.id).unwrap() && again.all().is_empty());
    }

    #[test]
    fn several_nodes_are_asked_at_a_time_and_each_for_one_study() {
        let root = tempfile::tempdir().unwrap();
        let all = Retrievals::open(root.path()).unwrap();
        for (node, study) in [("T1", "1.1"), ("T1", "1.2"), ("T2", "1.3")] {
            all.add(Retrieval::new(node, study, "x", 0)).unwrap();
        }
        let begun: Vec<String> = std::iter::from_fn(|| all.begin(10)).map(|r| r.study).collect();
        assert_eq!(begun, ["1.1", "1.3"]);
        all.update("external-T1-1.1", |r| r.stage = Stage::Done).unwrap();
        assert_eq!(all.begin(10).map(|r| r.study), Some("1.2".to_string()));
    }
}
