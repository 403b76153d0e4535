//! The command line: what was asked, and the exit code of the answer.

mod args;
mod ask;
mod check;
mod explain;
mod primary;
mod print_config;
mod run;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

pub use args::{ExplainArguments, PlaygroundArguments};

use args::{Arguments, Command};

/// How a command ended. Usage errors never get here: `clap` leaves with 2 by itself.
pub enum Outcome {
    /// 0: done, or the answer is yes.
    Success,
    /// 1: the configuration is wrong, or the answer is no.
    Negative,
}

/// 3: something outside stood in the way, a port in use or a file that cannot be written.
const RUNTIME: u8 = 3;

/// Runs the program and returns its exit code.
pub fn main() -> ExitCode {
    // Before any thread may build a TLS configuration: with two providers linked in, building one panics.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let outcome = match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Switchover(arguments) => primary::switchover(&arguments),
        Command::Failover(arguments) => primary::failover(&arguments),
        Command::Playground(arguments) => run::playground(&arguments),
        Command::Explain(arguments) => explain::explain(&arguments),
        Command::PrintConfig => print_config::print_config(),
    };
    match outcome {
        Ok(Outcome::Success) => ExitCode::SUCCESS,
        Ok(Outcome::Negative) => ExitCode::from(1),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "pointsman: {error:#}");
            ExitCode::from(RUNTIME)
        }
    }
}
