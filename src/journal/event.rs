//! What is worth keeping: the records of the journal. Never patient data: studies, items and persons who act stand in them by identifiers.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Something worth keeping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Event {
    Started {
        version: String,
        /// Digest of the configuration in force: another one than before is a change.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        configuration: String,
        /// Digest of the register's text.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        register: String,
    },
    Stopped,
    Cut {
        put_aside: String,
        bytes: u64,
    },
    /// A line (from 1) before others that does not read, or does not fit the one before it: somebody altered the journal.
    Broken {
        line: u64,
    },
    /// So many records were written and are gone from the end: a power failure, or somebody took them.
    Lost {
        records: u64,
    },
    Conflict {
        study: String,
        instance: String,
        sender: String,
    },
    Judged {
        study: String,
        revision: u64,
        outcome: String,
        items: Vec<u32>,
        procedures: String,
    },
    Performed {
        uid: String,
        step: Step,
    },
    /// A study of another hospital was fetched and verified.
    External {
        study: String,
        node: String,
        hospital: String,
        by: String,
        instances: u32,
        verified: Vec<String>,
        #[serde(default, rename = "for", skip_serializing_if = "BTreeMap::is_empty")]
        on_behalf: BTreeMap<String, String>,
    },
    /// A study of another hospital was asked for and is not fetched; nothing more is tried.
    NotFetched {
        study: String,
        node: String,
        by: String,
        why: String,
    },
    /// A sender asked to have objects of a study committed that never came.
    Missed {
        study: String,
        instances: Vec<String>,
    },
    Ruled {
        study: String,
        ruling: serde_json::Value,
    },
    Marked {
        study: String,
        revision: u64,
        instances: u32,
    },
    Withdrawn {
        study: String,
        copies: u32,
        why: String,
    },
    Retrieved {
        view: String,
        study: String,
        by: String,
        /// Code of the hospital that asked; empty: our own, or an older record.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        hospital: String,
        instances: u32,
        #[serde(default, rename = "for", skip_serializing_if = "BTreeMap::is_empty")]
        on_behalf: BTreeMap<String, String>,
    },
    Queried {
        view: String,
        by: String,
        keys: Vec<String>,
        matches: u32,
        #[serde(default, rename = "for", skip_serializing_if = "BTreeMap::is_empty")]
        on_behalf: BTreeMap<String, String>,
    },
    Denied {
        by: String,
        why: String,
    },
    Offered {
        hospital: String,
        producer: String,
        study: String,
        item: u32,
        by: String,
        #[serde(default, rename = "for", skip_serializing_if = "BTreeMap::is_empty")]
        on_behalf: BTreeMap<String, String>,
    },
    Decided {
        id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        corrects: Option<String>,
        study: String,
        hospital: String,
        producer: String,
        item: u32,
        department: String,
        clinician: String,
        /// Of the patient, at the hospital that decided.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        encounter: String,
        /// The principal that told it to the node.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        by: String,
        accepted: bool,
        repeated: bool,
        refused: bool,
        reasons: Vec<String>,
        digest: String,
    },
    ReportAdded {
        study: String,
        instance: String,
        by: String,
        verified: bool,
    },
    RegisterChanged {
        by: String,
        digest: String,
    },
    Forwarded {
        study: String,
        to: String,
        rule: String,
        instances: u32,
    },
    PeerChanged {
        aet: String,
        by: String,
        peer: Option<serde_json::Value>,
    },
}

/// A performed procedure step (MPPS) as far as the node needs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Study Instance UID.
    pub study: String,
    /// The other studies that it was made for: one acquisition for several orders (PS3.4 F.7.2.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// `IN PROGRESS`, `COMPLETED` or `DISCONTINUED`.
    pub status: String,
    /// Objects of each series, by Series Instance UID.
    pub series: BTreeMap<String, usize>,
    /// Which they are, by SOP Instance UID; older steps have counts only.
    #[serde(default)]
    pub instances: BTreeMap<String, BTreeSet<String>>,
}

impl Step {
    /// All studies that it is of.
    pub fn studies(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.study).chain(&self.others)
    }

    /// Whether it changes no more.
    pub fn is_final(&self) -> bool {
        self.status != "IN PROGRESS"
    }
}
