//! `hutong verify`, `rebuild`, `import`, `procedures check`: work on a data root at rest.

use super::wire::bar;
use super::{Common, files};
use anyhow::Context;
use hutong::config::Config;
use hutong::ingest::{Ingest, Outcome, Settings};
use hutong::node::{open_data, procedures};
use hutong::store::walk;
use hutong::{ingest, journal};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Reads every stored file and compares it with its stamp. A running node does not disturb it.
#[derive(clap::Args)]
pub struct Verify {
    #[command(flatten)]
    common: Common,
}

impl Verify {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let root = self.common.load()?.storage.root;
        let objects = root.join("objects");
        anyhow::ensure!(objects.is_dir(), "{}: there is no store; is storage.root right?", root.display());
        let (mut good, mut bad) = (0u64, 0u64);
        for path in walk(objects) {
            let path = path?;
            match check(&path) {
                Ok(()) => good += 1,
                Err(why) => {
                    bad += 1;
                    eprintln!("{}: {why}", path.display());
                }
            }
        }
        println!("完好 {good}，损坏 {bad}  {good} objects are whole, {bad} are damaged");
        let path = root.join("journal.jsonl");
        if path.exists() {
            match journal::verify(&path) {
                Ok(lines) => println!("日志链完整，{lines} 行  the journal's chain of {lines} lines holds"),
                Err(why) => {
                    bad += 1;
                    eprintln!("{}: {why}", path.display());
                }
            }
        }
        Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The journal.
#[derive(clap::Subcommand)]
pub enum JournalCommand {
    /// 校验日志链 Check that no line was altered, taken out or put in
    Verify {
        #[command(flatten)]
        common: Common,
    },
}

impl JournalCommand {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let JournalCommand::Verify { common } = self;
        let path = common.load()?.storage.root.join("journal.jsonl");
        match journal::verify(&path) {
            Ok(lines) => {
                println!("日志链完整，{lines} 行  the journal's chain of {lines} lines holds");
                Ok(ExitCode::SUCCESS)
            }
            Err(why) => {
                eprintln!("{}: {why}", path.display());
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

/// A new API key.
#[derive(clap::Args)]
pub struct AccessKey {
    /// 用途 Whose it is; stands in the journal
    name: String,
    /// 角色 What it allows: house, admin, or exchange with a hospital
    #[arg(long, default_value = "house")]
    role: String,
    /// 机构编码 Code of the hospital, for role exchange
    #[arg(long)]
    hospital: Option<String>,
}

impl AccessKey {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        use std::io::Read;
        let mut bytes = [0u8; 32];
        File::open("/dev/urandom").context("no random numbers")?.read_exact(&mut bytes)?;
        let key: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        println!("# 密钥只显示这一次 The key is shown this once: {key}");
        println!(
            "[[access.key]]\nname = {:?}\nsha256 = \"{}\"\nrole = {:?}",
            self.name,
            hutong::access::digest(&key),
            self.role
        );
        if let Some(hospital) = &self.hospital {
            println!("hospital = {hospital:?}");
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn check(path: &Path) -> Result<(), String> {
    match ingest::is_whole(path) {
        Ok(true) => Ok(()),
        Ok(false) => Err("its content is not what was stored (length or SHA-256 differs, or the header is damaged)".into()),
        Err(e) => Err(e.to_string()),
    }
}

/// Puts the old index aside and makes a new one. The node must not be running.
#[derive(clap::Args)]
pub struct Rebuild {
    #[command(flatten)]
    common: Common,
}

impl Rebuild {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let config = self.common.load()?;
        let root = &config.storage.root;
        anyhow::ensure!(root.join("objects").is_dir(), "{}: there is no store; is storage.root right?", root.display());
        let store =
            hutong::store::Store::open(root).with_context(|| format!("{}; stop the running node first", root.display()))?;
        let old = root.join("index");
        if old.exists() {
            let aside = (0u32..).map(|n| root.join(format!("index.old-{n}"))).find(|p| !p.exists()).context("no free name")?;
            std::fs::rename(&old, &aside)?;
            println!("旧索引移至 the old index is now {}", aside.display());
        }
        let opened = hutong::index::SledIndex::open(&old)?;
        let bar = bar(store.files().count() as u64);
        let mut progress = |n| bar.set_position(n);
        let (count, failed) = ingest::rebuild(&store, &opened.index, config.study.quiet_period, &mut progress)?;
        bar.finish_and_clear();
        opened.index.mark_complete()?;
        failed.iter().for_each(|f| eprintln!("{f}"));
        println!("已索引 {count}，失败 {}  {count} objects indexed, {} failed", failed.len(), failed.len());
        Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Stores the DICOM files below folders. The node must not be running (send to a running one with `hutong send`).
#[derive(clap::Args)]
pub struct Import {
    #[command(flatten)]
    common: Common,
    /// 文件或文件夹 Files or folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

impl Import {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let config = self.common.load()?;
        let paths = files::below(&self.paths)?;
        let data = open_data(&config).context("a running node? then use `hutong send`")?;
        let ingest = Ingest::start(data.store.clone(), data.index.clone(), settings(&config), None)?;
        let ingest = Arc::new(ingest);
        let bar = bar(paths.len() as u64);
        let (mut new, mut same, mut failed) = (0u64, 0u64, Vec::new());
        for path in &paths {
            bar.inc(1);
            let stored = File::open(path)
                .map_err(|e| e.to_string())
                .and_then(|mut file| ingest.receive_file("IMPORT", None, &mut file).map_err(|e| e.to_string()));
            match stored.map(|s| s.outcome) {
                Ok(Outcome::New) => new += 1,
                Ok(Outcome::Same) => same += 1,
                Err(why) => failed.push(format!("{}: {why}", path.display())),
            }
        }
        bar.finish_and_clear();
        ingest.stop();
        failed.iter().for_each(|f| eprintln!("{f}"));
        println!("新增 {new}，已有 {same}，失败 {}  {new} new, {same} known, {} failed", failed.len(), failed.len());
        Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        aet: config.dimse.aet.clone(),
        reserve_bytes: config.storage.reserve_mib << 20,
        max_object_mib: config.storage.max_object_mib,
        quiet_period: config.study.quiet_period,
    }
}

/// `hutong procedures …`
#[derive(clap::Subcommand)]
pub enum ProceduresCommand {
    /// 校验 Validate: prints file, line and key of each error
    Check {
        /// 文件夹 The folder; without it the built-in procedures
        folder: Option<PathBuf>,
    },
}

impl ProceduresCommand {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let ProceduresCommand::Check { folder } = self;
        let procedures = procedures(folder.as_deref())?;
        for region in &procedures.regions {
            let enabled = if region.enabled { "启用 enabled" } else { "停用 disabled" };
            let mark = region.mark.text();
            println!(
                "{} {} {}：{} 项 items，标识 mark “{mark}”，{enabled}",
                region.code,
                region.edition,
                region.name,
                region.items.len()
            );
        }
        println!("digest {}", procedures.digest);
        Ok(ExitCode::SUCCESS)
    }
}
