//! `hutong serve`.

use super::{Common, own_program, start_log};
use anyhow::Context;
use hutong::node::Node;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Threads that may block, started when they are needed.
const BLOCKING: usize = 2048;

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
        // A body that a slow client reads holds a thread that may block: there must be more of them than slow clients.
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(BLOCKING).build();
        let runtime = runtime.context("the runtime cannot be started")?;
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
