//! The load generator, see `zabra-load --help`.

use std::process::ExitCode;

use clap::Parser;
use zabra_benches::options::Options;
use zabra_benches::{crowd, report, run};

fn main() -> ExitCode {
    let options = Options::parse();
    let clean = options.check().and_then(|()| match options.phase {
        Some(phase) => crowd::run(&options, phase),
        None => run::run(&options).map(|report| {
            report::print(&report, options.json);
            report.is_clean()
        }),
    });
    match clean {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(why) => {
            eprintln!("zabra-load: {why}");
            ExitCode::FAILURE
        }
    }
}
