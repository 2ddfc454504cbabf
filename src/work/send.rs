//! Does what the outbox holds: sends objects, tells results of storage commitment, has studies fetched. Threads come with the work and end with it.
//!
//! Never sends another hospital anything but marked copies.

use super::pull;
use super::{Sending, Shop};
use crate::dicom::{Uid, uids};
use crate::dimse::storescu::{self, Answer, Outgoing};
use crate::dimse::{AssociationError, Incoming, Requested, Roles, Status, commitment, connect_for, identifier};
use crate::exam::lifecycle::State;
use crate::exam::verdict::{Outcome, Verdict};
use crate::index::{InstanceRow, StudyRow, View};
use crate::ingest::now_ms;
use crate::journal::Event;
use crate::outbox::{Copies, Forward, Report, Rule, Stage, Trigger};
use crate::peers::Peer;
use crate::retrieve::commitment::results;
use crate::retrieve::outgoing;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the outbox is looked at.
pub(super) const TICK: Duration = Duration::from_millis(200);
/// A peer that commits often says so at once, on the association that it was asked on.
const COMMITTED_AT_ONCE: Duration = Duration::from_secs(5);

/// Until the verdict that a task follows from counts, milliseconds.
const SOON_MS: i64 = 500;

/// Puts the tasks in that follow from a verdict. Called before the verdict counts as done: a crash in between asks for them again.
///
/// # Errors
/// They cannot be kept.
pub fn forward_judged(shop: &Shop, study: &StudyRow, verdict: &Verdict) -> std::io::Result<()> {
    let Some(sending) = shop.sending.as_ref().filter(|s| !s.rules.is_empty()) else { return Ok(()) };
    let trigger = Trigger {
        outcome: format!("{:?}", verdict.outcome).to_lowercase(),
        items: verdict.accepted().map(|i| i.number).collect(),
        modalities: study.modalities.clone(),
        sources: study.sources.iter().map(|(sender, _)| sender.clone()).collect(),
    };
    // Without an accepted item there are no marked copies.
    let there = |rule: &&Rule| rule.send != Copies::Marked || verdict.outcome == Outcome::Accept;
    for rule in sending.rules.iter().filter(|rule| rule.fits(&trigger)).filter(there) {
        for to in &rule.to {
            let id = study.study.as_str();
            let task = Forward::new(&rule.name, to, id, study.revision, rule.send, now_ms());
            sending.outbox.add(Forward { due_ms: task.due_ms + SOON_MS, ..task })?;
        }
    }
    Ok(())
}

/// Work beside the sending, until the node stops.
type Aside = fn(&Post<'_>);

/// Works until the node stops.
pub(super) fn follow(shop: &Arc<Shop>, stopping: &Arc<AtomicBool>) {
    let Some(sending) = &shop.sending else { return };
    let (mut threads, mut kept_on): (Vec<JoinHandle<()>>, Vec<JoinHandle<()>>) = (Vec::new(), Vec::new());
    // What a slow peer holds up holds nothing else up.
    let aside: [(&str, Aside); 2] = [("work-report", tell_all), ("work-look", pull::look_all)];
    for (name, work) in aside {
        let (shop, stopping) = (shop.clone(), stopping.clone());
        let run = move || {
            if let Some(sending) = &shop.sending {
                work(&Post { shop: &shop, sending, stopping: &stopping });
            }
        };
        match std::thread::Builder::new().name(name.into()).spawn(run) {
            Ok(thread) => kept_on.push(thread),
            Err(e) => tracing::error!(error = %e, name, "no thread to work with"),
        }
    }
    while !stopping.load(Ordering::Relaxed) {
        threads.retain(|t| !t.is_finished());
        let room = |aet: &str, busy: usize| busy < sending.peers.get(aet).map_or(1, |peer| peer.send_associations);
        while threads.len() < MOST_THREADS
            && let Some(task) = sending.outbox.next(now_ms(), room)
        {
            let (shop, stopping) = (shop.clone(), stopping.clone());
            let run = move || {
                shop.sending.as_ref().map_or((), |sending| forward(&Post { shop: &shop, sending, stopping: &stopping }, &task))
            };
            let spawned = std::thread::Builder::new().name("forward".into()).spawn(run);
            match spawned {
                Ok(thread) => threads.push(thread),
                Err(e) => tracing::error!(error = %e, "no thread to forward with"),
            }
        }
        if threads.len() < MOST_THREADS
            && let Some(task) = sending.outbox.next_pull(now_ms())
        {
            let (shop, stopping) = (shop.clone(), stopping.clone());
            let run = move || {
                if let Some(sending) = &shop.sending {
                    pull::fetch(&Post { shop: &shop, sending, stopping: &stopping }, &task);
                }
            };
            match std::thread::Builder::new().name("pull".into()).spawn(run) {
                Ok(thread) => threads.push(thread),
                Err(e) => tracing::error!(error = %e, "no thread to fetch with"),
            }
        }
        std::thread::sleep(TICK);
    }
    for thread in threads.into_iter().chain(kept_on) {
        let _ = thread.join();
    }
}

/// Peers that are sent to at a time.
const MOST_THREADS: usize = 16;

/// The node's parts, where there is something to send with.
pub(super) struct Post<'a> {
    pub(super) shop: &'a Shop,
    pub(super) sending: &'a Sending,
    pub(super) stopping: &'a Arc<AtomicBool>,
}

impl Post<'_> {
    /// What to connect to a peer with; when the node stops, nothing is waited for any more.
    pub(super) fn call(&self, peer: &Peer) -> Result<Requested, String> {
        Ok(Requested { stopping: self.stopping.clone(), ..self.sending.calls.to(peer)? })
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// Why an attempt ended before all was sent.
enum Ended {
    /// It is tried again.
    Later(String),
    /// It is not.
    Never(String),
}

fn forward(post: &Post<'_>, task: &Forward) {
    let mut sent = task.sent.clone();
    let result = attempt(post, task, &mut sent);
    let kept = post.sending.outbox.update(&task.id, |f| {
        // A newer task is in this one's place.
        if f.generation != task.generation {
            return;
        }
        // While it is being committed the peer's answer has the last word on what it has.
        if !matches!(result, Ok(After::Committing)) {
            f.sent = sent;
        }
        match &result {
            Ok(After::Done) => f.stage = Stage::Done,
            Ok(After::Committing) => {}
            Err(Ended::Later(why)) => f.failed(why, now_ms()),
            Err(Ended::Never(why)) => f.give_up(why),
        }
    });
    if let Err(e) = &kept {
        tracing::error!(error = %e, "the outbox cannot be written");
    }
    match result {
        Ok(_) => {}
        Err(Ended::Later(why)) => {
            metrics::counter!("hutong_forward_failures_total").increment(1);
            tracing::warn!(to = task.to, study = task.study, why, "forwarding failed; it will be tried again");
        }
        Err(Ended::Never(why)) => tracing::error!(to = task.to, study = task.study, why, "forwarding is given up"),
    }
}

/// What follows an attempt that sent all.
enum After {
    Done,
    Committing,
}

fn attempt(post: &Post<'_>, task: &Forward, sent: &mut BTreeSet<String>) -> Result<After, Ended> {
    let Post { shop, sending, .. } = post;
    let peer = sending.peers.get(&task.to).ok_or_else(|| Ended::Later(format!("no [[peer]] {} is configured", task.to)))?;
    let to = post.call(&peer).map_err(Ended::Later)?;
    let rows = rows(post, task, &peer)?;
    let left: Vec<&InstanceRow> = rows.iter().filter(|r| !sent.contains(r.sop_instance.as_str())).collect();
    let mut objects: Vec<Outgoing<'_>> = left.iter().map(|row| outgoing(&shop.store, &shop.pool, row)).collect();
    let (mut refused, mut stopped) = (None, false);
    let result = storescu::send(&to, &mut objects, None, &mut |number: usize, answer: &Answer| {
        let Some(row) = left.get(number) else { return false };
        if answer.is_kept() {
            sent.insert(row.sop_instance.to_string());
        } else {
            tracing::warn!(to = task.to, instance = %row.sop_instance, why = %answer, "an object was not taken");
            refused.get_or_insert_with(|| format!("{}: {answer}", row.sop_instance));
        }
        stopped = post.is_stopping();
        !stopped
    });
    result.map_err(|e| Ended::Later(e.to_string()))?;
    if stopped {
        return Err(Ended::Later("the node was stopped".into()));
    }
    if let Some(why) = refused {
        return Err(Ended::Later(why));
    }
    record(shop, task, &rows)?;
    if !peer.commits {
        tracing::info!(to = task.to, study = task.study, instances = rows.len(), "forwarded");
        return Ok(After::Done);
    }
    commit(post, task, to, &rows, sent)
}

/// The objects of a task, as they are now.
fn rows(post: &Post<'_>, task: &Forward, peer: &Peer) -> Result<Vec<InstanceRow>, Ended> {
    let shop = post.shop;
    let later = |e: crate::index::IndexError| Ended::Later(e.to_string());
    let uid = Uid::parse(&task.study).map_err(|e| Ended::Never(e.to_string()))?;
    let study = shop.index.study(&uid).map_err(later)?.ok_or_else(|| Ended::Never("the study is not here any more".into()))?;
    if !matches!(study.state, State::Ready | State::Review) {
        return Err(Ended::Later("the study is not judged yet".into()));
    }
    let originals = task.send != Copies::Marked;
    if originals && peer.exchange {
        return Err(Ended::Never("originals never go to a peer with exchange = true; send = \"marked\"".into()));
    }
    let mut rows = Vec::new();
    if originals {
        let all = shop.index.named(View::House, &uid, None, None).map_err(later)?;
        rows.extend(all.into_iter().filter(InstanceRow::is_original));
    }
    if task.send != Copies::Originals {
        let shown = !peer.exchange || is_shown(post, peer, &study).map_err(later)?;
        if !shown {
            return Err(Ended::Never(format!("the policy does not grant the study to {}", peer.aet)));
        }
        rows.extend(shop.index.named(View::Exchange, &uid, None, None).map_err(later)?);
    }
    if rows.is_empty() {
        return Err(Ended::Never("the study has no object of that kind".into()));
    }
    Ok(rows)
}

/// Whether the hospital of an exchange peer is shown a study.
fn is_shown(post: &Post<'_>, peer: &Peer, study: &StudyRow) -> Result<bool, crate::index::IndexError> {
    let register = post.sending.entitled.register.current();
    register.hospital_of_aet(&peer.aet).map_or(Ok(false), |h| post.sending.entitled.sees(&h.code, study))
}

fn record(shop: &Shop, task: &Forward, rows: &[InstanceRow]) -> Result<(), Ended> {
    let instances = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let event = Event::Forwarded { study: task.study.clone(), to: task.to.clone(), rule: task.rule.clone(), instances };
    shop.journal.append(event, now_ms(), true).map_err(|e| Ended::Later(format!("it cannot be recorded: {e}")))
}

/// Asks the peer to commit all of it. The answer comes now, or later on an association of the peer's.
fn commit(
    post: &Post<'_>,
    task: &Forward,
    to: Requested,
    rows: &[InstanceRow],
    sent: &BTreeSet<String>,
) -> Result<After, Ended> {
    // Unguessable, so that nobody else can say that it is kept.
    let chance = RandomState::new().build_hasher().finish().to_string();
    let transaction = Uid::derived(&["storage commitment", &task.id, &chance]);
    // Before it is asked: the answer may be here sooner than the question's end.
    let kept = post.sending.outbox.update(&task.id, |f| {
        f.sent.clone_from(sent);
        f.commits(transaction.as_str(), now_ms());
    });
    kept.map_err(|e| Ended::Later(e.to_string()))?;
    let instances: Vec<(String, String)> = rows.iter().map(|r| (r.sop_class.clone(), r.sop_instance.to_string())).collect();
    ask(post, to, transaction.as_str(), &instances).map_err(|e| Ended::Later(e.to_string()))?;
    Ok(After::Committing)
}

fn ask(post: &Post<'_>, to: Requested, transaction: &str, instances: &[(String, String)]) -> Result<(), AssociationError> {
    let aet = to.called.clone();
    let (mut association, context) = connect_for(to, uids::STORAGE_COMMITMENT_PUSH_MODEL, Roles::USUAL)?;
    commitment::ask(&mut association, &context, transaction, instances)?;
    if !association.is_ready(COMMITTED_AT_ONCE)? {
        return association.release();
    }
    match association.receive()? {
        Incoming::Message(context, request) if request.event_type().is_some() && request.has_data() => {
            let information = identifier(&mut association, &context)?.map_err(AssociationError::Protocol)?;
            let keeps = commitment::kept(&information);
            let kept = post.sending.outbox.committed(&aet, transaction, &keeps, now_ms());
            let status = if kept.is_ok() { Status::Success } else { Status::ProcessingFailure };
            association.send(context.id, &request.response(status))?;
            association.release()
        }
        Incoming::Message(..) => Err(AssociationError::Protocol("something else than a commitment result".into())),
        Incoming::Released | Incoming::Stopping => Ok(()),
    }
}

/// Tells results as they fall due, until the node stops.
fn tell_all(post: &Post<'_>) {
    // Each peer by a thread of its own, one result at a time: one that does not answer holds nobody else up.
    let busy: Mutex<BTreeSet<String>> = Mutex::default();
    let lock = || busy.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        while !post.is_stopping() {
            let next = {
                let mut busy = lock();
                let next = Some(busy.len()).filter(|n| *n < MOST_TOLD);
                let next = next.and_then(|_| post.sending.outbox.next_report(now_ms(), &busy));
                busy.extend(next.iter().map(|report| report.aet.clone()));
                next
            };
            match next {
                Some(report) => drop(scope.spawn(move || {
                    tell(post, &report);
                    lock().remove(&report.aet);
                })),
                None => std::thread::sleep(TICK),
            }
        }
    });
}

/// Peers that are told results at a time.
const MOST_TOLD: usize = 8;

/// Tells a peer the result that it waits for, on an association of ours (PS3.4 J.3.3.1).
fn tell(post: &Post<'_>, report: &Report) {
    let Post { shop, sending, .. } = post;
    let told = || -> Result<(), String> {
        let peer = sending.peers.get(&report.aet).ok_or("it is no [[peer]] any more")?;
        let to = post.call(&peer)?;
        let result = results(&shop.store, &*shop.index, &report.wanted).map_err(|e| e.to_string())?;
        let roles = Roles { scu: false, scp: true };
        let called = connect_for(to, uids::STORAGE_COMMITMENT_PUSH_MODEL, roles);
        let (mut association, context) = called.map_err(|e| e.to_string())?;
        let aet = &sending.calls.aet;
        commitment::tell(&mut association, &context, &report.transaction, &result, aet).map_err(|e| e.to_string())?;
        // It has the answer; how it takes its leave does not matter.
        association.leave();
        Ok(())
    };
    let kept = match told() {
        Ok(()) => sending.outbox.reported(&report.id()),
        Err(why) => {
            tracing::warn!(to = report.aet, why, "a storage commitment result was not taken; it will be tried again");
            sending.outbox.not_reported(&report.id(), &why, now_ms())
        }
    };
    if let Err(e) = kept {
        tracing::error!(error = %e, "the outbox cannot be written");
    }
}
