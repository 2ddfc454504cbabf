//! Fetches studies of other hospitals: all objects first, then everything is verified (digests, names, mark, accreditation), then it is
//! stored as external, and forwarded if that was asked for.
//!
//! Never stores a part, never marks, and never takes what does not verify for what it says it is.

use super::Shop;
use super::assess::today;
use crate::dicom::part10::{FileMeta, read_meta};
use crate::dicom::stamp::Kind;
use crate::dicom::{Attributes, Uid, coded, tags};
use crate::exam::facts::rule_modality;
use crate::exchange::policy::{Made, recognised};
use crate::exchange::register::{EXTERNAL, Exam};
use crate::federation::find::likely;
use crate::federation::{Listed, Manifest, Remote, RemoteError, Retrieval, Retrievals, Stage};
use crate::ingest::{Announced, now_ms};
use crate::journal::Event;
use crate::mark::never_marked;
use crate::outbox::{Copies, Forward};
use crate::procedure::{Procedures, Region};
use crate::retrieve::Object;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Who is asked, and for what.
pub struct Externals {
    /// The nodes.
    pub remotes: Vec<Remote>,
    /// What is to be fetched.
    pub retrievals: Arc<Retrievals>,
    /// Where objects wait until all are there and verified.
    pub drafts: PathBuf,
    /// Longest object, bytes.
    pub longest: u64,
    /// Room that stays free on the disk, bytes.
    pub reserve: u64,
    /// Code of our own hospital.
    pub own: Option<String>,
}

/// What any connection carries, bytes a second: an object that comes slower is given up.
const SLOWEST: u64 = 20_000;
/// Time that any object may take.
const GRACE: Duration = Duration::from_secs(60);
/// Seconds that a list of objects may take.
const LISTING: Duration = Duration::from_secs(60);
/// How often due ones are looked for.
const TICK: Duration = Duration::from_millis(300);

/// Why a study is not stored.
enum Failed {
    /// Another attempt may help.
    Now(String),
    /// It would not.
    ForGood(String),
}

impl From<RemoteError> for Failed {
    fn from(error: RemoteError) -> Failed {
        match &error {
            RemoteError::Refused { status: 401 | 403 | 404 | 410 } => Failed::ForGood(error.to_string()),
            _ => Failed::Now(error.to_string()),
        }
    }
}

fn ours(error: impl std::fmt::Display) -> Failed {
    Failed::Now(format!("here: {error}"))
}

/// Nodes that are fetched from at a time.
const AT_A_TIME: usize = 4;

/// Fetches what is due until the node stops: of each node one study at a time, so that a slow one holds up nobody else.
pub(super) fn follow(shop: &Shop, stopping: &AtomicBool) {
    let Some(externals) = &shop.externals else { return };
    std::thread::scope(|scope| {
        (1..AT_A_TIME).for_each(|_| drop(scope.spawn(|| work(shop, externals, stopping))));
        work(shop, externals, stopping);
    });
}

fn work(shop: &Shop, externals: &Externals, stopping: &AtomicBool) {
    while !stopping.load(Ordering::Relaxed) {
        let Some(task) = externals.retrievals.begin(now_ms()) else {
            std::thread::sleep(TICK);
            continue;
        };
        let kept = match fetch(shop, externals, &task, stopping) {
            Ok(()) => externals.retrievals.update(&task.id, |r| (r.stage, r.last_error) = (Stage::Done, None)),
            Err(why) => {
                let (why, for_good) = match why {
                    Failed::Now(why) => (why, false),
                    Failed::ForGood(why) => (why, true),
                };
                tracing::warn!(node = task.node, study = task.study, why, "a study of another hospital is not fetched");
                externals.retrievals.update(&task.id, |r| r.failed(&why, for_good, now_ms())).and_then(|()| {
                    let given_up = externals.retrievals.get(&task.id).is_some_and(|r| r.stage == Stage::GivenUp);
                    if given_up { not_fetched(shop, &task, why) } else { Ok(()) }
                })
            }
        };
        if let Err(e) = kept {
            tracing::error!(error = %e, "the outbox cannot be written");
            std::thread::sleep(TICK * 10);
        }
    }
}

/// Who was refused what, and why, stands in the journal too.
fn not_fetched(shop: &Shop, task: &Retrieval, why: String) -> std::io::Result<()> {
    let (study, node, by) = (task.study.clone(), task.node.clone(), task.requested_by.clone());
    shop.journal.append(Event::NotFetched { study, node, by, why }, now_ms(), true)
}

fn fetch(shop: &Shop, externals: &Externals, task: &Retrieval, stopping: &AtomicBool) -> Result<(), Failed> {
    let unknown = || Failed::ForGood(format!("no [[external]] is called {}", task.node));
    let remote = externals.remotes.iter().find(|r| r.settings.name == task.node).ok_or_else(unknown)?;
    let remote = &remote.on_behalf_of(&task.on_behalf);
    let study = Uid::parse(&task.study).map_err(|e| Failed::ForGood(e.to_string()))?;
    let sender = format!("{EXTERNAL}{}", remote.settings.hospital());
    let here = shop.index.contents(&study).map_err(ours)?;
    if here.iter().flat_map(|(_, rows)| rows).any(|row| row.is_original() && row.sender != sender) {
        return Err(Failed::ForGood("the study is here already, and not from there".into()));
    }
    let update = |change: &mut dyn FnMut(&mut Retrieval)| externals.retrievals.update(&task.id, |r| change(r)).map_err(ours);
    update(&mut |r| r.stage = Stage::Fetching)?;
    let manifest = remote.manifest(&task.study, LISTING)?;
    let objects = match &manifest {
        Some(manifest) => manifest.objects.clone(),
        None => listed(remote, &task.study)?,
    };
    conflicts(shop, &objects)?;
    if objects.is_empty() {
        return Err(Failed::ForGood("it shows nothing of this study".into()));
    }
    update(&mut |r| r.total = Some(objects.len()))?;
    let folder = tempfile::Builder::new().prefix("external-").tempdir_in(&externals.drafts).map_err(ours)?;
    let mut came = Vec::with_capacity(objects.len());
    for (n, object) in objects.iter().enumerate() {
        if stopping.load(Ordering::Relaxed) {
            return Err(Failed::Now("the node stops".into()));
        }
        if shop.store.free_bytes().map_err(ours)? < externals.reserve {
            return Err(ours("the disk is full"));
        }
        let path = folder.path().join(format!("{n}.dcm"));
        came.push(take(externals, remote, &task.study, object, path, stopping)?);
        update(&mut |r| r.fetched = n + 1)?;
    }
    update(&mut |r| r.stage = Stage::Verifying)?;
    let verified = verify(shop, remote, task, manifest.as_ref(), &came)?;
    update(&mut |r| r.verified.clone_from(&verified))?;
    // What came may differ from what was listed: once more, by the bytes.
    let found: Vec<Listed> =
        came.iter().zip(&objects).map(|(c, o)| Listed { sha256: Some(c.sha256.clone()), ..o.clone() }).collect();
    conflicts(shop, &found)?;
    let event = Event::External {
        study: task.study.clone(),
        node: task.node.clone(),
        hospital: remote.settings.hospital().into(),
        by: task.requested_by.clone(),
        instances: u32::try_from(came.len()).unwrap_or(u32::MAX),
        verified,
        on_behalf: task.on_behalf.clone(),
    };
    shop.journal.append(event, now_ms(), true).map_err(ours)?;
    for object in &came {
        store(shop, object, &sender)?;
    }
    forward(shop, task, &study)
}

/// The objects of a study, as any server lists them.
fn listed(remote: &Remote, study: &str) -> Result<Vec<Listed>, Failed> {
    let rows = remote.search(&format!("/studies/{study}/instances"), &[], LISTING)?;
    let text = |row: &serde_json::Map<String, serde_json::Value>, tag: &str| {
        let value = row.get(tag)?.get("Value")?.get(0)?.as_str()?;
        Uid::parse(value).ok().map(|uid| uid.to_string())
    };
    let one = |row| Some(Listed { series: text(row, "0020000E")?, instance: text(row, "00080018")?, sha256: None });
    let all: Option<Vec<Listed>> = rows.iter().map(one).collect();
    let all = all.ok_or_else(|| Failed::ForGood("its list of objects names one without UIDs".into()))?;
    let distinct: std::collections::BTreeSet<&str> = all.iter().map(|o| o.instance.as_str()).collect();
    if distinct.len() != all.len() {
        return Err(Failed::ForGood("its list of objects names one twice".into()));
    }
    // A list that ends early must not be taken for the whole study.
    let studies = remote.search("/studies", &[("StudyInstanceUID", study)], LISTING)?;
    let stated = studies.first().and_then(|row| row.get("00201208")?.get("Value")?.get(0)?.as_u64());
    if stated.is_some_and(|stated| stated != all.len() as u64) {
        return Err(Failed::Now(format!("it lists {} objects and says that there are others", all.len())));
    }
    Ok(all)
}

/// Nothing of it may stand under a name that another object has here: a part of a study would be stored.
fn conflicts(shop: &Shop, objects: &[Listed]) -> Result<(), Failed> {
    for object in objects {
        let uid = Uid::parse(&object.instance).map_err(|e| Failed::ForGood(e.to_string()))?;
        let Some(row) = shop.index.instance(&uid).map_err(ours)? else { continue };
        if object.sha256.as_ref().is_some_and(|sha256| !sha256.eq_ignore_ascii_case(&row.sha256))
            || row.series.as_str() != object.series
        {
            return Err(Failed::ForGood(format!("{uid}: another object is stored here under its UID")));
        }
    }
    Ok(())
}

/// An object that came.
struct Came {
    path: PathBuf,
    sha256: String,
    meta: FileMeta,
    attributes: Attributes,
    /// Why an object of its kind is never marked.
    unmarkable: bool,
}

/// Takes one object and holds it against what it must be.
fn take(
    externals: &Externals,
    remote: &Remote,
    study: &str,
    listed: &Listed,
    path: PathBuf,
    stopping: &AtomicBool,
) -> Result<Came, Failed> {
    let began = Instant::now();
    let mut body = remote.object(study, &listed.series, &listed.instance)?.take(externals.longest + 1);
    let mut file = File::options().create_new(true).read(true).write(true).open(&path).map_err(ours)?;
    let broken = |e: io::Error| Failed::Now(format!("{}: it broke off ({})", listed.instance, e.kind()));
    let mut chunk = vec![0u8; 1 << 18];
    let mut length = 0u64;
    loop {
        let got = body.read(&mut chunk).map_err(broken)?;
        if got == 0 {
            break;
        }
        length += got as u64;
        if stopping.load(Ordering::Relaxed) {
            return Err(Failed::Now("the node stops".into()));
        }
        if began.elapsed() > GRACE + Duration::from_secs(length / SLOWEST) {
            return Err(Failed::Now(format!("{}: it comes too slowly", listed.instance)));
        }
        file.write_all(chunk.get(..got).unwrap_or_default()).map_err(ours)?;
    }
    if length > externals.longest {
        return Err(Failed::ForGood(format!("{}: it is longer than storage.max_object_mib", listed.instance)));
    }
    let wrong = |what: &str| Failed::ForGood(format!("{}: {what}", listed.instance));
    let meta = read_meta(BufReader::new(&file)).map_err(|e| wrong(&e.to_string()))?;
    let (_, digest) = crate::store::digest(&file, meta.data_set_at).map_err(ours)?;
    if listed.sha256.as_ref().is_some_and(|wanted| !wanted.eq_ignore_ascii_case(&digest)) {
        return Err(Failed::Now(format!("{}: its bytes are not those that the manifest names", listed.instance)));
    }
    let object = Object::read(file, &meta, 1 << 16).map_err(|e| wrong(&e.to_string()))?;
    let (attributes, unmarkable) = (Attributes::decode(&object.data_set, |_| true), never_marked(&object.data_set).is_some());
    let is = |tag, wanted: &str| attributes.text(tag).map(str::trim) == Some(wanted);
    if !is(tags::SOP_INSTANCE_UID, &listed.instance)
        || !is(tags::STUDY_INSTANCE_UID, study)
        || !is(tags::SERIES_INSTANCE_UID, &listed.series)
    {
        return Err(wrong("it is another object than was asked for"));
    }
    Ok(Came { path, sha256: digest, meta, attributes, unmarkable })
}

/// What was verified, in words; an error where something speaks against taking it.
fn verify(
    shop: &Shop,
    remote: &Remote,
    task: &Retrieval,
    manifest: Option<&Manifest>,
    came: &[Came],
) -> Result<Vec<String>, Failed> {
    let mut verified = Vec::new();
    let mut against = Vec::new();
    match manifest.map(|m| m.objects.iter().filter(|o| o.sha256.is_some()).count()) {
        Some(n) if n == came.len() => verified.push(format!("digests of all {n} objects")),
        Some(n) => against.push(format!("the manifest has digests of {n} of {} objects only", came.len())),
        None => verified.push("no digests: the server gives none".into()),
    }
    let of = |tag| -> std::collections::BTreeSet<&str> {
        came.iter().map(|c| c.attributes.text(tag).unwrap_or("").trim()).collect()
    };
    if of(tags::PATIENT_ID).len() > 1 || of(tags::PATIENT_BIRTH_DATE).len() > 1 {
        return Err(Failed::ForGood("its objects are of several patients".into()));
    }
    if let Some(wanted) = &task.patient_id {
        if of(tags::PATIENT_ID).iter().any(|id| id != wanted) {
            return Err(Failed::ForGood("it is the study of another patient than was named".into()));
        }
        verified.push("the patient's identifier".into());
    }
    if of(tags::STUDY_DATE).len() > 1 {
        against.push("its objects are of several dates".into());
    }
    let images: Vec<&Came> = came.iter().filter(|c| !c.unmarkable).collect();
    let unmarked = images.iter().filter(|c| !coded::says_marked(&c.attributes)).count();
    if unmarked == 0 && !images.is_empty() {
        verified.push(format!("the mark on all {} images", images.len()));
    } else {
        against.push(format!("{unmarked} of {} images carry no recognition mark", images.len()));
    }
    match accreditation(shop, remote, manifest, came) {
        Ok(said) => verified.push(said),
        Err(why) => against.push(why),
    }
    if against.is_empty() {
        Ok(verified)
    } else if task.unverified {
        verified.extend(against.into_iter().map(|why| format!("taken all the same: {why}")));
        Ok(verified)
    } else {
        Err(Failed::ForGood(format!("{}; ask for it with unverified to have it all the same", against.join("; "))))
    }
}

/// Whether its hospital takes part, had a valid assessment for its items on the day of the exam and was not found wanting since, and whether
/// our hospital recognises it: what its list says when it is searched, said once more when it is fetched.
fn accreditation(shop: &Shop, remote: &Remote, manifest: Option<&Manifest>, came: &[Came]) -> Result<String, String> {
    let register = shop.register.current();
    let code = remote.settings.hospital();
    if let Some(other) = manifest.map(|m| m.hospital.as_str()).filter(|h| *h != code) {
        return Err(format!("the study is of hospital {other}, not of {code}"));
    }
    let hospital = register.hospital(code).ok_or_else(|| format!("hospital {code} is not in the register"))?;
    if !hospital.is_member() {
        return Err(format!("hospital {code} takes no part any more"));
    }
    let date = came.first().and_then(|c| c.attributes.text(tags::STUDY_DATE)).unwrap_or("");
    let date: String = date.chars().filter(char::is_ascii_digit).collect();
    let (region, items) = match manifest {
        Some(manifest) => {
            let region = shop.procedures.region(&manifest.region, &manifest.edition);
            (region.ok_or_else(|| "its manifest is of a list that is not known here".to_string())?, manifest.items.clone())
        }
        // Any other server says no items: those that the study's own descriptions amount to.
        None if !hospital.is_admitted(&date) => return Err(format!("hospital {code} has no assessment that holds on {date}")),
        None => {
            let region = shop.procedures.region_for(&date);
            let region = region.ok_or_else(|| format!("no list was in force on {date}"))?;
            (region, likely_items(came, region, &shop.procedures))
        }
    };
    if items.is_empty() {
        let why =
            if manifest.is_some() { "its manifest names no item" } else { "its descriptions amount to no item of the list" };
        return Err(why.into());
    }
    for number in &items {
        let item = region.item(*number).ok_or_else(|| format!("item {number} is not on the list"))?;
        let fits =
            |c: &Came| c.attributes.text(tags::MODALITY).is_some_and(|m| item.modality.iter().any(|i| i == rule_modality(m)));
        let device = |c: &Came| c.attributes.text(tags::DEVICE_SERIAL_NUMBER).unwrap_or("").trim().to_string();
        let devices = came.iter().filter(|c| !c.unmarkable && fits(c)).map(device).collect();
        let asked = Exam { category: &item.category, item: *number, devices: Some(&devices) };
        hospital.accredited(asked, &date).map_err(|why| format!("hospital {code}, item {number}: {why:?}"))?;
        if !came.iter().any(fits) {
            return Err(format!("item {number} is of another modality than anything that came"));
        }
        let own = shop.externals.as_ref().and_then(|e| e.own.as_deref());
        let Some(ours) = own.and_then(|own| register.hospital(own)) else { continue };
        let answer = recognised(hospital, ours, region, Made { item: *number, devices: Some(&devices), on: &date }, &today());
        if answer.strength.is_none() {
            let why: Vec<&str> = answer.reasons.iter().map(|r| r.en.as_str()).collect();
            return Err(format!("item {number} is not to be recognised: {}", why.join("; ")));
        }
    }
    Ok(format!("hospital {code} is accredited for items {items:?} on {date}"))
}

/// The items that the descriptions of a study and its series amount to.
fn likely_items(came: &[Came], region: &Region, procedures: &Procedures) -> Vec<u32> {
    let images: Vec<&Came> = came.iter().filter(|c| !c.unmarkable).collect();
    let Some(first) = images.first() else { return Vec::new() };
    let mut series: BTreeMap<&str, &Attributes> = BTreeMap::new();
    for image in &images {
        series.entry(image.attributes.text(tags::SERIES_INSTANCE_UID).unwrap_or("")).or_insert(&image.attributes);
    }
    let series: Vec<Attributes> = series.into_values().cloned().collect();
    let Some(study) = first.attributes.text(tags::STUDY_INSTANCE_UID).and_then(|uid| Uid::parse(uid).ok()) else {
        return Vec::new();
    };
    likely(&study, &first.attributes, &series, region, procedures)
}

fn store(shop: &Shop, object: &Came, sender: &str) -> Result<(), Failed> {
    let file = File::open(&object.path).map_err(ours)?;
    let mut reader = BufReader::with_capacity(1 << 18, &file);
    reader.seek(SeekFrom::Start(object.meta.data_set_at)).map_err(ours)?;
    let announced = Announced { transfer_syntax: &object.meta.transfer_syntax, identity: None, sender, kind: Kind::Original };
    shop.ingest.receive(&announced, &mut reader).map_err(ours)?;
    Ok(())
}

fn forward(shop: &Shop, task: &Retrieval, study: &Uid) -> Result<(), Failed> {
    let (Some(to), Some(sending)) = (&task.forward_to, &shop.sending) else { return Ok(()) };
    let row = shop.index.study(study).map_err(ours)?;
    let row = row.ok_or_else(|| ours("the study is gone again"))?;
    let forward = Forward::new("external", to, study.as_str(), row.revision, Copies::Originals, now_ms());
    sending.outbox.add(forward).map_err(ours)
}
