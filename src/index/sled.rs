//! The embedded index: one sled tree, one key space per first byte, behind a log that makes each change durable and whole.
//!
//! Files are the truth. When the database does not open, its folder is put aside and the caller rebuilds.

mod find;
mod fits;
mod keys;
mod log;
mod merge;

use self::fits::{level_matches, study_visible};
use self::keys::{BY_SOP, INSTANCE, JOB, META, SERIES, STUDY, VERDICT, job_key, joined, pack, unpack};
use self::log::{Log, Writes};
use self::merge::{add_to_series, add_to_study, new_series_row, new_study};
use super::{Counts, Index, IndexError, InstanceMatch, InstanceRow, Job, JobKind, Page, Query, SeriesMatch, SeriesRow};
use super::{StudyRow, Transition, View};
use crate::dicom::levels::{Level, level_of};
use crate::dicom::{Attributes, Uid};
use crate::exam::verdict::Verdict;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Changes when rows change shape; another version's index is rebuilt.
const SCHEMA: &[u8] = b"hutong-index-10";

/// Notes that every stored file is in the index.
const COMPLETE: [u8; 2] = [META, b'w'];

/// See the module.
pub struct SledIndex {
    db: ::sled::Db,
    /// sled's own file, for the sync that sled leaves out.
    file: File,
    /// What makes a write durable; held by the one who writes.
    writing: Mutex<Log>,
}

impl From<::sled::Error> for IndexError {
    fn from(error: ::sled::Error) -> IndexError {
        match &error {
            ::sled::Error::Io(io) if io.kind() == std::io::ErrorKind::WouldBlock => IndexError::InUse,
            ::sled::Error::Io(io) if io.to_string().contains("lock") => IndexError::InUse,
            // What the disk or the system refuses for now is no damage: a good index must not be put aside for it.
            ::sled::Error::Io(io) if !matches!(io.kind(), InvalidData | UnexpectedEof | InvalidInput | Other) => {
                IndexError::Backend(error.to_string())
            }
            ::sled::Error::Io(_)
            | ::sled::Error::Corruption { .. }
            | ::sled::Error::ReportableBug(_)
            | ::sled::Error::Unsupported(_) => IndexError::Damaged(error.to_string()),
            _ => IndexError::Backend(error.to_string()),
        }
    }
}

/// An index and whether it must be filled from the files first.
pub struct Opened {
    /// The index.
    pub index: SledIndex,
    /// It is new, of another version, or was damaged.
    pub must_rebuild: bool,
}

impl SledIndex {
    /// Opens the index in a folder. A damaged or foreign one is put aside under another name, never deleted.
    ///
    /// # Errors
    /// Another process has it open, or the folder cannot be written.
    pub fn open(folder: &Path) -> Result<Opened, IndexError> {
        // A process that is just being forked, or just ending, holds the lock for a moment: it is tried again.
        let wait = |n| std::thread::sleep(std::time::Duration::from_millis(10 * n));
        let mut tries = (0u64..10).inspect(|n| wait(*n)).map(|_| SledIndex::try_open(folder));
        match tries.find(|o| !matches!(o, Err(IndexError::InUse))).unwrap_or(Err(IndexError::InUse)) {
            Ok(Some(index)) => return Ok(Opened { must_rebuild: !index.is_complete()?, index }),
            Ok(None) | Err(IndexError::Damaged(_)) => {}
            Err(e) => return Err(e),
        }
        if let Some(aside) = (0..u32::MAX).map(|n| folder.with_extension(format!("damaged-{n}"))).find(|p| !p.exists()) {
            std::fs::rename(folder, aside).map_err(|e| IndexError::Backend(e.to_string()))?;
        }
        match SledIndex::try_open(folder)? {
            Some(index) => Ok(Opened { index, must_rebuild: true }),
            None => Err(IndexError::Backend("a new index has the wrong version".into())),
        }
    }

    /// Opens an index that is there, to read from it; never puts one aside or makes one.
    ///
    /// # Errors
    /// In use, damaged, or of another version.
    pub fn open_existing(folder: &Path) -> Result<SledIndex, IndexError> {
        match folder.join("db").exists().then(|| SledIndex::try_open(folder)).transpose()?.flatten() {
            Some(index) if index.is_complete()? => Ok(index),
            _ => Err(IndexError::Damaged("it is missing, unfinished or of another version".into())),
        }
    }

    fn is_complete(&self) -> Result<bool, IndexError> {
        Ok(self.db.contains_key(COMPLETE)?)
    }

    /// Notes that the index holds every stored file; without this note it is made again at the next start.
    ///
    /// # Errors
    /// The database failed.
    pub fn mark_complete(&self) -> Result<(), IndexError> {
        self.db.insert(COMPLETE, vec![1])?;
        self.sync()
    }

    /// None when the version is another.
    fn try_open(folder: &Path) -> Result<Option<SledIndex>, IndexError> {
        let db = ::sled::Config::new().path(folder).cache_capacity(256 << 20).flush_every_ms(None).open()?;
        match db.get([META, 0])? {
            Some(version) if version == SCHEMA => {}
            Some(_) => return Ok(None),
            None if db.is_empty() => {
                db.insert([META, 0], SCHEMA)?;
                db.flush()?;
            }
            None => return Ok(None),
        }
        let failed = |e: std::io::Error| IndexError::Backend(e.to_string());
        let file = File::open(folder.join("db")).map_err(failed)?;
        let (log, entries) = Log::open(&folder.join("commits.log")).map_err(failed)?;
        let index = SledIndex { db, file, writing: Mutex::new(log) };
        // Carrying a write out twice does no harm: they say what to store, not what to add.
        for writes in &entries {
            index.carry_out(writes)?;
        }
        index.sync()?;
        Ok(Some(index))
    }

    /// The writes that make new instances findable.
    fn writes_of(&self, rows: &[InstanceRow], names: &[Attributes], settle_ms: i64) -> Result<Writes, IndexError> {
        let mut studies: BTreeMap<Uid, StudyRow> = BTreeMap::new();
        let mut series: BTreeMap<Uid, SeriesRow> = BTreeMap::new();
        let mut batch = Writes::default();
        let mut counts: Counts = self.counts()?;
        for (row, all) in rows.iter().zip(names) {
            if !studies.contains_key(&row.study) {
                match self.study(&row.study)? {
                    Some(found) => drop(studies.insert(row.study.clone(), found)),
                    None => {
                        counts.studies += 1;
                        studies.insert(row.study.clone(), new_study(row, all));
                    }
                }
            }
            let series_key = joined(SERIES, &[row.study.as_str(), row.series.as_str()]);
            let mut new_series = false;
            if !series.contains_key(&row.series) {
                let found = self.get(&series_key)?;
                new_series = found.is_none();
                series.insert(row.series.clone(), found.unwrap_or_else(|| new_series_row(row, all)));
            }
            if let (Some(study), Some(series)) = (studies.get_mut(&row.study), series.get_mut(&row.series)) {
                add_to_series(series, row, all);
                add_to_study(study, row, all, new_series, &mut batch)?;
            }
            counts.bytes += row.length;
            *counts.of(&row.kind) += 1;
            let instance_key = joined(INSTANCE, &[row.study.as_str(), row.series.as_str(), row.sop_instance.as_str()]);
            batch.insert(joined(BY_SOP, &[row.sop_instance.as_str()]), instance_key.clone());
            batch.insert(instance_key, pack(row)?);
        }
        for row in series.values() {
            batch.insert(joined(SERIES, &[row.study.as_str(), row.series.as_str()]), pack(row)?);
        }
        for (uid, study) in &studies {
            batch.insert(joined(STUDY, &[uid.as_str()]), pack(study)?);
            if rows.iter().any(|r| r.study == *uid && r.is_original()) {
                let job =
                    Job { kind: JobKind::Assess, study: uid.clone(), revision: study.revision, due_ms: settle_ms, attempts: 0 };
                batch.insert(job_key(job.kind, uid), pack(&job)?);
                batch.remove(job_key(JobKind::Render, uid));
            }
        }
        batch.insert(vec![META, b'c'], pack(&counts)?);
        Ok(batch)
    }

    /// One writer at a time: they read, change and write rows.
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes everything in sled durable.
    fn sync(&self) -> Result<(), IndexError> {
        self.db.flush()?;
        self.file.sync_data().map_err(|e| IndexError::Backend(e.to_string()))
    }

    fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, IndexError> {
        self.db.get(key)?.map(|bytes| unpack(&bytes)).transpose()
    }

    fn scan<T: DeserializeOwned>(&self, prefix: &[u8]) -> impl Iterator<Item = Result<T, IndexError>> {
        self.db.scan_prefix(prefix).map(|row| unpack(&row?.1))
    }

    /// Logs the writes, which makes them durable, and carries them out. The caller holds the log.
    fn apply(&self, log: &mut Log, writes: &Writes) -> Result<(), IndexError> {
        let failed = |e: std::io::Error| IndexError::Backend(e.to_string());
        let payload = pack(writes)?;
        if !Log::can_hold(&payload) {
            return Err(IndexError::Backend("a change is larger than the log of commits".into()));
        }
        if !log.append(&payload).map_err(failed)? {
            self.sync()?;
            log.restart();
            log.append(&payload).map_err(failed)?;
        }
        self.carry_out(writes)
    }

    fn carry_out(&self, writes: &Writes) -> Result<(), IndexError> {
        for (key, value) in writes.iter() {
            match value {
                Some(value) => drop(self.db.insert(key, value.as_slice())?),
                None => drop(self.db.remove(key)?),
            }
        }
        Ok(())
    }
}

impl Index for SledIndex {
    fn commit(&self, rows: &[InstanceRow], names: &[Attributes], settle_ms: i64) -> Result<(), IndexError> {
        let mut log = self.lock();
        let writes = self.writes_of(rows, names, settle_ms)?;
        if Log::can_hold(&pack(&writes)?) {
            return self.apply(&mut log, &writes);
        }
        drop(log);
        // Objects with enormous headers: in halves, and one alone straight into sled.
        match rows.len() {
            0 | 1 => {
                self.carry_out(&writes)?;
                self.sync()
            }
            n => {
                let ((first, second), (names_of_first, names_of_second)) = (rows.split_at(n / 2), names.split_at(n / 2));
                self.commit(first, names_of_first, settle_ms)?;
                self.commit(second, names_of_second, settle_ms)
            }
        }
    }

    fn instance(&self, sop_instance: &Uid) -> Result<Option<InstanceRow>, IndexError> {
        match self.db.get(joined(BY_SOP, &[sop_instance.as_str()]))? {
            Some(key) => self.get(&key),
            None => Ok(None),
        }
    }

    fn study(&self, study: &Uid) -> Result<Option<StudyRow>, IndexError> {
        self.get(&joined(STUDY, &[study.as_str()]))
    }

    fn contents(&self, study: &Uid) -> Result<Vec<(SeriesRow, Vec<InstanceRow>)>, IndexError> {
        let Some(row) = self.study(study)? else { return Ok(Vec::new()) };
        let series = self.series_of(&Query::all(View::House), &row)?;
        series.into_iter().map(|s| self.instances_of(&s).map(|i| (s, i))).collect()
    }

    fn named(
        &self,
        view: View,
        study: &Uid,
        series: Option<&Uid>,
        instance: Option<&Uid>,
    ) -> Result<Vec<InstanceRow>, IndexError> {
        let Some(row) = self.study(study)?.filter(|row| study_visible(row, view)) else { return Ok(Vec::new()) };
        let shown = |i: &InstanceRow| view == View::House || row.recognised.shows(i);
        if let Some(instance) = instance {
            let here = |i: &InstanceRow| i.study == *study && series.is_none_or(|s| *s == i.series) && shown(i);
            return Ok(self.instance(instance)?.filter(here).into_iter().collect());
        }
        let query = Query { series: series.cloned(), ..Query::all(view) };
        let mut rows = Vec::new();
        for series in self.series_of(&query, &row)? {
            rows.extend(self.instances_of(&series)?.into_iter().filter(shown));
        }
        Ok(rows)
    }

    fn studies(&self, query: &Query) -> Result<Page<StudyRow>, IndexError> {
        if let Some(page) = self.page_by_date(query)? {
            return Ok(page);
        }
        let needs = |level| query.keys.iter().any(|k| level_of(k.tag()) == Some(level) && !k.pattern.is_empty());
        let (of_series, of_instances) = (needs(Level::Series), needs(Level::Instance));
        let fits = |row: &InstanceRow| level_matches(query, &row.attributes, Level::Instance);
        self.page(query, |study, take| {
            if of_series || of_instances {
                let mut series = self.series_of(query, study)?.into_iter();
                let found = match of_instances {
                    false => series.next().is_some(),
                    true => {
                        let shown = |row: &InstanceRow| query.view == View::House || study.recognised.shows(row);
                        let one = |s| self.instances_of(&s).map(|rows| rows.iter().any(|row| shown(row) && fits(row)));
                        series.map(one).find(|r| !matches!(r, Ok(false))).unwrap_or(Ok(false))?
                    }
                };
                if !found {
                    return Ok(true);
                }
            }
            Ok(take(&|| study.clone()))
        })
    }

    fn series(&self, query: &Query) -> Result<Page<SeriesMatch>, IndexError> {
        self.page(query, |study, take| Ok(self.series_of(query, study)?.iter().all(|s| take(&|| (study.clone(), s.clone())))))
    }

    fn instances(&self, query: &Query) -> Result<Page<InstanceMatch>, IndexError> {
        self.page(query, |study, take| {
            for series in self.series_of(query, study)? {
                for row in self.instances_of(&series)? {
                    if query.view == View::Exchange && !study.recognised.shows(&row) {
                        continue;
                    }
                    let fits = level_matches(query, &row.attributes, Level::Instance);
                    if fits && !take(&|| (study.clone(), series.clone(), row.clone())) {
                        return Ok(false);
                    }
                }
            }
            Ok(true)
        })
    }

    fn transition(&self, t: &Transition) -> Result<bool, IndexError> {
        let mut log = self.lock();
        let Some(mut study) = self.study(&t.study)? else { return Ok(false) };
        if study.revision != t.revision {
            return Ok(false);
        }
        study.state = t.state;
        if let Some(recognised) = &t.recognised {
            study.recognised = recognised.clone();
        }
        let mut batch = Writes::default();
        batch.insert(joined(STUDY, &[t.study.as_str()]), pack(&study)?);
        if let Some(verdict) = &t.verdict {
            let json = serde_json::to_vec(verdict).map_err(|e| IndexError::Backend(e.to_string()))?;
            batch.insert(joined(VERDICT, &[t.study.as_str()]), json);
        }
        if let Some(kind) = t.done {
            batch.remove(job_key(kind, &t.study));
        }
        if let Some(job) = &t.next {
            batch.insert(job_key(job.kind, &job.study), pack(job)?);
        }
        self.apply(&mut log, &batch)?;
        Ok(true)
    }

    fn verdict(&self, study: &Uid) -> Result<Option<Verdict>, IndexError> {
        let bytes = self.db.get(joined(VERDICT, &[study.as_str()]))?;
        bytes.map(|b| serde_json::from_slice(&b).map_err(|e| IndexError::Damaged(e.to_string()))).transpose()
    }

    fn due(&self, now_ms: i64, at_most: usize) -> Result<Vec<Job>, IndexError> {
        let mut jobs = Vec::new();
        for job in self.scan::<Job>(&[JOB]) {
            let job = job?;
            if job.due_ms <= now_ms {
                jobs.push(job);
            }
        }
        jobs.sort_by_key(|j| j.due_ms);
        jobs.truncate(at_most);
        Ok(jobs)
    }

    fn reschedule(&self, job: &Job, again: Option<Job>) -> Result<(), IndexError> {
        let mut log = self.lock();
        let key = job_key(job.kind, &job.study);
        // A newer job may have taken the row meanwhile; it stays.
        if self.get::<Job>(&key)?.as_ref() != Some(job) {
            return Ok(());
        }
        let mut batch = Writes::default();
        match again {
            Some(again) => batch.insert(key, pack(&again)?),
            None => batch.remove(key),
        }
        self.apply(&mut log, &batch)
    }

    fn counts(&self) -> Result<Counts, IndexError> {
        Ok(self.get(&[META, b'c'])?.unwrap_or_default())
    }
}
