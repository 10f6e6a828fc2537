//! `scenario [--trace] FILE…`: runs scenario files in virtual time, to the microsecond. A file whose name ends with `.log` is the
//! log of a machine's inputs: it is given to a fresh machine, and what that does is printed. One whose name ends with `.flow` has flows of user agents.
//!
//! The languages are described in [`sip_core::sim::scenario`] and [`sip_core::sim::flow`].

use sip_core::sim::{flow, replay, scenario, seed_of};
use sip_core::{Config, Endpoint};
use std::process::ExitCode;

const HELP: &str = "scenario [--trace] FILE…

Runs scenario files in virtual time. Prints a line for each file: its name, `ok` or `failed`, and how many sections it has or have failed.
A file that ends with .log is a log of inputs (simulate --log writes them): it is replayed, and what the machine does is printed.
One that ends with .flow has flows: what user agents do with each other.

  --trace   prints what happens, with its instant
  --help    this text";

fn main() -> ExitCode {
    let mut files: Vec<String> = std::env::args().skip(1).collect();
    if files.iter().any(|arg| arg == "--help") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let trace = files.iter().any(|arg| arg == "--trace");
    files.retain(|arg| arg != "--trace");
    if let Some(flag) = files.iter().find(|arg| arg.starts_with("--")) {
        eprintln!("scenario: unknown flag {flag}; see --help");
        return ExitCode::from(2);
    }
    if files.is_empty() {
        eprintln!("scenario: no file given; see --help");
        return ExitCode::from(2);
    }
    let mut sound = true;
    for file in files {
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) => {
                eprintln!("scenario: {file}: {error}");
                sound = false;
                continue;
            }
        };
        sound &= if file.ends_with(".log") { replayed(&file, &text) } else { run(&file, &text, trace) };
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(file: &str, text: &str, trace: bool) -> bool {
    let print = |line: &str| {
        if trace {
            println!("{line}");
        }
    };
    let done = if file.ends_with(".flow") { flows(text, print) } else { scenario::run(text, print) };
    match done {
        Ok(sections) => {
            println!("{file}\tok\t{sections}");
            true
        }
        Err(failures) => {
            println!("{file}\tfailed\t{}", failures.len());
            failures.iter().for_each(|failure| {
                let section = if failure.section.is_empty() { "" } else { &format!("{}: ", failure.section) };
                eprintln!("{file}:{}: {section}{}", failure.line, failure.what)
            });
            false
        }
    }
}

fn flows(text: &str, print: impl Fn(&str)) -> Result<usize, Vec<scenario::Failed>> {
    let flows = flow::read(text).map_err(|failed| vec![failed])?;
    let mut failures = Vec::new();
    for flow in &flows {
        print(&format!("== {}", flow.title()));
        flow.happens().iter().for_each(|line| print(line));
        failures.extend(flow.exact().err());
    }
    if failures.is_empty() { Ok(flows.len()) } else { Err(failures) }
}

/// The seed of the machine stands in the first line of its log.
fn replayed(file: &str, text: &str) -> bool {
    let Some(seed) = seed_of(text) else {
        eprintln!("scenario: {file}: the first line has no seed; write `# seed` and its 32 numbers there");
        return false;
    };
    let mut machine = Endpoint::new(Config::new(seed));
    match replay(text, &mut machine, |at, what| println!("{:>14} {what}", at.as_micros())) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("{file}: {error}");
            false
        }
    }
}
