//! `hutong demo`: the main job, shown on phantoms or on a folder of your own.

use super::wire::{bar, describe};
use super::{files, own_folder, own_program, register_of_one, start_log, table};
use anyhow::Context;
use hutong::config::{Config, Log};
use hutong::dicom::tags;
use hutong::dimse::Requested;
use hutong::dimse::storescu::{Outgoing, send};
use hutong::exam::verdict::Verdict;
use hutong::index::{InstanceRow, Query, SeriesRow, State, StudyRow, View};
use hutong::node::Node;
use hutong::phantom;
use hutong::retrieve::{Object, pictures, render};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Starts a node in a fresh temporary root and shows what it does.
#[derive(clap::Args)]
pub struct Demo {
    /// 文件夹 Folders of DICOM files to send instead of the built-in phantoms
    #[arg(value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// 同时发送内置体模 Send the phantoms as well as the folders
    #[arg(long)]
    phantoms: bool,
    /// 保持运行 Leave the node running
    #[arg(long)]
    stay: bool,
    /// 机器可读 Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// 图片输出文件夹 Where the pictures go
    #[arg(long, value_name = "DIR", default_value = "hutong-demo")]
    out: PathBuf,
    /// 静默期（秒） A study is complete after this many quiet seconds
    #[arg(long, default_value_t = 1.5)]
    quiet: f64,
}

/// Longest wait for all verdicts.
const PATIENCE: Duration = Duration::from_secs(900);

/// What is shown of one study.
struct Shown {
    study: StudyRow,
    verdict: Verdict,
    urls: Vec<String>,
    pictures: Vec<PathBuf>,
}

impl Demo {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        start_log(&Log { filter: "warn".into(), ..Log::default() });
        let place = own_folder()?;
        let register = place.path().join("hospitals.toml");
        std::fs::write(&register, register_of_one("DEMO", "互通示范医院"))?;
        let mut config = Config::default();
        config.storage.root = place.path().join("storage");
        config.storage.reserve_mib = 256;
        config.study.quiet_period = Duration::try_from_secs_f64(self.quiet).context("--quiet")?;
        config.exchange.register = Some(register);
        config.procedures.root = Some(timeless_procedures(place.path())?);
        (config.dimse.port, config.http.port) = (0, 0);
        let runtime = tokio::runtime::Runtime::new().context("the runtime cannot be started")?;
        let node = runtime.block_on(Node::start(&config, own_program()?))?;
        let failures = self.send_everything(&node)?;
        let shown = self.wait(&node)?;
        if self.json {
            self.print_json(&node, &shown, &failures);
        } else {
            self.print(&node, &shown, &failures);
        }
        if self.stay {
            eprintln!("节点仍在运行，按 Ctrl-C 结束  The node keeps running; Ctrl-C ends it");
            runtime.block_on(tokio::signal::ctrl_c())?;
        }
        runtime.block_on(node.stop());
        Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn send_everything(&self, node: &Node) -> anyhow::Result<Vec<String>> {
        let (mut objects, mut failures, mut names) = (Vec::new(), Vec::new(), Vec::new());
        if self.folders.is_empty() || self.phantoms {
            for image in phantom::all().into_iter().flat_map(|s| s.images) {
                names.push(format!("phantom {}", image.sop_instance()));
                objects.push(Outgoing {
                    sop_class: image.data_set.text(tags::SOP_CLASS_UID).unwrap_or_default(),
                    sop_instance: image.sop_instance(),
                    transfer_syntax: hutong::dicom::uids::EXPLICIT_VR_LITTLE_ENDIAN.into(),
                    others: &[],
                    open: Box::new(move |_| Ok(Box::new(std::io::Cursor::new(image.data_set_bytes())) as Box<dyn Read>)),
                });
            }
        }
        for path in files::below(&self.folders)? {
            match files::outgoing(&path, None) {
                Ok(object) => {
                    names.push(path.display().to_string());
                    objects.push(object);
                }
                // A folder holds other files as well; they are named, and are no failure.
                Err(why) => eprintln!("跳过 skipped {}: {why}", path.display()),
            }
        }
        anyhow::ensure!(!objects.is_empty(), "there is no DICOM file to send");
        if !self.json {
            println!("发送 {} 个对象到 AE HUTONG {}  Sending {} objects by C-STORE", objects.len(), node.dicom, objects.len());
        }
        let to = Requested::plain(&node.dicom.to_string(), "HUTONG", "DEMO", Duration::from_secs(120));
        let progress = if self.json { indicatif::ProgressBar::hidden() } else { bar(objects.len() as u64) };
        send(&to, &mut objects, None, &mut |number: usize, answer: &hutong::dimse::storescu::Answer| {
            progress.inc(1);
            if let Some(why) = describe(answer) {
                failures.push(format!("{}: {why}", names.get(number).map_or("?", String::as_str)));
            }
            true
        })?;
        progress.finish_and_clear();
        Ok(failures)
    }

    fn wait(&self, node: &Node) -> anyhow::Result<Vec<Shown>> {
        let index = &*node.shop.index;
        let all = Query::all(View::House);
        let begun = Instant::now();
        loop {
            let studies = index.studies(&all)?.rows;
            let open = studies.iter().filter(|s| !matches!(s.state, State::Ready | State::Review)).count();
            if open == 0 {
                return studies.into_iter().map(|s| self.show(node, s)).collect();
            }
            anyhow::ensure!(begun.elapsed() < PATIENCE, "{open} studies have no verdict after {} s", PATIENCE.as_secs());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn show(&self, node: &Node, study: StudyRow) -> anyhow::Result<Shown> {
        let verdict = node.shop.index.verdict(&study.study)?.context("a study without a verdict")?;
        let contents = node.shop.index.contents(&study.study)?;
        let marked = contents.iter().filter(|(s, _)| s.marked && study.recognised.series.contains_key(&s.series));
        let urls = marked.map(|(s, rows)| rendered_url(node, s, rows)).collect();
        let pictures = self.pictures(node, &study, &contents)?;
        Ok(Shown { study, verdict, urls, pictures })
    }

    /// The middle image of each marked series before and after, or of the first series when none is marked.
    fn pictures(
        &self,
        node: &Node,
        study: &StudyRow,
        contents: &[(SeriesRow, Vec<InstanceRow>)],
    ) -> anyhow::Result<Vec<PathBuf>> {
        std::fs::create_dir_all(&self.out).with_context(|| self.out.display().to_string())?;
        let name = |what: &str| {
            let modality = study.modalities.iter().next().map_or("XX", String::as_str);
            let id: String = study.study.as_str().chars().rev().take(6).collect::<Vec<_>>().into_iter().rev().collect();
            self.out.join(format!("{modality}-{id}-{what}.png"))
        };
        let rows = |marked: bool| {
            contents
                .iter()
                .filter(move |(s, _)| s.marked == marked)
                .filter_map(|(_, r)| r.get(r.len() / 2))
                .filter(|r| r.pixels_at.is_some())
        };
        let mut written = Vec::new();
        let copies: Vec<&InstanceRow> = rows(true).collect();
        for (n, copy) in copies.iter().enumerate() {
            let hutong::dicom::stamp::Kind::Marked { source, .. } = &copy.kind else { continue };
            let source = contents.iter().flat_map(|(_, r)| r).find(|r| r.sop_instance == *source);
            for (what, row) in [("before", source), ("after", Some(*copy))] {
                if let Some(row) = row {
                    written.extend(save(node, row, name(&format!("{}-{what}", n + 1)))?);
                }
            }
        }
        if copies.is_empty()
            && let Some(first) = rows(false).next()
        {
            written.extend(save(node, first, name("unmarked"))?);
        }
        Ok(written)
    }

    fn print(&self, node: &Node, shown: &[Shown], failures: &[String]) {
        failures.iter().for_each(|f| eprintln!("未接收 not stored: {f}"));
        let rows: Vec<Vec<String>> = shown.iter().flat_map(rows).collect();
        println!();
        table::print(&["患者 Patient", "项目 Item", "结论 Verdict", "发现 Findings", "原因 Why"], &rows);
        println!("\n已标注图像（供其他医院调阅） Marked images, as another hospital sees them");
        for url in shown.iter().flat_map(|s| &s.urls) {
            println!("  {url}");
        }
        println!("\n前后对照 Pictures before and after");
        for picture in shown.iter().flat_map(|s| &s.pictures) {
            println!("  {}", picture.display());
        }
        println!("\n演示按现行清单判断任何日期的检查  The demo judges exams of any date by the present list");
        if !self.stay {
            println!(
                "加 --stay 让节点保持运行以打开上述网址  With --stay the node keeps running and the addresses answer (http://{})",
                node.http
            );
        }
    }

    fn print_json(&self, node: &Node, shown: &[Shown], failures: &[String]) {
        let studies: Vec<_> = shown
            .iter()
            .map(|s| {
                serde_json::json!({
                    "study": s.study.study,
                    "patient_id": s.study.attributes.text(tags::PATIENT_ID),
                    "state": s.study.state,
                    "outcome": s.verdict.outcome,
                    "items": s.verdict.accepted().map(|i| i.number).collect::<Vec<_>>(),
                    "verdict": s.verdict,
                    "marked_instances": s.study.marked.1,
                    "urls": s.urls,
                    "pictures": s.pictures,
                })
            })
            .collect();
        let http = format!("http://{}", node.http);
        println!(
            "{}",
            serde_json::json!({"dicom": node.dicom.to_string(), "http": http, "studies": studies, "failures": failures})
        );
    }
}

/// The built-in procedures, in force on any date: folders of old examinations are to show the same job.
fn timeless_procedures(place: &Path) -> anyhow::Result<PathBuf> {
    let root = place.join("procedures");
    for (name, text) in hutong::procedure::embedded::FILES {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        let begins =
            |line: &str| if line.starts_with("valid_from") { "valid_from = \"1900-01-01\"".into() } else { line.to_string() };
        std::fs::write(path, text.lines().map(begins).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(root)
}

/// A line for each item, or one that says why there is none.
fn rows(shown: &Shown) -> Vec<Vec<String>> {
    let text = |tag| shown.study.attributes.text(tag).unwrap_or("").to_string();
    let patient = format!("{} {}", text(tags::PATIENT_ID), text(tags::PATIENT_NAME).split('=').next_back().unwrap_or(""));
    let short = |grounds: &[hutong::exam::verdict::Ground]| {
        let mut codes: Vec<&str> = grounds.iter().map(|g| g.code.as_str()).collect();
        codes.dedup();
        (codes.join(" "), grounds.iter().map(|g| format!("{} {}", g.zh, g.en)).next().unwrap_or_default())
    };
    if shown.verdict.items.is_empty() {
        let (codes, why) = short(&shown.verdict.grounds);
        let nearest: Vec<String> = shown.verdict.refused.iter().flat_map(|r| &r.nearest).map(ToString::to_string).collect();
        let item = if nearest.is_empty() { "—".into() } else { format!("（近 near {}）", nearest.join(",")) };
        return vec![vec![patient, item, shown.verdict.outcome.words().into(), codes, why]];
    }
    let items = shown.verdict.items.iter();
    items
        .map(|i| {
            let (codes, why) = short(&i.grounds);
            vec![patient.clone(), format!("{} {}", i.number, i.name), i.outcome.words().into(), codes, why]
        })
        .collect()
}

fn rendered_url(node: &Node, series: &SeriesRow, rows: &[InstanceRow]) -> String {
    let middle = rows.get(rows.len() / 2).map_or("", |r| r.sop_instance.as_str());
    let path = format!("studies/{}/series/{}/instances/{middle}/rendered", series.study, series.series);
    format!("http://{}/exchange/dicom-web/{path}", node.http)
}

fn save(node: &Node, row: &InstanceRow, path: PathBuf) -> anyhow::Result<Option<PathBuf>> {
    let object = Object::open(&node.shop.store, row, 1 << 22)?;
    let number = object.layout().map_or(0, |l| l.frames / 2);
    match render::picture(&object, number, None, &node.shop.pool) {
        Ok(picture) => {
            std::fs::write(&path, pictures::encode(&picture, pictures::Format::Png)?)
                .with_context(|| path.display().to_string())?;
            Ok(Some(path))
        }
        Err(e) => {
            eprintln!("{}: {e}", row.sop_instance);
            Ok(None)
        }
    }
}
