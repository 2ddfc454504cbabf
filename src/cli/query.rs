//! `hutong find`, `hutong move` and `hutong get`.

use super::table;
use super::wire::{Peer, bar};
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use hutong::dicom::attributes::{Decoded, bytes_of};
use hutong::dicom::dataset::dictionary_vr;
use hutong::dicom::part10::Meta;
use hutong::dicom::{Attributes, DataSet, Tag, Uid, VR, Value, json, tags, uids};
use hutong::dimse::queryscu::{Ended, Receiver, Root, Service, class, perform, receiving};
use hutong::dimse::{Association, Command, Context, DataReader, Progress, Proposal, Roles, Status, connect_for};
use hutong::index::matching::legal;
use indicatif::ProgressBar;
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Clone, Copy, ValueEnum)]
enum Level {
    Patient,
    Study,
    Series,
    Image,
}

impl Level {
    fn term(self) -> &'static str {
        match self {
            Level::Patient => "PATIENT",
            Level::Study => "STUDY",
            Level::Series => "SERIES",
            Level::Image => "IMAGE",
        }
    }
}

/// What to look for.
#[derive(Args)]
struct Wanted {
    /// 层级 Level; without it the lowest one that a UID is given for
    #[arg(long, value_enum)]
    level: Option<Level>,
    /// 患者根 Use the Patient Root information model instead of Study Root
    #[arg(long)]
    patient_root: bool,
    /// 患者号 Patient ID
    #[arg(long)]
    patient: Option<String>,
    /// 姓名 Patient's Name, e.g. '王*'
    #[arg(long)]
    name: Option<String>,
    /// 检查号 Accession Number
    #[arg(long)]
    accession: Option<String>,
    /// 检查日期 Study Date or range, e.g. 20260101-20260131
    #[arg(long)]
    date: Option<String>,
    /// 设备类型 Modalities in Study
    #[arg(long)]
    modality: Option<String>,
    /// 检查 Study Instance UID
    #[arg(long)]
    study: Option<String>,
    /// 序列 Series Instance UID
    #[arg(long)]
    series: Option<String>,
    /// 图像 SOP Instance UID
    #[arg(long)]
    instance: Option<String>,
    /// 其他键 Any other key: Keyword=value, ggggeeee=value, Sequence.Keyword=value; without a value it is only returned
    #[arg(short, long = "key", value_name = "KEY[=VALUE]")]
    keys: Vec<String>,
}

impl Wanted {
    fn level(&self) -> Level {
        let lowest = match () {
            () if self.instance.is_some() => Level::Image,
            () if self.series.is_some() => Level::Series,
            () if self.patient_root && self.study.is_none() && self.patient.is_some() => Level::Patient,
            () => Level::Study,
        };
        self.level.unwrap_or(lowest)
    }

    fn root(&self) -> Root {
        if self.patient_root || matches!(self.level(), Level::Patient) { Root::Patient } else { Root::Study }
    }

    fn named(&self) -> [(Tag, &Option<String>); 8] {
        [
            (tags::PATIENT_ID, &self.patient),
            (tags::PATIENT_NAME, &self.name),
            (tags::ACCESSION_NUMBER, &self.accession),
            (tags::STUDY_DATE, &self.date),
            (tags::MODALITIES_IN_STUDY, &self.modality),
            (tags::STUDY_INSTANCE_UID, &self.study),
            (tags::SERIES_INSTANCE_UID, &self.series),
            (tags::SOP_INSTANCE_UID, &self.instance),
        ]
    }

    /// The identifier, with what is to be returned besides.
    fn identifier(&self, returned: &[Tag]) -> anyhow::Result<DataSet> {
        let mut query = DataSet::default();
        query.put_text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
        query.put_text(tags::QUERY_RETRIEVE_LEVEL, VR::CS, self.level().term());
        for tag in returned {
            put(&mut query, *tag, "")?;
        }
        for (tag, value) in self.named() {
            if let Some(value) = value {
                legal(dictionary_vr(tag), value).map_err(|why| anyhow::anyhow!("{}: {value:?}: {why}", json::keyword(tag)))?;
                put(&mut query, tag, value)?;
            }
        }
        for key in &self.keys {
            let (path, value) = key.split_once('=').unwrap_or((key, ""));
            let tag = |name: &str| json::named(name).with_context(|| format!("{name}: no attribute is called so"));
            match path.split_once('.') {
                None => put(&mut query, tag(path)?, value)?,
                Some((outer, inner)) => {
                    let outer = tag(outer)?;
                    let mut item = query.items(outer).first().cloned().unwrap_or_default();
                    put(&mut item, tag(inner)?, value)?;
                    query.put(outer, VR::SQ, Value::Items(vec![item]));
                }
            }
        }
        Ok(query)
    }

    /// The identifier of a retrieval, which takes unique keys only (PS3.4 C.4.2.1.4): studies that are named otherwise are looked for first.
    fn retrieval(&self, peer: &Peer) -> anyhow::Result<DataSet> {
        let named = self.named().iter().any(|(_, value)| value.as_ref().is_some_and(|v| !v.is_empty()));
        let keyed = self.keys.iter().any(|key| key.split_once('=').is_some_and(|(_, value)| !value.is_empty()));
        anyhow::ensure!(named || keyed, "which studies? give --study, --patient, --accession, --date, --name or another key");
        let is_patient = matches!(self.level(), Level::Patient);
        if is_patient || self.study.is_some() || self.series.is_some() || self.instance.is_some() {
            return self.identifier(&[]);
        }
        let sop_class = class(self.root(), Service::Find);
        let (mut association, context) = call(peer, sop_class, vec![])?;
        let mut matches = Matches { found: Vec::new(), limit: usize::MAX };
        let query = self.identifier(&[tags::STUDY_INSTANCE_UID])?;
        let ended = perform(&mut association, &context, &Command::query(0x0020, 1, sop_class), &query, &mut matches)?;
        association.leave();
        anyhow::ensure!(ended.is_success(), "the peer cannot be asked which studies these are: {ended}");
        let studies: Vec<&str> = matches.found.iter().filter_map(|m| m.text(tags::STUDY_INSTANCE_UID)).collect();
        anyhow::ensure!(!studies.is_empty(), "the peer has no such study");
        let mut query = DataSet::default();
        query.put_text(tags::QUERY_RETRIEVE_LEVEL, VR::CS, Level::Study.term());
        query.put_text(tags::STUDY_INSTANCE_UID, VR::UI, &studies.join("\\"));
        Ok(query)
    }
}

fn put(query: &mut DataSet, tag: Tag, value: &str) -> anyhow::Result<()> {
    let vr = dictionary_vr(tag);
    let texts: Vec<String> = if value.is_empty() { vec![] } else { value.split('\\').map(str::to_string).collect() };
    match bytes_of(vr, &texts) {
        Some(bytes) => {
            let bytes = bytes.map_err(|wrong| anyhow::anyhow!("{tag}: {wrong:?} is no value of {vr}"))?;
            query.put(tag, vr, Value::Bytes(bytes));
        }
        None if vr == VR::SQ => query.put(tag, vr, Value::Items(vec![])),
        None => query.put_text(tag, vr, value),
    }
    Ok(())
}

/// What is shown of matches when nothing else is asked for.
fn usual(level: Level) -> &'static [Tag] {
    match level {
        Level::Patient => &[tags::PATIENT_ID, tags::PATIENT_NAME, tags::PATIENT_BIRTH_DATE, tags::PATIENT_SEX],
        Level::Study => &[
            tags::PATIENT_ID,
            tags::PATIENT_NAME,
            tags::STUDY_DATE,
            tags::MODALITIES_IN_STUDY,
            tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
            tags::ACCESSION_NUMBER,
            tags::STUDY_DESCRIPTION,
            tags::STUDY_INSTANCE_UID,
        ],
        Level::Series => &[
            tags::SERIES_NUMBER,
            tags::MODALITY,
            tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
            tags::SERIES_DESCRIPTION,
            tags::SERIES_INSTANCE_UID,
        ],
        Level::Image => &[tags::INSTANCE_NUMBER, tags::SOP_CLASS_UID, tags::SOP_INSTANCE_UID],
    }
}

/// Connects for one service; `more` is proposed besides.
pub fn call(peer: &Peer, sop_class: &str, more: Vec<Proposal>) -> anyhow::Result<(Association, Context)> {
    Ok(connect_for(peer.request(more)?, sop_class, Roles::USUAL)?)
}

/// C-FIND.
#[derive(Args)]
pub struct Find {
    #[command(flatten)]
    peer: Peer,
    #[command(flatten)]
    wanted: Wanted,
    /// 最多条数 Stop after so many matches
    #[arg(long)]
    limit: Option<usize>,
    /// 机器可读 Matches as DICOM JSON
    #[arg(long)]
    json: bool,
}

struct Matches {
    found: Vec<Attributes>,
    limit: usize,
}

impl Receiver for Matches {
    fn matched(&mut self, found: Attributes) -> bool {
        if self.found.len() < self.limit {
            self.found.push(found);
        }
        self.found.len() < self.limit
    }
}

impl Find {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let level = self.wanted.level();
        let query = self.wanted.identifier(usual(level))?;
        let sop_class = class(self.wanted.root(), Service::Find);
        let (mut association, context) = call(&self.peer, sop_class, vec![])?;
        let mut matches = Matches { found: Vec::new(), limit: self.limit.unwrap_or(usize::MAX) };
        let request = Command::query(0x0020, 1, sop_class);
        let ended = perform(&mut association, &context, &request, &query, &mut matches)?;
        association.leave();
        if self.json {
            let all: Vec<_> = matches.found.iter().map(json::of_attributes).collect();
            println!("{}", serde_json::to_string_pretty(&all)?);
        } else {
            print(&query, level, &matches.found);
        }
        // Cancelled by us it ends so; a peer that gives no more than we want has not failed us either.
        let enough = self.limit.is_some_and(|limit| matches.found.len() >= limit);
        let cut = self.limit.is_some() && (ended.status == 0xFE00 || (ended.status == 0xA700 && enough));
        anyhow::ensure!(ended.is_success() || cut, "the peer answered with {ended}");
        Ok(ExitCode::SUCCESS)
    }
}

fn print(query: &DataSet, level: Level, found: &[Attributes]) {
    let hidden = [tags::SPECIFIC_CHARACTER_SET, tags::QUERY_RETRIEVE_LEVEL];
    let asked = query.elements.iter().map(|e| e.tag).filter(|t| !hidden.contains(t) && !usual(level).contains(t));
    let columns: Vec<Tag> = asked.chain(usual(level).iter().copied()).collect();
    let cell = |attributes: &Attributes, tag: Tag| {
        let value = attributes.iter().find(|(t, ..)| *t == tag);
        match value {
            Some((_, _, Decoded::Texts(texts))) => texts.join("\\"),
            Some((_, _, Decoded::Items(items))) => format!("{} items", items.len()),
            None => String::new(),
        }
    };
    let rows: Vec<Vec<String>> = found.iter().map(|a| columns.iter().map(|tag| cell(a, *tag)).collect()).collect();
    let head: Vec<String> = columns.iter().map(|tag| json::keyword(*tag)).collect();
    table::print(&head.iter().map(String::as_str).collect::<Vec<_>>(), &rows);
    println!("{} 条 matches", found.len());
}

/// C-MOVE.
#[derive(Args)]
pub struct Move {
    #[command(flatten)]
    peer: Peer,
    #[command(flatten)]
    wanted: Wanted,
    /// 目的地 AE Title that the peer shall send to
    #[arg(long, value_name = "AE")]
    to: String,
    /// 机器可读 The counts as JSON
    #[arg(long)]
    json: bool,
}

struct Shown(ProgressBar);

impl Receiver for Shown {
    fn progress(&mut self, progress: Progress) -> bool {
        show(&self.0, progress);
        true
    }
}

fn show(bar: &ProgressBar, progress: Progress) {
    let done = u64::from(progress.completed) + u64::from(progress.failed) + u64::from(progress.warning);
    bar.set_length(done + u64::from(progress.remaining));
    bar.set_position(done);
}

/// Says how a retrieval went; whether all came.
fn conclude(ended: &Ended, as_json: bool) -> ExitCode {
    let Progress { completed, failed, warning, .. } = ended.progress;
    if as_json {
        let status = format!("{:04X}", ended.status);
        println!(
            "{}",
            json!({"status": status, "comment": ended.comment, "completed": completed, "failed": failed, "warning": warning,
                   "failed_instances": ended.failed})
        );
    } else {
        println!(
            "完成 {completed}，失败 {failed}，警告 {warning}  {completed} completed, {failed} failed, {warning} with a warning"
        );
        if !ended.is_success() {
            eprintln!("{ended}");
            ended.failed.iter().for_each(|uid| eprintln!("  {uid}"));
        }
    }
    // Nothing to retrieve is not what was asked for.
    let nothing = completed == 0 && warning == 0;
    if nothing && ended.is_success() {
        eprintln!("对方没有这些图像  the peer has no such images");
    }
    if ended.is_success() && !nothing { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Move {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let query = self.wanted.retrieval(&self.peer)?;
        let sop_class = class(self.wanted.root(), Service::Move);
        let (mut association, context) = call(&self.peer, sop_class, vec![])?;
        let bar = if self.json { ProgressBar::hidden() } else { bar(0) };
        let request = Command::move_request(1, sop_class, &self.to);
        let ended = perform(&mut association, &context, &request, &query, &mut Shown(bar.clone()));
        bar.finish_and_clear();
        let ended = ended?;
        association.leave();
        Ok(conclude(&ended, self.json))
    }
}

/// C-GET.
#[derive(Args)]
pub struct Get {
    #[command(flatten)]
    peer: Peer,
    #[command(flatten)]
    wanted: Wanted,
    /// 输出文件夹 Folder to write to
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// SOP 类 SOP classes to take besides the usual ones (at most 127 contexts in all)
    #[arg(long = "class", value_name = "UID")]
    classes: Vec<String>,
    /// 机器可读 The counts as JSON
    #[arg(long)]
    json: bool,
}

/// Compressed syntaxes that are taken as they are; native is taken besides, so that nothing is lost when the peer has another one.
const COMPRESSED: &[&str] = &[uids::JPEG_LOSSLESS_SV1, uids::JPEGLS_LOSSLESS, uids::JPEG2000_LOSSLESS];

impl Get {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let query = self.wanted.retrieval(&self.peer)?;
        let sop_class = class(self.wanted.root(), Service::Get);
        let more = receiving(COMPRESSED, &self.classes);
        let (mut association, context) = call(&self.peer, sop_class, more)?;
        std::fs::create_dir_all(&self.out).with_context(|| self.out.display().to_string())?;
        let bar = if self.json { ProgressBar::hidden() } else { bar(0) };
        let mut folder = Folder { out: &self.out, bar: bar.clone(), fault: None };
        let request = Command::query(0x0010, 1, sop_class);
        let ended = perform(&mut association, &context, &request, &query, &mut folder);
        bar.finish_and_clear();
        if let Some(fault) = folder.fault {
            eprintln!("{fault}");
        }
        let ended = ended?;
        association.leave();
        Ok(conclude(&ended, self.json))
    }
}

/// Writes what comes as files of PS3.10.
struct Folder<'a> {
    out: &'a Path,
    bar: ProgressBar,
    fault: Option<String>,
}

impl Receiver for Folder<'_> {
    fn progress(&mut self, progress: Progress) -> bool {
        show(&self.bar, progress);
        true
    }

    fn store(&mut self, context: &Context, request: &Command, data: &mut DataReader<'_>) -> Status {
        match self.write(context, request, data) {
            Ok(()) => Status::Success,
            Err(e) => {
                self.fault.get_or_insert_with(|| format!("{e:#}"));
                Status::OutOfResources
            }
        }
    }
}

impl Folder<'_> {
    fn write(&self, context: &Context, request: &Command, data: &mut DataReader<'_>) -> anyhow::Result<()> {
        let instance = Uid::parse(&request.sop_instance().unwrap_or_default())?;
        let meta = Meta {
            sop_class: request.sop_class().unwrap_or_default(),
            sop_instance: instance.clone(),
            transfer_syntax: context.transfer_syntax.clone(),
            sending_aet: String::new(),
            receiving_aet: String::new(),
        };
        // Whole, or not under its name.
        let draft = self.out.join(format!("{instance}.part"));
        let mut file = File::create(&draft).with_context(|| draft.display().to_string())?;
        file.write_all(&meta.to_plain_bytes())?;
        std::io::copy(data, &mut file)?;
        let path = self.out.join(format!("{instance}.dcm"));
        std::fs::rename(&draft, &path).with_context(|| path.display().to_string())
    }
}
