//! Fetches studies from peers: looks by rule what they have that is not here whole, then asks for it by C-MOVE or C-GET.
//!
//! Never counts a study as fetched before the peer has said that every instance was sent.

use super::send::{Post, TICK};
use crate::dicom::stamp::Kind;
use crate::dicom::{Attributes, DataSet, Uid, VR, tags, uids};
use crate::dimse::queryscu::{Ended, Receiver, Root, Service, class, perform, receiving};
use crate::dimse::{AssociationError, Command, Context, DataReader, Proposal, Requested, Roles, Status, connect_for};
use crate::ingest::{Announced, IngestError, now_ms};
use crate::outbox::{By, Pull, PullRule};
use crate::peers::Peer;
use std::collections::BTreeMap;

/// What is remembered between two looks.
#[derive(Default)]
struct Schedule {
    /// When each rule looks next, milliseconds since 1970.
    next: BTreeMap<String, i64>,
    /// How many instances a peer said to have of a study when it was asked for last: it is asked for again when that changes.
    asked: BTreeMap<(String, String), i64>,
}

/// Looks by the rules until the node stops.
pub(super) fn look_all(post: &Post<'_>) {
    let mut schedule = Schedule::default();
    while !post.is_stopping() {
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
    let to = post.call(&peer)?;
    Ok((peer, to))
}

/// What was found, and how much of it by the present question.
#[derive(Default)]
struct Found {
    studies: Vec<Attributes>,
    of_question: usize,
}

impl Receiver for Found {
    fn matched(&mut self, found: Attributes) -> bool {
        self.studies.push(found);
        self.of_question += 1;
        self.of_question < MOST
    }
}

/// Studies of one question.
const MOST: usize = 10_000;

/// Studies that the peer has, of the rule's days and modalities, and this node has not, or not all instances of.
fn missing(post: &Post<'_>, rule: &PullRule) -> Result<Vec<(String, i64)>, String> {
    let (_, to) = peer(post, &rule.from)?;
    let sop_class = class(Root::Study, Service::Find);
    let (mut association, context) = connect_for(to, sop_class, Roles::USUAL).map_err(|e| e.to_string())?;
    let modalities: Vec<&str> =
        if rule.modalities.is_empty() { vec![""] } else { rule.modalities.iter().map(String::as_str).collect() };
    let mut found = Found::default();
    let mut number = 0u16;
    for modality in modalities {
        let mut ask = |dates: &str, found: &mut Found| {
            // A message ID is never 0 (PS3.7 E.1).
            number = number % u16::MAX + 1;
            found.of_question = 0;
            let mut query = DataSet::default();
            query.put_text(tags::QUERY_RETRIEVE_LEVEL, VR::CS, "STUDY");
            query.put_text(tags::STUDY_DATE, VR::DA, dates);
            query.put_text(tags::MODALITIES_IN_STUDY, VR::CS, modality);
            query.put_text(tags::STUDY_INSTANCE_UID, VR::UI, "");
            query.put_text(tags::NUMBER_OF_STUDY_RELATED_INSTANCES, VR::IS, "");
            let request = Command::query(0x0020, number, sop_class);
            perform(&mut association, &context, &request, &query, found).map_err(|e| e.to_string())
        };
        let before = found.studies.len();
        let ended = ask(&format!("{}-", crate::ingest::china_day(rule.days)), &mut found)?;
        if ended.is_success() {
            continue;
        }
        if found.studies.len() == before {
            return Err(ended.to_string());
        }
        // It answers with so many only, or more came than are taken at once: day by day there are fewer.
        for day in (0..=rule.days).rev().take_while(|_| !post.is_stopping()) {
            let before = found.studies.len();
            let ended = ask(&crate::ingest::china_day(day), &mut found)?;
            if !ended.is_success() {
                let studies = found.studies.len() - before;
                tracing::warn!(rule = rule.name, from = rule.from, studies, %ended, "a peer does not tell all it has of a day");
            }
        }
    }
    association.leave();
    let mut missing = BTreeMap::new();
    for study in found.studies {
        // A peer that does not narrow by modality answers with all.
        let there = study.texts(tags::MODALITIES_IN_STUDY);
        let wanted = rule.modalities.is_empty() || there.is_empty() || there.iter().any(|m| rule.modalities.contains(m));
        let Some(uid) = study.text(tags::STUDY_INSTANCE_UID).and_then(|t| Uid::parse(t.trim()).ok()).filter(|_| wanted) else {
            continue;
        };
        let here = post.shop.index.study(&uid).map_err(|e| e.to_string())?.map_or(0, |row| i64::from(row.originals.1));
        let there = study.int(tags::NUMBER_OF_STUDY_RELATED_INSTANCES);
        if there.map_or(here == 0, |there| here < there) {
            missing.insert(uid.to_string(), there.unwrap_or(0));
        }
    }
    Ok(missing.into_iter().collect())
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
            operate(to, sop_class, receiving(COMPRESSED, &[]), &Command::query(0x0010, 1, sop_class), &query, &mut into)
        }
    };
    let ended = ended.map_err(|e| e.to_string())?;
    if let Some(why) = into.refused {
        return Err(format!("{ended}: {why}"));
    }
    // A warning of a sub-operation is no failure: the object is there.
    let done = ended.is_success() || (ended.status == WITH_WARNINGS && ended.progress.failed == 0);
    if !done {
        return Err(ended.to_string());
    }
    let sent = ended.progress.completed.saturating_add(ended.progress.warning);
    if sent > 0 {
        return Ok(sent);
    }
    // Counts need not be told (PS3.7 table 9.1-4): what is here then says whether something came.
    let study = Uid::parse(&pull.study).map_err(|e| e.to_string())?;
    let here = post.shop.index.study(&study).map_err(|e| e.to_string())?.map_or(0, |row| row.originals.1);
    u16::try_from(here).ok().filter(|n| *n > 0).ok_or_else(|| "the peer sent nothing".into())
}

/// Sub-operations complete, with failures or warnings.
const WITH_WARNINGS: u16 = 0xB000;

/// Taken as they are, so that nothing is decoded on the way.
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
    association.leave();
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
