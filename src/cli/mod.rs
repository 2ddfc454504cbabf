//! Subcommands, one file each.

mod calibrate;
mod check;
mod commit;
mod demo;
mod evaluate;
mod explain;
mod external;
mod files;
mod maintain;
mod mark;
mod mark_sheet;
mod node;
mod query;
mod rule;
mod serve;
mod table;
mod wire;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use hutong::config::{Config, Log, LogFormat};
use std::path::PathBuf;
use std::process::ExitCode;

/// Hutong (互通): DICOM 影像互认交换节点。A DICOM imaging exchange node for mutual recognition of examinations.
#[derive(Parser)]
#[command(version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Where the configuration is.
#[derive(Args, Clone)]
struct Common {
    /// 配置文件 Configuration file; without it ./hutong.toml if it exists. HUTONG_SECTION__KEY in the environment wins.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Common {
    fn load(&self) -> anyhow::Result<Config> {
        let default = PathBuf::from("hutong.toml");
        let file = self.config.clone().or_else(|| default.is_file().then_some(default));
        Ok(Config::load(file.as_deref(), std::env::vars())?)
    }
}

/// A folder of the command's own that nobody else can read and that goes away with it.
fn own_folder() -> anyhow::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("hutong-").tempdir().context("no temporary folder can be made")
}

/// A register of one hospital that passed its assessments, for the AE title that is its code: marking needs one.
fn register_of_one(code: &str, name: &str) -> String {
    format!(
        r#"
[[hospital]]
code = "{code}"
name = "{name}"
ae_titles = ["{code}"]
[[hospital.assessment]]
round = "{code}"
passed = true
valid_from = "1900-01-01"
valid_to = "2999-12-31"
"#
    )
}

#[derive(Subcommand)]
enum Command {
    /// 启动节点 Run the node: DICOM on 11112 (AE HUTONG), HTTP on 8080, both on loopback until configured otherwise
    Serve(serve::Serve),
    /// 演示 Show the main job: start a node in a fresh place, send studies to it, print verdicts, write pictures
    Demo(demo::Demo),
    /// 发送文件 Send DICOM files to an AE by C-STORE
    Send(wire::Send),
    /// 连通测试 C-ECHO an AE
    Echo(wire::Echo),
    /// 查询 Look for patients, studies, series or images of an AE by C-FIND
    Find(query::Find),
    /// 调阅到第三方 Have an AE send to another by C-MOVE
    Move(query::Move),
    /// 调阅到本机 Fetch from an AE by C-GET, into files
    Get(query::Get),
    /// 存储确认 Ask an AE whether it keeps files by storage commitment
    Commit(commit::Commit),
    /// 说明结论 Print why a study got its verdict
    Explain(explain::Explain),
    /// 外院调阅 What other hospitals have of a patient, and fetching it; the node must be running
    External(external::External),
    /// 人工裁定 Rule on a study: settle a review, overrule a rejection; the node must be running
    Rule(rule::Rule),
    /// 离线检查 Judge files without a node: items, verdict, findings
    Check(check::Check),
    /// 校准感知指标 Freeze what is usual for sharpness and noise, by device and item, from accepted studies
    Calibrate(calibrate::Calibrate),
    /// 加注标识 Write marked copies of files, without judging them
    Mark(mark::Mark),
    /// 标识样张 Show the mark on each kind of image, as a page for the quality centre's sign-off
    MarkSheet(mark_sheet::MarkSheet),
    /// 评估判定 Score the classification on a labelled table
    Evaluate(evaluate::Evaluate),
    /// 校验存储 Re-hash everything stored, and the journal's chain
    Verify(maintain::Verify),
    /// 日志 The journal
    #[command(subcommand)]
    Journal(maintain::JournalCommand),
    /// 接口密钥 Make an API key and the lines for hutong.toml
    AccessKey(maintain::AccessKey),
    /// 重建索引 Make the index again from the stored files
    Rebuild(maintain::Rebuild),
    /// 导入文件夹 Import a folder of DICOM files into the store
    Import(maintain::Import),
    /// 互认项目数据 The knowledge in procedures/
    #[command(subcommand)]
    Procedures(maintain::ProceduresCommand),
    /// 写出体模 Write the phantom studies as files, a folder each
    Phantoms {
        /// 文件夹 Folder to write to
        folder: PathBuf,
    },
    /// Decodes pixels for a node; started by it
    #[command(hide = true)]
    DecodeWorker {
        /// Memory limit, MiB
        memory_mib: u64,
    },
}

/// Runs the command of the process.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Demo(demo) => demo.run(),
        Command::Send(send) => send.run(),
        Command::Echo(echo) => echo.run(),
        Command::Find(find) => find.run(),
        Command::Move(to) => to.run(),
        Command::Get(get) => get.run(),
        Command::Commit(commit) => commit.run(),
        Command::Explain(explain) => explain.run(),
        Command::External(external) => external.run(),
        Command::Rule(rule) => rule.run(),
        Command::Check(check) => check.run(),
        Command::Calibrate(calibrate) => calibrate.run(),
        Command::Mark(mark) => mark.run(),
        Command::MarkSheet(sheet) => sheet.run(),
        Command::Evaluate(evaluate) => evaluate.run(),
        Command::Verify(verify) => verify.run(),
        Command::Journal(journal) => journal.run(),
        Command::AccessKey(key) => key.run(),
        Command::Rebuild(rebuild) => rebuild.run(),
        Command::Import(import) => import.run(),
        Command::Procedures(procedures) => procedures.run(),
        Command::Phantoms { folder } => files::write_phantoms(&folder),
        Command::DecodeWorker { memory_mib } => {
            hutong::codec::run_worker(memory_mib).map(|()| ExitCode::SUCCESS).map_err(Into::into)
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("hutong: {error:#}");
        ExitCode::from(2)
    })
}

/// Starts log output on standard error.
fn start_log(log: &Log) {
    let filter = tracing_subscriber::EnvFilter::try_new(&log.filter).unwrap_or_else(|_| "info".into());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text => builder.try_init(),
    };
    if started.is_err() {
        eprintln!("hutong: the log was started twice");
    }
}

/// The program that decodes pixels: this one.
fn own_program() -> anyhow::Result<PathBuf> {
    use anyhow::Context;
    std::env::current_exe().context("the path of this program cannot be found")
}
