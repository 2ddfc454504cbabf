//! Fetching (前置拉取): studies that a peer has and this node shall have, by rule or because somebody asked.

use super::{MOST_ATTEMPTS, back_off};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How objects are fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// C-MOVE to this node: the peer must know its AE title and address.
    #[default]
    Move,
    /// C-GET.
    Get,
}

/// A rule: `[[pull]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullRule {
    /// Its name; it must be the only one of that name.
    pub name: String,
    /// AE title of the peer.
    pub from: String,
    /// Minutes between two looks.
    #[serde(default = "ten")]
    pub every_minutes: u32,
    /// Study dates of so many days before today.
    #[serde(default)]
    pub days: u32,
    /// Modalities, one of which must be in the study; empty: all.
    #[serde(default)]
    pub modalities: BTreeSet<String>,
    /// How.
    #[serde(default)]
    pub by: By,
}

fn ten() -> u32 {
    10
}

impl PullRule {
    /// What is wrong with it.
    ///
    /// # Errors
    /// The field, and what it must be.
    pub fn check(&self) -> Result<(), String> {
        match () {
            () if self.name.is_empty() => Err("a [[pull]] rule needs a name".into()),
            () if self.every_minutes == 0 => Err(format!("pull {}: every_minutes is at least 1", self.name)),
            () => Ok(()),
        }
    }
}

/// A study to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// Its name: peer and study.
    pub id: String,
    /// The rule, or who asked for it.
    pub rule: String,
    /// The peer.
    pub from: String,
    /// The study.
    pub study: String,
    /// How.
    pub by: By,
    /// Not before, milliseconds since 1970.
    pub due_ms: i64,
    /// Failed attempts in a row.
    pub attempts: u32,
    /// Nothing more is tried; a person must look.
    pub given_up: bool,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// It is being fetched.
    #[serde(skip)]
    pub running: bool,
}

impl Pull {
    /// A new one, due at once.
    pub fn new(rule: &str, from: &str, study: &str, by: By, now_ms: i64) -> Pull {
        Pull {
            id: format!("pull-{from}-{study}"),
            rule: rule.into(),
            from: from.into(),
            study: study.into(),
            by,
            due_ms: now_ms,
            attempts: 0,
            given_up: false,
            last_error: None,
            running: false,
        }
    }

    /// An attempt failed.
    pub fn failed(&mut self, why: &str, now_ms: i64) {
        self.attempts += 1;
        self.last_error = Some(why.to_string());
        self.due_ms = now_ms.saturating_add(back_off(self.attempts));
        self.given_up = self.attempts >= MOST_ATTEMPTS;
        self.running = false;
    }
}
