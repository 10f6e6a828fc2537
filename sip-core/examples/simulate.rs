//! `simulate --seed N --calls N …`: calls over a bad network in virtual time, the same on every machine.

#[path = "support/pcap.rs"]
mod pcap;

use core::time::Duration;
use sip_core::Transport;
use sip_core::sim::{
    Faults, Report, Script, Setup, Tape, Topology, all_faults, ladder, mermaid, read_choices, shrink, svg,
    write_choices,
};
use std::path::Path;
use std::process::ExitCode;

const HELP: &str = "simulate [--seed N | --seeds A..B | --replay CHOICES] [--calls N] …

Places calls over a simulated network, checks every invariant on the way, and prints one line of totals.

  --seed N            the seed (1)
  --seeds A..B        every seed from A to B, without B
  --replay CHOICES    the choices of a run, as a failing one prints them
  --calls N           calls for each seed (1)
  --loss P            percent of datagrams lost (0); no effect on tcp
  --duplicate P       percent delivered twice
  --reorder P         percent held back
  --delay MS          the longest time that a message is under way
  --transport T       udp (default) or tcp
  --topology T        uac-uas (default), proxy or fork
  --callees N         to how many a fork goes: 1 to 5 (default 3)
  --chaos             every fault there is, each seed with rates of its own; calls of all kinds, and a hostile peer
  --exhaustive        instead of seeds, every single and every double fault (lost, doubled, held back) of eight base flows
  --ladder FORM       prints the run as text, mermaid or svg, before the line of totals (`head -n -1` leaves that out)
  --choices           prints the choices of each run, as --replay takes them
  --pcap FILE         writes the messages of the run (of the last seed)
  --log FILE          writes the inputs of each machine (of the last seed) to FILE.0.log, FILE.1.log …; `scenario` replays them
  --help              this text

In the line of totals `failed` counts calls that did not end as they should: what loss, users and machines that are down do to calls. That
is no fault; a violation is. Exit code 1 on a violation, with the seed, the shrunk choices, the ladder and a pcap.";

struct Options {
    setup: Setup,
    chaos: bool,
    exhaustive: bool,
    seeds: core::ops::RangeInclusive<u64>,
    replay: Option<String>,
    choices: bool,
    ladder: Option<String>,
    pcap: Option<String>,
    log: Option<String>,
}

fn main() -> ExitCode {
    match options() {
        Ok(Some(options)) if options.exhaustive => exhaustive(),
        Ok(Some(options)) => run(&options),
        Ok(None) => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("simulate: {error}; see --help");
            ExitCode::from(2)
        }
    }
}

fn options() -> Result<Option<Options>, String> {
    let mut options = Options {
        setup: Setup::default(),
        chaos: false,
        exhaustive: false,
        seeds: 1..=1,
        replay: None,
        choices: false,
        ladder: None,
        pcap: None,
        log: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        if flag == "--help" {
            return Ok(None);
        }
        if flag == "--chaos" {
            options.chaos = true;
            continue;
        }
        if flag == "--choices" {
            options.choices = true;
            continue;
        }
        if flag == "--exhaustive" {
            options.exhaustive = true;
            continue;
        }
        const FLAGS: [&str; 14] = [
            "--seed",
            "--seeds",
            "--replay",
            "--calls",
            "--loss",
            "--duplicate",
            "--reorder",
            "--delay",
            "--transport",
            "--topology",
            "--callees",
            "--ladder",
            "--pcap",
            "--log",
        ];
        if !FLAGS.contains(&flag.as_str()) {
            return Err(format!("unknown flag {flag}"));
        }
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{flag} {value}: not a number"));
        let percent = || match value.parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok((percent * 100.0).round() as u32),
            _ => Err(format!("{flag} {value}: not a percentage")),
        };
        let setup = &mut options.setup;
        match flag.as_str() {
            "--seed" => options.seeds = number()?..=number()?,
            "--seeds" => {
                let (from, to) =
                    value.split_once("..").ok_or_else(|| format!("{flag} {value}: write A..B"))?;
                let parse = |text: &str| text.parse().map_err(|_| format!("{flag} {value}: write A..B"));
                let (from, to): (u64, u64) = (parse(from)?, parse(to)?);
                if from >= to {
                    return Err(format!("{flag} {value}: an empty range; B is not part of it"));
                }
                options.seeds = from..=to - 1;
            }
            "--calls" => {
                setup.calls = u32::try_from(number()?).map_err(|_| "--calls: too many".to_string())?
            }
            "--loss" => setup.faults.loss = percent()?,
            "--duplicate" => setup.faults.duplicate = percent()?,
            "--reorder" => setup.faults.reorder = percent()?,
            "--delay" => {
                setup.faults.delay = match number()? {
                    millis @ ..=600_000 => Duration::from_millis(millis),
                    _ => return Err(format!("{flag} {value}: at most 600000, ten minutes")),
                }
            }
            "--transport" => {
                setup.transport = match value.as_str() {
                    "udp" => Transport::Udp,
                    "tcp" => Transport::Tcp,
                    other => return Err(format!("--transport {other}: udp or tcp")),
                }
            }
            "--callees" => {
                setup.callees = match number()? {
                    callees @ 1..=5 => callees as usize,
                    _ => return Err(format!("--callees {value}: 1 to 5")),
                };
            }
            "--topology" => {
                setup.topology = match value.as_str() {
                    "uac-uas" => Topology::Direct,
                    "proxy" => Topology::Proxy,
                    "fork" => Topology::Fork,
                    other => return Err(format!("--topology {other}: uac-uas, proxy or fork")),
                }
            }
            "--ladder" if ["text", "mermaid", "svg"].contains(&value.as_str()) => {
                options.ladder = Some(value)
            }
            "--ladder" => return Err(format!("--ladder {value}: text, mermaid or svg")),
            "--pcap" => options.pcap = Some(value),
            "--log" => options.log = Some(value),
            "--replay" => options.replay = Some(value),
            other => return Err(format!("unknown flag {other}")),
        }
    }
    let setup = &mut options.setup;
    // Calls begin one after the other: a hundred a second.
    setup.spread = Duration::from_millis(10) * setup.calls;
    setup.faults.chaos = setup.spread + Duration::from_secs(40);
    Ok(Some(options))
}

impl Options {
    /// The world of one seed.
    fn setup(&self, tape: &mut Tape) -> Setup {
        let mut setup = self.setup.clone();
        setup.keep_trace = self.ladder.is_some() || self.pcap.is_some();
        setup.logs = self.log.is_some();
        if self.chaos {
            setup.faults = Faults { chaos: setup.faults.chaos, ..Faults::swarm(tape) };
            setup.script = None;
            setup.hostile = setup.transport == Transport::Udp;
        } else {
            setup.script = Some(Script::Call);
        }
        setup
    }

    fn once(&self, mut tape: Tape, keep: bool) -> Report {
        let mut setup = self.setup(&mut tape);
        setup.keep_trace |= keep;
        setup.run(tape)
    }

    fn names(&self) -> Vec<&'static str> {
        let mut names = names(&self.setup);
        if self.chaos && self.setup.transport == Transport::Udp {
            names.push("hostile");
        }
        names
    }
}

fn names(setup: &Setup) -> Vec<&'static str> {
    match setup.topology {
        Topology::Direct => vec!["uac", "uas"],
        Topology::Proxy => vec!["uac", "proxy", "uas"],
        Topology::Fork => {
            let callees = ["uas 1", "uas 2", "uas 3", "uas 4", "uas 5"];
            ["uac", "proxy"].into_iter().chain(callees.into_iter().take(setup.callees)).collect()
        }
    }
}

#[derive(Default)]
struct Totals {
    calls: u64,
    completed: u64,
    messages: u64,
    retransmissions: u64,
    violations: usize,
    leaked: u64,
    time: Duration,
    digest: u128,
}

#[expect(clippy::disallowed_methods, reason = "how long it took is part of the totals")]
fn run(options: &Options) -> ExitCode {
    let start = std::time::Instant::now();
    let mut totals = Totals::default();
    let many = options.seeds.start() != options.seeds.end();
    let progress = many && std::io::IsTerminal::is_terminal(&std::io::stderr());
    for seed in options.seeds.clone() {
        let tape = match options.replay.as_deref().map(read_choices) {
            Some(Ok(choices)) => Tape::list(&choices),
            Some(Err(error)) => {
                eprintln!("simulate: {error}");
                return ExitCode::from(2);
            }
            None => Tape::seed(seed),
        };
        let report = options.once(tape, false);
        totals.calls += report.calls;
        totals.completed += report.completed;
        totals.messages += report.messages;
        totals.retransmissions += report.retransmissions;
        totals.violations += report.violations.len();
        totals.leaked += report.leaked;
        totals.time += report.time;
        // Of several seeds the digests are folded in their order.
        totals.digest = totals.digest.rotate_left(1) ^ report.digest;
        if progress && seed % 500 == 0 {
            eprint!("\rseed {seed} of {}, {} calls", options.seeds.end(), totals.calls);
        }
        if !report.violations.is_empty() {
            explain(options, seed, &report);
            break;
        }
        let unused = unused(options, &report);
        if unused > 0 {
            eprintln!(
                "simulate: {unused} of the choices were never asked for: is it another topology, transport or number of calls?"
            );
        }
        if let Err(error) = show(options, &report) {
            eprintln!("simulate: {error}");
            return ExitCode::from(2);
        }
    }
    if progress {
        eprintln!();
    }
    println!(
        "seed={} calls={} completed={} failed={} messages={} retransmissions={} violations={} leaked={} sim_seconds={:.3} \
         wall_seconds={:.3} digest={:032x}",
        options.seeds.start(),
        totals.calls,
        totals.completed,
        totals.calls - totals.completed,
        totals.messages,
        totals.retransmissions,
        totals.violations,
        totals.leaked,
        totals.time.as_secs_f64(),
        start.elapsed().as_secs_f64(),
        totals.digest
    );
    if totals.violations == 0 && totals.leaked == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many choices of a replayed run did not come up in it.
fn unused(options: &Options, report: &Report) -> usize {
    let given = options.replay.as_deref().and_then(|text| read_choices(text).ok()).unwrap_or_default();
    let rates = given.iter().filter(|choice| choice.to_string().starts_with("rate")).count();
    given.len().saturating_sub(report.choices.len()).min(given.len() - if options.chaos { 0 } else { rates })
}

/// Every single and double fault of the base flows.
fn exhaustive() -> ExitCode {
    for setup in Setup::base_flows() {
        let names = names(&setup);
        let mut found = None;
        let runs = all_faults(2, |tape| {
            let report = setup.run(tape);
            let sound = report.violations.is_empty() && report.leaked == 0;
            let questions = report.questions.clone();
            if !sound {
                found = Some(report);
            }
            (questions, sound)
        });
        println!(
            "{:?} {:?}: {runs} runs, {}",
            setup.topology,
            setup.script.unwrap_or(Script::Call),
            if found.is_none() { "all sound" } else { "a violation" }
        );
        if let Some(report) = found {
            report.violations.iter().for_each(|violation| eprintln!("simulate: {violation}"));
            eprintln!("choices: {}", write_choices(&report.choices));
            let short = Setup { keep_trace: true, ..setup }.run(Tape::list(&report.choices));
            eprint!("{}", ladder(&short.trace, &names));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Draws and writes what was asked for.
fn show(options: &Options, report: &Report) -> Result<(), Box<dyn core::error::Error>> {
    let names = options.names();
    match options.ladder.as_deref() {
        Some("text") => print!("{}", ladder(&report.trace, &names)),
        Some("mermaid") => print!("{}", mermaid(&report.trace, &names)),
        Some(_) => print!("{}", svg(&report.trace, &names)),
        None => {}
    }
    if options.choices {
        println!("choices: {}", write_choices(&report.choices));
    }
    if let Some(path) = &options.pcap {
        pcap::write(Path::new(path), &report.trace).map_err(|error| format!("{path}: {error}"))?;
    }
    if let Some(path) = &options.log {
        for (node, log) in report.logs.iter().enumerate() {
            let path = format!("{path}.{node}.log");
            std::fs::write(&path, log).map_err(|error| format!("{path}: {error}"))?;
        }
    }
    Ok(())
}

/// Says what is wrong, with the shortest run that shows it.
fn explain(options: &Options, seed: u64, report: &Report) {
    let wrong = report.violations.first().map_or("", |violation| violation.monitor);
    let fails = |tape: Tape| options.once(tape, false).violations.iter().any(|found| found.monitor == wrong);
    let choices = shrink(&report.choices, 2_000, fails);
    let short = options.once(Tape::list(&choices), true);
    for violation in short.violations.iter().chain(&report.violations).take(1) {
        eprintln!("simulate: seed {seed}: {violation}");
    }
    eprintln!("choices: {}", write_choices(&choices));
    eprint!("{}", ladder(&short.trace, &options.names()));
    let path = std::env::temp_dir().join(format!("violation-{seed}.pcap"));
    match pcap::write(&path, &short.trace) {
        Ok(()) => eprintln!("packets: {}", path.display()),
        Err(error) => eprintln!("simulate: {}: {error}", path.display()),
    }
}
