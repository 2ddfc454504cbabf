//! The result of a storage commitment that a peer asked for (PS3.4 annex J), until it has taken it.

use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Transaction UID.
    pub transaction: String,
    /// Who asked.
    pub aet: String,
    /// SOP class and instance of what it asked about.
    pub wanted: Vec<(String, String)>,
    /// Not before, milliseconds since 1970.
    pub due_ms: i64,
    /// Failed attempts to tell it.
    pub attempts: u32,
    /// Nothing more is tried.
    pub given_up: bool,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// It is being told on the association that it was asked on; not after a restart.
    #[serde(skip)]
    pub here: bool,
}

impl Report {
    /// Its name: two peers may use one UID.
    pub fn id(&self) -> String {
        format!("{}-{}", self.aet, self.transaction)
    }

    /// A new one, due at once.
    pub fn new(transaction: String, aet: &str, wanted: Vec<(String, String)>, due_ms: i64) -> Report {
        Report { transaction, aet: aet.into(), wanted, due_ms, attempts: 0, given_up: false, last_error: None, here: false }
    }
}
