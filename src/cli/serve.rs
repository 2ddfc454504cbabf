//! `hutong serve`.

use super::{Common, own_program, start_log};
use anyhow::Context;
use hutong::node::Node;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Runs until SIGINT or SIGTERM.
#[derive(clap::Args)]
pub struct Serve {
    #[command(flatten)]
    common: Common,
}

impl Serve {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let config = self.common.load()?;
        start_log(&config.log);
        let program = own_program()?;
        let runtime = tokio::runtime::Runtime::new().context("the runtime cannot be started")?;
        runtime.block_on(async {
            let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let node = Node::start(&config, program).await?;
            // One line on standard output for whoever started it: the ports may have been chosen by the system.
            let scheme = if config.http.tls_certificate.is_some() { "https" } else { "http" };
            println!("DICOM {} AE {}  HTTP {scheme}://{}", node.dicom, config.dimse.aet, node.http);
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            tracing::info!("stopping: what is under way is ended first");
            node.stop().await;
            Ok(ExitCode::SUCCESS)
        })
    }
}
