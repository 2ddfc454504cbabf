//! What is still to be done by DIMSE: objects to forward, studies to fetch, results of storage commitment. Each is a document on disk before anybody is
//! told, and stays there until the peer has answered for all of it.
//!
//! Never says done before every instance is; never forgets what it gave up on: that waits for a person.

mod forward;
mod pull;
mod report;

pub use forward::{Copies, Forward, Rule, Stage, Trigger};
pub use pull::{By, Pull, PullRule};
pub use report::Report;

use crate::store::Papers;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// First wait after a failure, milliseconds; doubled with each one.
const BACK_OFF_MS: i64 = 10_000;
/// Longest wait.
const MAX_BACK_OFF_MS: i64 = 3_600_000;
/// Attempts at one peer in a row before a person must look: about a week.
const MOST_ATTEMPTS: u32 = 170;

/// Milliseconds to wait after so many failures.
fn back_off(attempts: u32) -> i64 {
    BACK_OFF_MS.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(MAX_BACK_OFF_MS)
}

/// See the module.
pub struct Outbox {
    forwards: Papers,
    reports: Papers,
    pulls: Papers,
    now: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Of the task that was put in last.
    generation: u64,
    forwards: BTreeMap<String, Forward>,
    reports: BTreeMap<String, Report>,
    pulls: BTreeMap<String, Pull>,
}

impl Outbox {
    /// Below a data root, with what was waiting when the node stopped.
    ///
    /// # Errors
    /// The folders cannot be made or read.
    pub fn open(root: &Path) -> io::Result<Outbox> {
        let (forwards, reports) = (Papers::open(root, "outbox/forward")?, Papers::open(root, "outbox/report")?);
        let pulls = Papers::open(root, "outbox/pull")?;
        let now = Waiting {
            generation: 0,
            forwards: forwards.all::<Forward>()?.into_iter().map(|f| (f.id.clone(), f.resumed())).collect(),
            reports: reports.all::<Report>()?.into_iter().map(|r| (r.id(), r)).collect(),
            pulls: pulls.all::<Pull>()?.into_iter().map(|p| (p.id.clone(), p)).collect(),
        };
        Ok(Outbox { forwards, reports, pulls, now: Mutex::new(now) })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a task in, in place of one of the same name.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn add(&self, mut forward: Forward) -> io::Result<()> {
        let mut now = self.lock();
        now.generation += 1;
        forward.generation = now.generation;
        self.forwards.save(&forward.id, &forward)?;
        now.forwards.insert(forward.id.clone(), forward);
        Ok(())
    }

    /// What there is to forward, oldest first.
    pub fn forwards(&self) -> Vec<Forward> {
        let mut all: Vec<Forward> = self.lock().forwards.values().cloned().collect();
        all.sort_by_key(|f| f.created_ms);
        all
    }

    /// Changes a task and keeps the change; none when it is not there any more.
    ///
    /// # Errors
    /// It cannot be kept; nothing changes.
    pub fn update(&self, id: &str, change: impl FnOnce(&mut Forward)) -> io::Result<Option<Forward>> {
        let mut now = self.lock();
        let Some(mut forward) = now.forwards.get(id).cloned() else { return Ok(None) };
        change(&mut forward);
        if forward.stage == Stage::Done {
            self.forwards.remove(id)?;
            now.forwards.remove(id);
        } else {
            self.forwards.save(id, &forward)?;
            now.forwards.insert(id.to_string(), forward.clone());
        }
        Ok(Some(forward))
    }

    /// Takes a task away; whether it was there.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove(&self, id: &str) -> io::Result<bool> {
        let mut now = self.lock();
        self.forwards.remove(id)?;
        Ok(now.forwards.remove(id).is_some())
    }

    /// The next task that is due and whose destination may have one more association; it counts as begun.
    pub fn next(&self, now_ms: i64, room: impl Fn(&str, usize) -> bool) -> Option<Forward> {
        let mut now = self.lock();
        let mut busy: BTreeMap<String, usize> = BTreeMap::new();
        for forward in now.forwards.values().filter(|f| f.stage == Stage::Sending) {
            *busy.entry(forward.to.clone()).or_default() += 1;
        }
        let fits = |f: &&mut Forward| f.is_due(now_ms) && room(&f.to, busy.get(&f.to).copied().unwrap_or(0));
        let next = now.forwards.values_mut().filter(fits).min_by_key(|f| f.created_ms)?;
        next.before = next.stage.clone();
        next.stage = Stage::Sending;
        Some(next.clone())
    }

    /// A peer says what it has committed of a transaction that we asked it for; false when nobody waits for that.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn committed(&self, aet: &str, transaction: &str, kept: &BTreeSet<String>, now_ms: i64) -> io::Result<bool> {
        let asked = |stage: &Stage| matches!(stage, Stage::Committing { transaction: t } if t == transaction);
        let waits = |f: &&Forward| f.to == aet && (asked(&f.stage) || asked(&f.before));
        let id = self.lock().forwards.values().find(waits).map(|f| f.id.clone());
        let Some(id) = id else { return Ok(false) };
        self.update(&id, |f| f.committed(kept, now_ms))?;
        Ok(true)
    }

    /// Puts a commitment result in that a peer waits for.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn add_report(&self, report: Report) -> io::Result<()> {
        let mut now = self.lock();
        self.reports.save(&report.id(), &report)?;
        now.reports.insert(report.id(), report);
        Ok(())
    }

    /// All commitment results that peers wait for.
    pub fn reports(&self) -> Vec<Report> {
        self.lock().reports.values().cloned().collect()
    }

    /// The result that has been due for longest, of a peer that is none of the `busy` ones.
    pub fn next_report(&self, now_ms: i64, busy: &BTreeSet<String>) -> Option<Report> {
        let now = self.lock();
        let due = now.reports.values().filter(|r| !r.given_up && !r.here && r.due_ms <= now_ms && !busy.contains(&r.aet));
        due.min_by_key(|r| r.due_ms).cloned()
    }

    /// A result that nobody can be told: whoever asked left, and has no address. A person sees why.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn give_up_report(&self, id: &str, why: &str) -> io::Result<()> {
        let mut now = self.lock();
        let Some(mut report) = now.reports.get(id).cloned() else { return Ok(()) };
        // Tried again by hand, it is told on an association of ours.
        (report.given_up, report.here, report.last_error) = (true, false, Some(why.to_string()));
        self.reports.save(id, &report)?;
        now.reports.insert(id.to_string(), report);
        Ok(())
    }

    /// The peer has taken a result.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn reported(&self, id: &str) -> io::Result<()> {
        self.remove_report(id).map(drop)
    }

    /// The peer has not taken a result; it is tried again later.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn not_reported(&self, id: &str, why: &str, now_ms: i64) -> io::Result<()> {
        let mut now = self.lock();
        let Some(mut report) = now.reports.get(id).cloned() else { return Ok(()) };
        report.attempts += 1;
        report.due_ms = now_ms.saturating_add(back_off(report.attempts));
        report.given_up = report.attempts >= MOST_ATTEMPTS;
        report.last_error = Some(why.to_string());
        self.reports.save(id, &report)?;
        now.reports.insert(id.to_string(), report);
        Ok(())
    }

    /// Takes one away: the peer is not told; whether it was there.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove_report(&self, id: &str) -> io::Result<bool> {
        let mut now = self.lock();
        self.reports.remove(id)?;
        Ok(now.reports.remove(id).is_some())
    }

    /// A person wants it told again; none when it is not there.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn retry_report(&self, id: &str, now_ms: i64) -> io::Result<Option<Report>> {
        let mut now = self.lock();
        let Some(report) = now.reports.get(id).cloned() else { return Ok(None) };
        let report = Report { due_ms: now_ms, attempts: 0, given_up: false, ..report };
        self.reports.save(id, &report)?;
        now.reports.insert(id.to_string(), report.clone());
        Ok(Some(report))
    }

    /// Puts a study to fetch in, unless it is there already.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn add_pull(&self, pull: Pull) -> io::Result<()> {
        let mut now = self.lock();
        if now.pulls.get(&pull.id).is_none_or(|known| known.given_up) {
            self.pulls.save(&pull.id, &pull)?;
            now.pulls.insert(pull.id.clone(), pull);
        }
        Ok(())
    }

    /// All studies to fetch.
    pub fn pulls(&self) -> Vec<Pull> {
        self.lock().pulls.values().cloned().collect()
    }

    /// One that is due; it counts as begun.
    pub fn next_pull(&self, now_ms: i64) -> Option<Pull> {
        let mut now = self.lock();
        let busy: Vec<String> = now.pulls.values().filter(|p| p.running).map(|p| p.from.clone()).collect();
        let due = |p: &&mut Pull| !p.running && !p.given_up && p.due_ms <= now_ms && !busy.contains(&p.from);
        let next = now.pulls.values_mut().find(due)?;
        next.running = true;
        Some(next.clone())
    }

    /// It was fetched, or not.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn pulled(&self, id: &str, result: Result<(), &str>, now_ms: i64) -> io::Result<()> {
        let mut now = self.lock();
        let Some(mut pull) = now.pulls.get(id).cloned() else { return Ok(()) };
        match result {
            Ok(()) => {
                self.pulls.remove(id)?;
                now.pulls.remove(id);
            }
            Err(why) => {
                pull.failed(why, now_ms);
                self.pulls.save(id, &pull)?;
                now.pulls.insert(id.to_string(), pull);
            }
        }
        Ok(())
    }

    /// Takes one away; whether it was there.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove_pull(&self, id: &str) -> io::Result<bool> {
        let mut now = self.lock();
        self.pulls.remove(id)?;
        Ok(now.pulls.remove(id).is_some())
    }

    /// A person wants it tried again; none when it is not there.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn retry_pull(&self, id: &str, now_ms: i64) -> io::Result<Option<Pull>> {
        let mut now = self.lock();
        let Some(pull) = now.pulls.get(id).filter(|p| !p.running).cloned() else { return Ok(None) };
        let pull = Pull { due_ms: now_ms, attempts: 0, given_up: false, ..pull };
        self.pulls.save(id, &pull)?;
        now.pulls.insert(id.to_string(), pull.clone());
        Ok(Some(pull))
    }
}
