//! `hutong mark-sheet`: the mark on each kind of image at every usual window, as one page that a quality centre can sign.

use super::{Common, mark, own_program};
use anyhow::Context;
use std::path::PathBuf;
use std::process::ExitCode;

/// Shows the mark.
#[derive(clap::Args)]
pub struct MarkSheet {
    #[command(flatten)]
    common: Common,
    /// 互认区域 Region and edition, e.g. yubei-2023
    #[arg(long)]
    region: String,
    /// 输出文件 The page to write
    #[arg(long, value_name = "FILE", default_value = "mark-sheet.html")]
    out: PathBuf,
}

impl MarkSheet {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let config = self.common.load()?;
        let known = hutong::node::procedures(config.procedures.root.as_deref())?;
        let region = mark::region(&known.regions, &self.region)?;
        let limits = hutong::codec::Limits {
            workers: 2,
            memory_mib: config.codec.memory_mib,
            time: std::time::Duration::from_secs(config.codec.seconds),
        };
        let pool = hutong::codec::Pool::new(own_program()?, limits);
        let page = hutong::report::sheet::page(region, &pool)?;
        std::fs::write(&self.out, page).with_context(|| self.out.display().to_string())?;
        println!("{}", self.out.display());
        Ok(ExitCode::SUCCESS)
    }
}
