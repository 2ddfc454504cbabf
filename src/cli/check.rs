//! `hutong check`: what a node would say of files, without a node: items, verdict and findings, study by study.
//!
//! The files go through the node's own door into a temporary data root, and are judged by the node's own code; nothing is kept.

use super::wire::bar;
use super::{Common, explain, files, own_folder, own_program, register_of_one};
use anyhow::Context;
use hutong::codec::{Limits, Pool};
use hutong::dicom::Uid;
use hutong::exam::finding::{Finding, Level};
use hutong::exam::verdict::{Outcome, Verdict};
use hutong::exchange::live::LiveRegister;
use hutong::exchange::register::Register;
use hutong::index::{Index, Query, StudyRow, View};
use hutong::ingest::{Ingest, IngestError, Outcome as Taken, Refused, Settings};
use hutong::journal::Journal;
use hutong::node::{open_data, procedures};
use hutong::report::{Input, page};
use hutong::work::{Scope, Shop, assess, exam_date, today};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Judges files offline.
#[derive(clap::Args)]
pub struct Check {
    #[command(flatten)]
    common: Common,
    /// 文件或文件夹 Files or folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// 报告文件夹 Write each study's quality report into this folder, as STUDY-UID.html
    #[arg(long, value_name = "FOLDER")]
    html: Option<PathBuf>,
    /// 机器可读 Items, verdict and findings of each study as JSON
    #[arg(long)]
    json: bool,
}

/// What is found at the door, by study: a file that is refused is a finding about its study.
type AtTheDoor = BTreeMap<Option<Uid>, Vec<(String, Finding)>>;

impl Check {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let mut config = self.common.load()?;
        let paths = files::below(&self.paths)?;
        let place = own_folder()?;
        let register = match &config.exchange.register {
            Some(path) => std::fs::read_to_string(path).with_context(|| path.display().to_string())?,
            // The files' hospital is taken as accredited: the question is what the images are worth.
            None => register_of_one("CHECK", "未核对 not checked"),
        };
        let checked = config.exchange.register.is_some();
        config.storage.root = place.path().join("storage");
        let data = open_data(&config)?;
        let settings = Settings {
            aet: "CHECK".into(),
            reserve_bytes: 0,
            max_object_mib: config.storage.max_object_mib,
            quiet_period: Duration::from_secs(86_400),
        };
        let index: Arc<dyn Index> = data.index.clone();
        let ingest = Arc::new(Ingest::start(data.store.clone(), index.clone(), settings, None)?);
        let door = take(&ingest, &paths, !self.json);
        let limits =
            Limits { workers: threads(), memory_mib: config.codec.memory_mib, time: Duration::from_secs(config.codec.seconds) };
        let shop = Shop {
            store: data.store,
            index,
            ingest: ingest.clone(),
            pool: Arc::new(Pool::new(own_program()?, limits)),
            procedures: Arc::new(procedures(config.procedures.root.as_deref())?),
            register: Arc::new(LiveRegister::fixed(Register::parse(&register).map_err(anyhow::Error::msg)?)),
            journal: Arc::new(Journal::open(&place.path().join("journal.jsonl"))?),
            output: config.mark.transfer_syntax.uid(),
            sending: None,
            externals: None,
        };
        let judged = judge(&shop, &door, !self.json)?;
        if let Some(folder) = &self.html {
            write_reports(&shop, &judged, folder)?;
        }
        ingest.stop();
        if self.json {
            println!("{}", serde_json::to_string_pretty(&json(&judged, &door, checked))?);
        } else {
            print(&judged, &door, checked);
        }
        let good = judged.iter().all(|j| j.verdict.outcome == Outcome::Accept)
            && !door.values().flatten().any(|(_, f)| f.level >= Level::Review);
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// A study and what it was judged to be.
struct Judged {
    study: StudyRow,
    verdict: Verdict,
    /// No list was in force on the exam date; the present one was taken.
    edition_assumed: bool,
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get)
}

/// Takes every file in, several at a time: they share the syncs.
fn take(ingest: &Ingest, paths: &[PathBuf], show: bool) -> AtTheDoor {
    let bar = if show { bar(paths.len() as u64) } else { indicatif::ProgressBar::hidden() };
    let next = AtomicUsize::new(0);
    let found = std::sync::Mutex::new(AtTheDoor::new());
    std::thread::scope(|scope| {
        for _ in 0..threads() * 4 {
            scope.spawn(|| {
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    bar.inc(1);
                    let Some((study, finding)) = take_one(ingest, path) else { continue };
                    let name = path.display().to_string();
                    found
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .entry(study)
                        .or_default()
                        .push((name, finding));
                }
            });
        }
    });
    bar.finish_and_clear();
    found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// G-01, G-04, G-05: what the door says of one file; none when it is taken.
fn take_one(ingest: &Ingest, path: &std::path::Path) -> Option<(Option<Uid>, Finding)> {
    let unreadable = |e| Err(IngestError::Failed(hutong::ingest::Failed::Stream(e)));
    let taken = std::fs::File::open(path).map_or_else(unreadable, |mut file| ingest.receive_file("CHECK", None, &mut file));
    match taken {
        Ok(stored) if stored.outcome == Taken::Same => {
            let finding =
                Finding::new("G-04", Level::Info, "同一图像重复出现，内容相同", "the same image twice, with the same content");
            Some((Some(stored.key.study.clone()), finding.at(&stored.key.sop_instance)))
        }
        Ok(stored) => {
            let named = files::named_by_header(path)?;
            (named != stored.key.sop_instance.as_str()).then(|| {
                let zh = "文件头的 SOP Instance UID（0002,0003）与图像的（0008,0018）不同，请由来源改正";
                let en = "the file's header names another SOP Instance UID (0002,0003) than its object (0008,0018); mend it at the source";
                (Some(stored.key.study.clone()), Finding::new("G-01", Level::Warn, zh, en).at(&stored.key.sop_instance))
            })
        }
        Err(IngestError::Refused(Refused::Conflict(key, _))) => {
            let finding = Finding::new(
                "G-05",
                Level::Reject,
                "两幅图像的 SOP Instance UID 相同而内容不同，请由来源改正",
                "two images share a SOP Instance UID and differ; mend it at the source",
            );
            Some((Some(key.study.clone()), finding.at(&key.sop_instance)))
        }
        Err(why) => {
            let finding = Finding::new(
                "G-01",
                Level::Reject,
                format!("文件无法读取或已损坏，请由来源重新导出并发送（{why}）"),
                format!("the file cannot be read or is damaged: {why}; export it again at the source and send it"),
            );
            Some((files::study_of(path), finding))
        }
    }
}

fn judge(shop: &Shop, door: &AtTheDoor, show: bool) -> anyhow::Result<Vec<Judged>> {
    let all = Query::all(View::House);
    let studies = shop.index.studies(&all)?.rows;
    let bar = if show { bar(studies.len() as u64) } else { indicatif::ProgressBar::hidden() };
    let mut judged = Vec::new();
    let scope = Scope { everything: true, otherwise: Some(today()) };
    for study in studies {
        let contents = shop.index.contents(&study.study)?;
        let verdict = assess(shop, &study, &contents, &scope)?;
        let edition_assumed = shop.procedures.region_for(&exam_date(&study)).is_none();
        let at_the_door = door.get(&Some(study.study.clone())).into_iter().flatten();
        let verdict = verdict.with(at_the_door.map(|(_, finding)| finding.clone()).collect());
        judged.push(Judged { study, verdict, edition_assumed });
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(judged)
}

fn write_reports(shop: &Shop, judged: &[Judged], folder: &std::path::Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for one in judged {
        let contents = shop.index.contents(&one.study.study)?;
        let input = Input {
            store: &shop.store,
            pool: &shop.pool,
            procedures: &shop.procedures,
            study: &one.study,
            contents: &contents,
            verdict: &one.verdict,
        };
        let path = folder.join(format!("{}.html", one.study.study));
        std::fs::write(&path, page(&input)).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn json(judged: &[Judged], door: &AtTheDoor, checked: bool) -> serde_json::Value {
    let refused = door.iter().flat_map(|(study, all)| all.iter().map(move |(file, f)| (study, file, f)));
    let refused: Vec<_> = refused
        .filter(|(_, _, f)| f.level == Level::Reject)
        .map(|(study, file, f)| {
            let mut told = serde_json::json!(f);
            if let Some(told) = told.as_object_mut() {
                told.insert("file".into(), serde_json::json!(file));
                told.insert("study".into(), serde_json::json!(study));
            }
            told
        })
        .collect();
    let studies: Vec<_> = judged
        .iter()
        .map(|j| {
            serde_json::json!({
                "study": j.study.study,
                "items": j.verdict.items.iter().map(|i| i.number).collect::<Vec<_>>(),
                "accepted": j.verdict.accepted().map(|i| i.number).collect::<Vec<_>>(),
                "outcome": j.verdict.outcome,
                "edition_assumed": j.edition_assumed,
                "findings": j.verdict.findings,
                "verdict": j.verdict,
            })
        })
        .collect();
    serde_json::json!({"studies": studies, "refused_files": refused, "accreditation_checked": checked})
}

fn print(judged: &[Judged], door: &AtTheDoor, checked: bool) {
    for one in judged {
        explain::print(&one.verdict);
        if one.edition_assumed {
            println!(
                "\n注意 Note: 检查日期没有生效的清单，按现行清单判定  no list was in force on the exam date; judged by the present one"
            );
        }
        println!("\n{}\n", "═".repeat(60));
    }
    let refused = door.values().flatten().filter(|(_, f)| f.level == Level::Reject);
    for (file, finding) in refused {
        eprintln!("{file}: {} {}\n    {}", finding.check, finding.zh, finding.en);
    }
    if !checked {
        println!(
            "未核对医疗机构资质（未配置 exchange.register）  the hospital's accreditation was not checked (no exchange.register)"
        );
    }
}
