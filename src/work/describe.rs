//! Describes what has just come in, behind the door and out of its way, so that metadata are ready when a viewer asks.

use crate::index::InstanceRow;
use crate::retrieve::describe;
use crate::store::Store;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// Instances that may wait; what comes on top is described when it is asked for.
pub const WAITING: usize = 4096;
/// Instances described together.
const BATCH: usize = 256;
/// Others of a series that come within this time share its file's opening.
const PAUSE: Duration = Duration::from_millis(100);

/// Describes until the sender is gone.
pub fn follow(store: &Arc<Store>, incoming: &Receiver<InstanceRow>) {
    while let Ok(first) = incoming.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH {
            match incoming.recv_timeout(PAUSE) {
                Ok(row) => batch.push(row),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        let mut series: BTreeMap<_, Vec<InstanceRow>> = BTreeMap::new();
        for row in batch {
            series.entry((row.study.clone(), row.series.clone())).or_default().push(row);
        }
        for ((study, series), rows) in series {
            for (row, described) in rows.iter().zip(describe::series(store, &study, &series, &rows)) {
                if let Err(e) = described {
                    tracing::warn!(instance = %row.sop_instance, error = %e, "metadata cannot be made of a stored object");
                }
            }
        }
    }
}
