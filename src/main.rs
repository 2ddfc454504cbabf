//! The command line. Nothing but this knows `anyhow`, terminals and exit codes.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
