//! `hutong mark`: marked copies of files, without a node. Judges nothing: whoever names the files answers for them.

use super::wire::bar;
use super::{Common, files, own_program};
use anyhow::Context;
use hutong::codec::{Limits, Pool};
use hutong::config::CopySyntax;
use hutong::dicom::part10::{Meta, read_meta};
use hutong::dicom::{DataSet, Tag, Uid, tags, uids};
use hutong::mark::derive::{Source, instance_uid, is_marked};
use hutong::mark::{Form, gsps, never_marked};
use hutong::node::procedures;
use hutong::procedure::Mark as Text;
use hutong::procedure::catalogue::Region;
use hutong::retrieve::{Object, marked};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Marks files.
#[derive(clap::Args)]
pub struct Mark {
    #[command(flatten)]
    common: Common,
    /// 文件或文件夹 Files or folders
    #[arg(required = true, value_name = "IN")]
    paths: Vec<PathBuf>,
    /// 输出文件夹 Folder for the copies; names and subfolders stay
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// 互认区域 Region and edition, e.g. yubei-2023
    #[arg(long)]
    region: String,
    /// 传输语法 Transfer syntax of the copies; without it that of the configuration
    #[arg(long, value_enum)]
    transfer_syntax: Option<CopySyntax>,
    /// 标注方式 burnt: into the pixels; overlay: an overlay plane; gsps: a presentation state for each series, beside the images
    #[arg(long, value_enum, default_value_t = Way::Burnt)]
    form: Way,
    /// 包括定位像、二次采集等 Also localizers, secondary captures and the like, which are never marked otherwise
    #[arg(long)]
    any_image: bool,
    /// 机器可读 What became of each file, as JSON
    #[arg(long)]
    json: bool,
}

/// How the mark is put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Way {
    Burnt,
    Overlay,
    Gsps,
}

/// What became of a file.
enum Done {
    Marked { out: PathBuf, transfer_syntax: String },
    Noted(Box<gsps::Image>),
    Skipped(String),
    Failed(String),
}

impl Mark {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let config = self.common.load()?;
        let known = procedures(config.procedures.root.as_deref())?;
        let region = region(&known.regions, &self.region)?;
        anyhow::ensure!(region.mark.is_burnt(), "{}: this region puts its mark in lists, not into images", self.region);
        let output = self.transfer_syntax.unwrap_or(config.mark.transfer_syntax).uid();
        let limits = Limits {
            workers: std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get),
            memory_mib: config.codec.memory_mib,
            time: Duration::from_secs(config.codec.seconds),
        };
        let job =
            Job { mark: &region.mark, output, way: self.form, any: self.any_image, pool: Pool::new(own_program()?, limits) };
        let all = self.targets()?;
        anyhow::ensure!(!all.is_empty(), "there is no file to mark");
        let done = run(&job, &all, !self.json);
        let states = if self.form == Way::Gsps { write_states(&region.mark, &done, &self.out)? } else { 0 };
        Ok(self.report(&done, states))
    }

    /// Each file with the place of its copy.
    fn targets(&self) -> anyhow::Result<Vec<(PathBuf, PathBuf)>> {
        let mut all = Vec::new();
        for path in &self.paths {
            for file in files::below(std::slice::from_ref(path))? {
                let inside = file.strip_prefix(path).ok().filter(|p| !p.as_os_str().is_empty());
                let name = inside.map(Path::to_path_buf).or_else(|| file.file_name().map(PathBuf::from)).unwrap_or_default();
                all.push((file, self.out.join(name)));
            }
        }
        all.sort();
        let inputs: std::collections::BTreeSet<PathBuf> = all.iter().filter_map(|(file, _)| file.canonicalize().ok()).collect();
        if let Some((_, out)) = all.iter().find(|(_, out)| out.canonicalize().is_ok_and(|o| inputs.contains(&o))) {
            anyhow::bail!("{}: a copy would be written over a source; choose another --out", out.display());
        }
        let mut names: Vec<&PathBuf> = all.iter().map(|(_, out)| out).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|w| w.first() == w.get(1)).and_then(<[_]>::first) {
            anyhow::bail!("{}: two files would be written there; mark their folders one by one", twice.display());
        }
        Ok(all)
    }

    fn report(&self, done: &[(PathBuf, Done)], states: usize) -> ExitCode {
        let failed = done.iter().filter(|(_, d)| matches!(d, Done::Failed(_))).count();
        if self.json {
            let rows: Vec<_> = done.iter().map(|(file, done)| json(file, done)).collect();
            println!("{}", serde_json::json!({"files": rows, "presentation_states": states}));
        } else {
            for (file, done) in done {
                match done {
                    Done::Skipped(why) => eprintln!("{}: 未标注 not marked: {why}", file.display()),
                    Done::Failed(why) => eprintln!("{}: 失败 failed: {why}", file.display()),
                    Done::Marked { .. } | Done::Noted(_) => {}
                }
            }
            let marked = done.iter().filter(|(_, d)| matches!(d, Done::Marked { .. } | Done::Noted(_))).count();
            println!("已标注 {marked} / {}  {marked} of {} files marked", done.len(), done.len());
            println!(
                "未做互认判定，由指定文件者负责  nothing was judged (hutong check does that): whoever named the files answers for them"
            );
        }
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn json(file: &Path, done: &Done) -> serde_json::Value {
    match done {
        Done::Marked { out, transfer_syntax } => {
            serde_json::json!({"file": file, "outcome": "marked", "out": out, "transfer_syntax": transfer_syntax})
        }
        Done::Noted(_) => serde_json::json!({"file": file, "outcome": "marked"}),
        Done::Skipped(why) => serde_json::json!({"file": file, "outcome": "skipped", "why": why}),
        Done::Failed(why) => serde_json::json!({"file": file, "outcome": "failed", "why": why}),
    }
}

/// The edition that a name such as `yubei-2023` begins: its folder's name.
pub(super) fn region<'a>(regions: &'a [Region], name: &str) -> anyhow::Result<&'a Region> {
    let full = |r: &Region| format!("{}-{}", r.code, r.edition);
    let matching: Vec<&Region> =
        regions.iter().filter(|r| full(r) == name || r.code == name || full(r).starts_with(&format!("{name}-"))).collect();
    match matching.as_slice() {
        [one] => Ok(one),
        [] => {
            let known: Vec<String> = regions.iter().map(full).collect();
            anyhow::bail!("--region {name}: no such region; there are {}", known.join(", "))
        }
        several => {
            let names: Vec<String> = several.iter().map(|r| full(r)).collect();
            anyhow::bail!("--region {name}: which edition? {}", names.join(", "))
        }
    }
}

/// What every file is marked with.
struct Job<'a> {
    mark: &'a Text,
    output: &'static str,
    way: Way,
    any: bool,
    pool: Pool,
}

fn run(job: &Job<'_>, all: &[(PathBuf, PathBuf)], show: bool) -> Vec<(PathBuf, Done)> {
    let bar = if show { bar(all.len() as u64) } else { indicatif::ProgressBar::hidden() };
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((file, out)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let one = one(job, file, out).unwrap_or_else(|e| Done::Failed(format!("{e:#}")));
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((file.clone(), one));
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by(|a, b| a.0.cmp(&b.0));
    done
}

/// Longest value that is carried over, pixel data apart, bytes.
const VALUE_LIMIT: u64 = 1 << 28;

fn one(job: &Job<'_>, file: &Path, out: &Path) -> anyhow::Result<Done> {
    let mut reader = BufReader::new(File::open(file)?);
    let read = read_meta(&mut reader)?;
    let object = Object::read(File::open(file)?, &read, VALUE_LIMIT)?;
    if is_marked(&object.data_set) {
        return Ok(Done::Skipped("it carries a recognition mark already".into()));
    }
    if object.is_cut_off() {
        anyhow::bail!("its pixel data (7FE0,0010) are cut off: the file is not whole; get it again");
    }
    if let Some(why) = never_marked(&object.data_set).filter(|_| !job.any || object.data_set.get(tags::PIXEL_DATA).is_none()) {
        return Ok(Done::Skipped(why.into()));
    }
    let (_, sha256) = hutong::store::digest(&mut reader, read.data_set_at)?;
    let own = uid(&object.data_set, tags::SOP_INSTANCE_UID).ok();
    let (named, sop_instance) = (own.is_some(), own.unwrap_or_else(|| Uid::derived(&["unnamed file", &sha256])));
    let series = uid(&object.data_set, tags::SERIES_INSTANCE_UID);
    let series = series.unwrap_or_else(|_| Uid::derived(&["series of an unnamed file", sop_instance.as_str()]));
    let sop_class = object.data_set.text(tags::SOP_CLASS_UID).unwrap_or_default();
    let source =
        Source { sop_class: &sop_class, sop_instance: &sop_instance, named, series: &series, sha256: &sha256, lost: None };
    let form = match job.way {
        Way::Burnt => Form::Burnt,
        Way::Overlay => Form::Overlay,
        Way::Gsps => return Ok(Done::Noted(Box::new(gsps::Image::of(&object.data_set, job.mark)?))),
    };
    let head = |transfer_syntax: &str| {
        let meta = Meta {
            sop_class: sop_class.clone(),
            sop_instance: instance_uid(&source, job.mark, form),
            transfer_syntax: transfer_syntax.into(),
            sending_aet: String::new(),
            receiving_aet: String::new(),
        };
        meta.to_plain_bytes()
    };
    let make = |object: Object, output: &'static str| -> anyhow::Result<&'static str> {
        let mut copy = marked(object, source.clone(), job.mark, form, output, &job.pool)?;
        write(out, &head(copy.transfer_syntax), &mut copy)?;
        Ok(copy.transfer_syntax)
    };
    let written = match make(object, job.output) {
        // A later frame that the wanted syntax cannot hold: the whole copy without compression.
        Err(_) if job.output != uids::EXPLICIT_VR_LITTLE_ENDIAN => {
            make(Object::read(File::open(file)?, &read, VALUE_LIMIT)?, uids::EXPLICIT_VR_LITTLE_ENDIAN)?
        }
        other => other?,
    };
    Ok(Done::Marked { out: out.to_path_buf(), transfer_syntax: written.into() })
}

fn uid(data_set: &DataSet, tag: Tag) -> anyhow::Result<Uid> {
    let text = data_set.text(tag).with_context(|| format!("{tag} is missing"))?;
    Uid::parse(&text).map_err(|e| anyhow::anyhow!("{tag}: {e}"))
}

/// Whole or not at all: under another name until it is complete.
fn write(out: &Path, head: &[u8], body: &mut impl Read) -> anyhow::Result<()> {
    let folder = out.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(|| folder.display().to_string())?;
    file.write_all(head)?;
    io::copy(body, &mut file)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(file.path(), mode)?;
    file.persist(out).with_context(|| out.display().to_string())?;
    Ok(())
}

/// A presentation state for each series.
fn write_states(mark: &Text, done: &[(PathBuf, Done)], out: &Path) -> anyhow::Result<usize> {
    let mut by_series: BTreeMap<(Uid, String), Vec<&gsps::Image>> = BTreeMap::new();
    for (_, done) in done {
        if let Done::Noted(image) = done {
            by_series.entry((image.series.clone(), image.presentation())).or_default().push(image);
        }
    }
    for images in by_series.values() {
        let (date, time) = gsps::written(images);
        let state = gsps::presentation(mark, images, (&date, &time));
        let mut body = Vec::new();
        state.write_explicit(&mut body);
        let meta = Meta {
            sop_class: state.text(tags::SOP_CLASS_UID).unwrap_or_default(),
            sop_instance: uid(&state, tags::SOP_INSTANCE_UID)?,
            transfer_syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN.into(),
            sending_aet: String::new(),
            receiving_aet: String::new(),
        };
        let name = out.join(format!("{}.dcm", meta.sop_instance));
        write(&name, &meta.to_plain_bytes(), &mut io::Cursor::new(body))?;
    }
    Ok(by_series.len())
}
