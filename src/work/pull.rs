//! Fetches studies from peers: looks by rule what they have that is not here whole, then asks for it by C-MOVE or C-GET.
//!
//! Never counts a study as fetched before the peer has said that every instance was sent.

use super::send::{Post, TICK};
use crate::dicom::stamp::Kind;
use crate::dicom::{Attributes, DataSet, Uid, VR, tags, uids};
use crate::dimse::queryscu::{Ended, Receiver, Root, STORED, Service, class, perform};
use crate::dimse::{AssociationError, Command, Context, DataReader, PLAIN, Proposal, Requested, Roles, Status, connect_for};
use crate::ingest::{Announced, IngestError, now_ms};
use crate::outbox::{By, Pull, PullRule};
use crate::peers::Peer;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is remembered between two looks.
#[derive(Default)]
struct Schedule {
    /// When each rule looks next, milliseconds since 1970.
    next: BTreeMap<String, i64>,
    /// How many instances a peer said to have of a study when it was asked for last: it is asked for again when that changes.
    asked: BTreeMap<(String, String), i64>,
}

/// Looks by the rules until the node stops.
pub(super) fn look_all(post: &Post<'_>, stopping: &AtomicBool) {
    let mut schedule = Schedule::default();
    while !stopping.load(Ordering::Relaxed) {
        look(post, &mut schedule);
        std::thread::sleep(TICK);
    }
}

/// Looks by the rules whose time has come, and puts in what there is to fetch.
fn look(post: &Post<'_>, schedule: &mut Schedule) {
    for rule in &post.sending.pulls {
        let now = now_ms();
        if schedule.next.get(&rule.name).is_some_and(|due| *due > now) {
            continue;
        }
        schedule.next.insert(rule.name.clone(), now + i64::from(rule.every_minutes) * 60_000);
        match missing(post, rule) {
            Ok(studies) => {
                for (study, count) in studies {
                    let asked = schedule.asked.insert((rule.from.clone(), study.clone()), count);
                    if asked == Some(count) {
                        continue;
                    }
                    let pull = Pull::new(&rule.name, &rule.from, &study, rule.by, now);
                    if let Err(e) = post.sending.outbox.add_pull(pull) {
                        tracing::error!(error = %e, "the outbox cannot be written");
                    }
                }
            }
            Err(why) => tracing::warn!(rule = rule.name, from = rule.from, why, "a peer cannot be asked what it has"),
        }
    }
}

fn peer(post: &Post<'_>, aet: &str) -> Result<(Peer, Requested), String> {
    let peer = post.sending.peers.get(aet).ok_or_else(|| format!("no [[peer]] {aet} is configured"))?;
    let to = post.sending.calls.to(&peer)?;
    Ok((peer, to))
}

#[derive(Default)]
struct Found(Vec<Attributes>);

impl Receiver for Found {
    fn matched(&mut self, found: Attributes) -> bool {
        self.0.push(found);
        self.0.len() < MOST
    }
}

/// Studies of one look.
const MOST: usize = 10_000;

/// Studies that the peer has, of the rule's days and modalities, and this node has not, or not all instances of.
fn missing(post: &Post<'_>, rule: &PullRule) -> Result<Vec<(String, i64)>, String> {
    let (_, to) = peer(post, &rule.from)?;
    let sop_class = class(Root::Study, Service::Find);
    let (mut association, context) = connect_for(to, sop_class, Roles::USUAL).map_err(|e| e.to_string())?;
    let modalities: Vec<&str> =
        if rule.modalities.is_empty() { vec![""] } else { rule.modalities.iter().map(String::as_str).collect() };
    let mut found = Found::default();
    for (number, modality) in (1..).zip(modalities) {
        let mut query = DataSet::default();
        query.put_text(tags::QUERY_RETRIEVE_LEVEL, VR::CS, "STUDY");
        query.put_text(tags::STUDY_DATE, VR::DA, &format!("{}-", crate::ingest::china_day(rule.days)));
        query.put_text(tags::MODALITIES_IN_STUDY, VR::CS, modality);
        query.put_text(tags::STUDY_INSTANCE_UID, VR::UI, "");
        query.put_text(tags::NUMBER_OF_STUDY_RELATED_INSTANCES, VR::IS, "");
        let request = Command::query(0x0020, number, sop_class);
        let ended = perform(&mut association, &context, &request, &query, &mut found).map_err(|e| e.to_string())?;
        if !ended.is_success() {
            return Err(ended.to_string());
        }
    }
    let _ = association.release();
    let mut missing = Vec::new();
    for study in found.0 {
        // A peer that does not narrow by modality answers with all.
        let there = study.texts(tags::MODALITIES_IN_STUDY);
        let wanted = rule.modalities.is_empty() || there.is_empty() || there.iter().any(|m| rule.modalities.contains(m));
        let Some(uid) = study.text(tags::STUDY_INSTANCE_UID).and_then(|t| Uid::parse(t.trim()).ok()).filter(|_| wanted) else {
            continue;
        };
        let here = post.shop.index.study(&uid).map_err(|e| e.to_string())?.map_or(0, |row| i64::from(row.originals.1));
        let there = study.int(tags::NUMBER_OF_STUDY_RELATED_INSTANCES);
        if there.map_or(here == 0, |there| here < there) {
            missing.push((uid.to_string(), there.unwrap_or(0)));
        }
    }
    Ok(missing)
}

/// Fetches one study and says so in the outbox.
pub(super) fn fetch(post: &Post<'_>, pull: &Pull) {
    let result = attempt(post, pull);
    let kept = match &result {
        Ok(instances) => {
            tracing::info!(from = pull.from, study = pull.study, instances, "fetched");
            post.sending.outbox.pulled(&pull.id, Ok(()), now_ms())
        }
        Err(why) => {
            tracing::warn!(from = pull.from, study = pull.study, why, "fetching failed; it will be tried again");
            post.sending.outbox.pulled(&pull.id, Err(why), now_ms())
        }
    };
    if let Err(e) = kept {
        tracing::error!(error = %e, "the outbox cannot be written");
    }
}

/// Instances that the peer says it has sent.
fn attempt(post: &Post<'_>, pull: &Pull) -> Result<u16, String> {
    let (_, to) = peer(post, &pull.from)?;
    let mut query = DataSet::default();
    query.put_text(tags::QUERY_RETRIEVE_LEVEL, VR::CS, "STUDY");
    query.put_text(tags::STUDY_INSTANCE_UID, VR::UI, &pull.study);
    let mut into = Into { post, from: &pull.from, refused: None };
    let ended = match pull.by {
        By::Move => {
            let sop_class = class(Root::Study, Service::Move);
            let request = Command::move_request(1, sop_class, &post.sending.calls.aet);
            operate(to, sop_class, vec![], &request, &query, &mut into)
        }
        By::Get => {
            let sop_class = class(Root::Study, Service::Get);
            operate(to, sop_class, receiving(), &Command::query(0x0010, 1, sop_class), &query, &mut into)
        }
    };
    let ended = ended.map_err(|e| e.to_string())?;
    match into.refused {
        Some(why) => Err(format!("{ended}: {why}")),
        None if !ended.is_success() => Err(ended.to_string()),
        None if ended.progress.completed == 0 => Err("the peer sent nothing".into()),
        None => Ok(ended.progress.completed),
    }
}

/// Contexts in which objects are received by C-GET: native for every class, and as compressed as the peer likes for the images.
fn receiving() -> Vec<Proposal> {
    let roles = Roles { scu: false, scp: true };
    let native = STORED.iter().map(|class| Proposal { roles, ..Proposal::new(class, &PLAIN) });
    let compressed = STORED.iter().map(|class| Proposal { roles, ..Proposal::new(class, COMPRESSED) });
    // As it is stored goes before native; the peer's order of preference is its own.
    compressed.chain(native).take(127).collect()
}

const COMPRESSED: &[&str] = &[
    uids::JPEGLS_LOSSLESS,
    uids::JPEG_LOSSLESS_SV1,
    uids::JPEG2000_LOSSLESS,
    uids::RLE_LOSSLESS,
    uids::JPEG_BASELINE8_BIT,
    uids::JPEG_EXTENDED12_BIT,
    uids::JPEG2000,
    uids::JPEGLS_NEAR_LOSSLESS,
];

fn operate(
    to: Requested,
    sop_class: &str,
    more: Vec<Proposal>,
    request: &Command,
    query: &DataSet,
    into: &mut Into<'_>,
) -> Result<Ended, AssociationError> {
    let (mut association, context) = connect_for(Requested { proposals: more, ..to }, sop_class, Roles::USUAL)?;
    let ended = perform(&mut association, &context, request, query, into)?;
    let _ = association.release();
    Ok(ended)
}

/// The door in, for what comes by C-GET.
struct Into<'a> {
    post: &'a Post<'a>,
    from: &'a str,
    refused: Option<String>,
}

impl Receiver for Into<'_> {
    fn store(&mut self, context: &Context, request: &Command, data: &mut DataReader<'_>) -> Status {
        let (class, instance) = (request.sop_class().unwrap_or_default(), request.sop_instance().unwrap_or_default());
        let announced = Announced {
            transfer_syntax: &context.transfer_syntax,
            identity: Some((&class, &instance)),
            sender: self.from,
            kind: Kind::Original,
        };
        match self.post.shop.ingest.receive(&announced, data) {
            Ok(_) => Status::Success,
            Err(e) => {
                self.refused.get_or_insert_with(|| format!("{instance}: {e}"));
                if matches!(e, IngestError::Refused(_)) { Status::CannotUnderstand } else { Status::ProcessingFailure }
            }
        }
    }
}
