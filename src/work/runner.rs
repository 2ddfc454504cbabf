//! Takes due jobs from the index and does them on a few threads; a failure is put back for later.

use super::external::Externals;
use super::{assess, external, render, send, withdraw};
use crate::codec::Pool;
use crate::exchange::entitled::Entitled;
use crate::exchange::live::LiveRegister;
use crate::index::{Index, Job, JobKind};
use crate::ingest::{Ingest, now_ms};
use crate::journal::Journal;
use crate::outbox::{Outbox, PullRule, Rule};
use crate::peers::{Calls, Peers};
use crate::procedure::Procedures;
use crate::store::Store;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Everything that jobs work with.
pub struct Shop {
    /// Files.
    pub store: Arc<Store>,
    /// Facts.
    pub index: Arc<dyn Index>,
    /// The door in, for marked copies.
    pub ingest: Arc<Ingest>,
    /// Decoders.
    pub pool: Arc<Pool>,
    /// The knowledge.
    pub procedures: Arc<Procedures>,
    /// Hospitals.
    pub register: Arc<LiveRegister>,
    /// The record.
    pub journal: Arc<Journal>,
    /// Transfer syntax of marked copies.
    pub output: &'static str,
    /// What goes out by DIMSE; none where there is no node.
    pub sending: Option<Sending>,
    /// Other hospitals' nodes; none where there is no node.
    pub externals: Option<Externals>,
}

/// What sending works with.
pub struct Sending {
    /// Who is known.
    pub peers: Arc<Peers>,
    /// What other hospitals are shown.
    pub entitled: Entitled,
    /// How they are called.
    pub calls: Calls,
    /// What is to go out.
    pub outbox: Arc<Outbox>,
    /// Rules of forwarding.
    pub rules: Vec<Rule>,
    /// Rules of fetching.
    pub pulls: Vec<PullRule>,
}

/// How often due jobs are looked for.
const TICK: Duration = Duration::from_millis(200);
/// First wait after a failure; doubled with each one.
const BACK_OFF_MS: i64 = 5_000;
/// Longest wait.
const MAX_BACK_OFF_MS: i64 = 3_600_000;

/// The threads that work.
pub struct Runner {
    stopping: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Runner {
    /// Starts `threads` of them.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(shop: &Arc<Shop>, threads: usize) -> std::io::Result<Runner> {
        let stopping = Arc::new(AtomicBool::new(false));
        let at_work: Arc<Mutex<HashSet<String>>> = Arc::default();
        let spawn = |n| {
            let (shop, stopping, at_work) = (shop.clone(), stopping.clone(), at_work.clone());
            std::thread::Builder::new().name(format!("work-{n}")).spawn(move || work(&shop, &stopping, &at_work))
        };
        let mut threads = (0..threads.max(1)).map(spawn).collect::<Result<Vec<_>, _>>()?;
        let (sender, sends) = (shop.clone(), stopping.clone());
        threads.push(std::thread::Builder::new().name("work-send".into()).spawn(move || send::follow(&sender, &sends))?);
        let (fetcher, fetches) = (shop.clone(), stopping.clone());
        let fetching = std::thread::Builder::new().name("work-external".into());
        threads.push(fetching.spawn(move || external::follow(&fetcher, &fetches))?);
        let (shop, follows) = (shop.clone(), stopping.clone());
        threads
            .push(std::thread::Builder::new().name("work-register".into()).spawn(move || withdraw::follow(&shop, &follows))?);
        Ok(Runner { stopping, threads })
    }

    /// Another thread that works until the others stop.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn also(&mut self, name: &str, work: impl FnOnce(&AtomicBool) + Send + 'static) -> std::io::Result<()> {
        let stopping = self.stopping.clone();
        self.threads.push(std::thread::Builder::new().name(name.into()).spawn(move || work(&stopping))?);
        Ok(())
    }

    /// Lets the jobs under way end, and no others begin.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

fn work(shop: &Shop, stopping: &AtomicBool, at_work: &Mutex<HashSet<String>>) {
    while !stopping.load(Ordering::Relaxed) {
        match next(shop, at_work) {
            Ok(Some(job)) => {
                run(shop, &job);
                at_work.lock().unwrap_or_else(PoisonError::into_inner).remove(job.study.as_str());
            }
            Ok(None) => std::thread::sleep(TICK),
            Err(e) => {
                tracing::error!(error = %e, "due jobs cannot be read");
                std::thread::sleep(TICK * 25);
            }
        }
    }
}

/// The next due job whose study nobody works on.
fn next(shop: &Shop, at_work: &Mutex<HashSet<String>>) -> Result<Option<Job>, crate::index::IndexError> {
    let mut at_work = at_work.lock().unwrap_or_else(PoisonError::into_inner);
    let due = shop.index.due(now_ms(), 64)?;
    Ok(due.into_iter().find(|job| at_work.insert(job.study.as_str().to_string())))
}

fn run(shop: &Shop, job: &Job) {
    let result = match job.kind {
        JobKind::Assess => assess::run(shop, job),
        JobKind::Render => render::run(shop, job),
    };
    if let Err(e) = result {
        let attempts = job.attempts + 1;
        let wait = BACK_OFF_MS.saturating_mul(1 << attempts.min(20)).min(MAX_BACK_OFF_MS);
        tracing::warn!(study = %job.study, kind = ?job.kind, attempts, error = %e, "a job failed; it will be tried again");
        metrics::counter!("hutong_job_failures_total").increment(1);
        let again = Job { attempts, due_ms: now_ms() + wait, ..job.clone() };
        if let Err(e) = shop.index.reschedule(job, Some(again)) {
            tracing::error!(study = %job.study, error = %e, "a job cannot be put back");
        }
    }
}
