//! Group commit: everything that is ready is published, synced, indexed and answered together.

use super::{Failed, IngestError, Pending, Refused, crash_point, disk, key_of, now_ms};
use crate::index::{Index, IndexError, InstanceRow};
use crate::store::{Finished, Key, Published, Store};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

/// Objects committed together at most.
const BATCH: usize = 256;
/// After so long without a new object, folders are synced and drafts taken away.
const SWEEP: Duration = Duration::from_secs(1);
/// Commits until the queue is closed.
pub(super) fn commit_loop(
    incoming: &Receiver<Pending>,
    store: &Store,
    index: &dyn Index,
    quiet: Duration,
    told: Option<&SyncSender<InstanceRow>>,
) {
    loop {
        let first = match incoming.recv_timeout(SWEEP) {
            Ok(first) => first,
            // Time to tidy up; and once more at the end.
            Err(RecvTimeoutError::Timeout) => {
                store.sweep();
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return store.sweep(),
        };
        let mut batch = vec![first];
        batch.extend(incoming.try_iter().take(BATCH - 1));
        commit_batch(batch, store, index, quiet, told);
    }
}

fn commit_batch(
    batch: Vec<Pending>,
    store: &Store,
    index: &dyn Index,
    quiet: Duration,
    told: Option<&SyncSender<InstanceRow>>,
) {
    let keys: Vec<Key> = batch.iter().map(|p| key_of(&p.row)).collect();
    let drafts: Vec<(&Finished, &Key)> = batch.iter().map(|p| &p.draft).zip(&keys).collect();
    let published = store.publish(&drafts);
    crash_point("published");
    let mut rows = Vec::new();
    let mut names = Vec::new();
    let mut verdicts: Vec<Option<IngestError>> = Vec::new();
    for ((pending, key), result) in batch.iter().zip(&keys).zip(published) {
        let failure = match result {
            Ok(Published::New) => None,
            // A file that no index row knows: left by a crash. Its bytes decide.
            Ok(Published::Exists) => orphan(store, key, pending).err(),
            Err(e) => Some(disk(e)),
        };
        if failure.is_none() {
            rows.push(pending.row.clone());
            names.push(pending.attributes.clone());
        }
        verdicts.push(failure);
    }
    let settle_ms = now_ms() + i64::try_from(quiet.as_millis()).unwrap_or(i64::MAX / 2);
    if let Err(e) = if rows.is_empty() { Ok(()) } else { index.commit(&rows, &names, settle_ms) } {
        tracing::error!(error = %e, "the index refused a commit; nothing of it is acknowledged");
        // The files stay: the change may be durable although it failed here, and a file without a row harms nobody.
        for verdict in verdicts.iter_mut().filter(|v| v.is_none()) {
            *verdict = Some(Failed::Index(IndexError::Backend(e.to_string())).into());
        }
    }
    crash_point("indexed");
    let mut settled = Vec::new();
    for (pending, verdict) in batch.into_iter().zip(verdicts) {
        let stored = verdict.is_none();
        let _ = pending.done.send(verdict.map_or(Ok(()), Err));
        if stored {
            settled.push(pending.draft);
            // Nobody waits for who is told, and nothing is lost when he has too much to do.
            if let Some(told) = told {
                let _ = told.try_send(pending.row);
            }
        }
    }
    store.settle(settled);
}

fn orphan(store: &Store, key: &Key, pending: &Pending) -> Result<(), IngestError> {
    let (_, meta) = store.open_object(key).map_err(disk)?;
    match meta.stamp {
        Some(there) if there.sha256 == pending.draft.stamp.sha256 => Ok(()),
        _ => Err(Refused::Conflict(Box::new(key.clone()), pending.row.sop_class.clone()).into()),
    }
}
