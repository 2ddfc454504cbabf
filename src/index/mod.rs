//! The facts of what is stored, by query. Files are the truth; everything here can be made again from them and the journal.
//!
//! Never answers for an object that is not durable: [`Index::commit`] returns after the index itself is on disk.

pub mod matching;
mod rows;
mod sled;
pub mod told;

pub use self::sled::SledIndex;
pub use rows::{Counts, InstanceRow, Job, JobKind, Recognised, SeriesRow, State, StudyRow};

use crate::dicom::{Tag, Uid, tags};
use crate::exam::verdict::Verdict;
use std::sync::Arc;

/// What the index could not do.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The database failed.
    #[error("the index failed: {0}")]
    Backend(String),
    /// A row does not read; the index must be rebuilt.
    #[error("a row of the index does not read ({0}); run `hutong rebuild`")]
    Damaged(String),
    /// The search would look at more studies than it may.
    #[error("the search is too broad: name a patient, an accession number, a study or a shorter span of dates")]
    TooBroad,
    /// Another process holds the index.
    #[error("the index is in use by another process; stop the running node first, or talk to it")]
    InUse,
}

/// Which instances an answer may speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Everything: the owner's view.
    House,
    /// Marked copies of recognised studies only: what another hospital may see.
    Exchange,
}

/// What one attribute must match.
#[derive(Debug, Clone)]
pub struct Key {
    /// The attribute; within sequences the path to it, outermost first.
    pub path: Vec<Tag>,
    /// What its value must match (PS3.4 C.2.2.2).
    pub pattern: String,
}

impl Key {
    /// A key that is not in a sequence.
    pub fn of(tag: Tag, pattern: impl Into<String>) -> Key {
        Key { path: vec![tag], pattern: pattern.into() }
    }

    /// The outermost attribute.
    pub fn tag(&self) -> Tag {
        self.path.first().copied().unwrap_or(Tag(0, 0))
    }
}

/// How keys are matched beyond what every query does.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is negotiated by itself")]
pub struct Matching {
    /// Names by their words, without diacritics, and by pinyin (PS3.4 C.2.2.2.1, fuzzy semantic matching).
    pub fuzzy: bool,
    /// A patient's name only as a whole: another hospital names the patient whom it asks for.
    pub whole_name: bool,
    /// Two quotation marks match what has no value (PS3.4 C.2.2.2.7).
    pub empty: bool,
    /// Several patterns, one of which must match (PS3.4 C.2.2.2.8).
    pub multiple: bool,
    /// A range of dates and one of times are one range of moments (PS3.4 C.2.2.2.5.1); otherwise each matches by itself.
    pub combined: bool,
    /// Offset from UTC of the dates and times in the keys, minutes; none: that of the objects.
    pub zone: Option<i32>,
}

/// A query at one level; keys are matched as PS3.4 C.2.2.2 says.
#[derive(Debug, Clone)]
pub struct Query {
    /// What may be seen.
    pub view: View,
    /// Only this study.
    pub study: Option<Uid>,
    /// Only this series.
    pub series: Option<Uid>,
    /// What must match; attributes of any level.
    pub keys: Vec<Key>,
    /// How.
    pub matching: Matching,
    /// Matches to pass over.
    pub offset: usize,
    /// Most matches to return.
    pub limit: usize,
    /// Studies that may be looked at; over it the search is refused.
    pub examined: usize,
    /// Studies that may be seen, beside what the view says.
    pub only: Filter,
}

/// A condition on studies that the index does not know of; none lets everything through.
#[derive(Clone, Default)]
pub struct Filter(Option<Arc<Condition>>);

type Condition = dyn Fn(&StudyRow) -> Result<bool, IndexError> + Send + Sync;

impl Filter {
    /// A condition.
    pub fn new(condition: impl Fn(&StudyRow) -> Result<bool, IndexError> + Send + Sync + 'static) -> Filter {
        Filter(Some(Arc::new(condition)))
    }

    /// Whether a study may be seen.
    ///
    /// # Errors
    /// The index fails.
    pub fn allows(&self, study: &StudyRow) -> Result<bool, IndexError> {
        self.0.as_ref().map_or(Ok(true), |condition| condition(study))
    }

    /// Whether there is a condition.
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_some() { "Filter(..)" } else { "Filter" })
    }
}

impl Query {
    /// Everything that a view shows.
    pub fn all(view: View) -> Query {
        Query {
            view,
            study: None,
            series: None,
            keys: Vec::new(),
            matching: Matching::default(),
            offset: 0,
            limit: usize::MAX,
            examined: usize::MAX,
            only: Filter::default(),
        }
    }
}

/// Whether a query says whose exams it is about: an identifier, name and birth date, or what belongs to one exam. Another hospital's
/// must, so that nobody can browse.
pub fn names_a_patient(query: &mut Query) -> bool {
    let said = |query: &Query, tag: Tag| {
        let of = query.keys.iter().filter(|k| k.path == [tag]).map(|k| k.pattern.trim());
        of.into_iter().any(|pattern| !pattern.is_empty() && !pattern.contains(['*', '?']) && pattern != "\"\"")
    };
    // An accession number is none: they are counted up.
    let unique = [tags::PATIENT_ID, tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID, tags::SOP_INSTANCE_UID];
    if query.study.is_some() || unique.into_iter().any(|tag| said(query, tag)) {
        return true;
    }
    let born = query.keys.iter().any(|k| {
        let day = k.pattern.trim();
        k.path == [tags::PATIENT_BIRTH_DATE] && day.len() == 8 && day.bytes().all(|b| b.is_ascii_digit())
    });
    // Beside a birth date the name counts only as a whole.
    query.matching.whole_name = true;
    born && said(query, tags::PATIENT_NAME)
}

/// Matches in a stable order, and how many there are behind them.
#[derive(Debug)]
pub struct Page<T> {
    /// The matches.
    pub rows: Vec<T>,
    /// Matches behind these. Exact as long as counting them is cheap; else at least so many.
    pub more: usize,
}

/// A series with the study it belongs to.
pub type SeriesMatch = (StudyRow, SeriesRow);
/// An instance with its series and study.
pub type InstanceMatch = (StudyRow, SeriesRow, InstanceRow);

/// A change of a study's state with what goes with it, all or nothing.
#[derive(Debug)]
pub struct Transition {
    /// The study.
    pub study: Uid,
    /// The revision it was computed for; a newer one makes it void.
    pub revision: u64,
    /// The new state.
    pub state: State,
    /// The verdict, if one was reached.
    pub verdict: Option<Verdict>,
    /// The marked copies that are recognised from now on; unchanged if none is given.
    pub recognised: Option<Recognised>,
    /// The job that is done.
    pub done: Option<JobKind>,
    /// The job that follows.
    pub next: Option<Job>,
}

/// The seam between the node and its database. Every backend passes the suite in `suite.rs`.
pub trait Index: Send + Sync {
    /// Makes instances findable and durable. Each must be new. A study with a new original gets a new revision, the state
    /// Receiving, and a job to assess it at `settle_ms`.
    ///
    /// # Errors
    /// Nothing of the batch is visible.
    fn commit(&self, batch: &[InstanceRow], names: &[crate::dicom::Attributes], settle_ms: i64) -> Result<(), IndexError>;

    /// One instance by SOP Instance UID.
    ///
    /// # Errors
    /// The database failed.
    fn instance(&self, sop_instance: &Uid) -> Result<Option<InstanceRow>, IndexError>;

    /// One study.
    ///
    /// # Errors
    /// The database failed.
    fn study(&self, study: &Uid) -> Result<Option<StudyRow>, IndexError>;

    /// The series of a study with their instances, by series then instance number.
    ///
    /// # Errors
    /// The database failed.
    fn contents(&self, study: &Uid) -> Result<Vec<(SeriesRow, Vec<InstanceRow>)>, IndexError>;

    /// The instances that a path names and a view shows, by series then instance number.
    ///
    /// # Errors
    /// The database failed.
    fn named(
        &self,
        view: View,
        study: &Uid,
        series: Option<&Uid>,
        instance: Option<&Uid>,
    ) -> Result<Vec<InstanceRow>, IndexError>;

    /// Studies, newest first.
    ///
    /// # Errors
    /// The database failed.
    fn studies(&self, query: &Query) -> Result<Page<StudyRow>, IndexError>;

    /// Series of the studies that match.
    ///
    /// # Errors
    /// The database failed.
    fn series(&self, query: &Query) -> Result<Page<SeriesMatch>, IndexError>;

    /// Instances of the series that match.
    ///
    /// # Errors
    /// The database failed.
    fn instances(&self, query: &Query) -> Result<Page<InstanceMatch>, IndexError>;

    /// Applies a transition; false when the study has changed since.
    ///
    /// # Errors
    /// The database failed; nothing was applied.
    fn transition(&self, transition: &Transition) -> Result<bool, IndexError>;

    /// The last verdict on a study, with the revision it belongs to.
    ///
    /// # Errors
    /// The database failed.
    fn verdict(&self, study: &Uid) -> Result<Option<Verdict>, IndexError>;

    /// The jobs that are due, oldest first.
    ///
    /// # Errors
    /// The database failed.
    fn due(&self, now_ms: i64, at_most: usize) -> Result<Vec<Job>, IndexError>;

    /// Puts a job back for later, or takes it away (`None`).
    ///
    /// # Errors
    /// The database failed.
    fn reschedule(&self, job: &Job, again: Option<Job>) -> Result<(), IndexError>;

    /// Totals; also the health probe: it reads from the database.
    ///
    /// # Errors
    /// The database failed.
    fn counts(&self) -> Result<Counts, IndexError>;
}
