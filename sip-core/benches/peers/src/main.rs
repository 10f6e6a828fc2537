//! sip-core beside other parsers, in one run: `cargo run --release --manifest-path sip-core/benches/peers/Cargo.toml`
//!
//! Every contender does the same work on the same messages; each result is checked before it is timed. Times are of this
//! thread's CPU, rounds of all contenders taking turns, the least of the rounds' medians: what differs is what counts, so
//! read the ratios. With the name of a folder it only writes the messages there, for parsers in other languages.

#[path = "../../cases/mod.rs"]
mod cases;
mod contenders;
mod transactions;

use contenders::{Contender, Work};
use cpu_time::ThreadTime;
use std::hint::black_box;

const ROUNDS: usize = 9;
const TURNS: u32 = 2_000;

fn main() {
    let samples = cases::samples();
    if let Some(folder) = std::env::args().nth(1) {
        for sample in &samples {
            let file = format!("{folder}/{}.sip", sample.name.replace(' ', "-"));
            std::fs::write(&file, &sample.bytes).unwrap_or_else(|error| panic!("{file}: {error}"));
        }
        return;
    }
    let all = contenders::all();
    table("route-ready: parsed, and all that routing needs typed", &all, &samples, |contender| {
        contender.route_ready
    });
    table("parsed, nothing typed (each as lazily as it can)", &all, &samples, |contender| contender.parse);
    let requests: Vec<_> =
        cases::samples().into_iter().filter(|sample| !sample.bytes.starts_with(b"SIP/")).collect();
    table("200 made from a parsed request, as bytes", &all, &requests, |contender| contender.respond);
    table("echo of a parsed request", &all, &requests, |contender| contender.echo);

    println!("\nheader split of the INVITE against httparse on the same message as HTTP");
    let invite = cases::invite();
    let twin = twin(&invite);
    let mut works: Vec<Work> = vec![
        Box::new(|| {
            black_box(cases::split(black_box(&invite)));
        }),
        Box::new(|| {
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut request = httparse::Request::new(&mut headers);
            assert!(request.parse(black_box(&twin)).expect("sound").is_complete());
            black_box(&request);
        }),
    ];
    let times = race(&mut works);
    println!("sip-core {:.0} ns, httparse {:.0} ns: {:.2} times", times[0], times[1], times[0] / times[1]);
    transactions::run();
}

/// The INVITE as a request of HTTP: the same lines.
fn twin(invite: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(invite.to_vec()).expect("text");
    text.replacen("INVITE sip:bob@biloxi.example.com SIP/2.0", "POST /bob@biloxi.example.com/xx HTTP/1.1", 1)
        .into_bytes()
}

/// One row a contender, one column a message: nanoseconds and allocations; behind them how many times as long it took as ours.
fn table(
    title: &str,
    contenders: &[Contender],
    samples: &[cases::Sample],
    pick: fn(&Contender) -> fn(&[u8]) -> Option<Work<'_>>,
) {
    println!("\n{title}; ns / allocations");
    print!("{:<12}", "");
    samples.iter().for_each(|sample| print!("{:>16}", format!("{} {} B", sample.name, sample.bytes.len())));
    println!("{:>12}", "geo-mean");
    let mut cells = vec![Vec::new(); contenders.len()];
    for sample in samples {
        let mut able = Vec::new();
        let mut works = Vec::new();
        for (at, contender) in contenders.iter().enumerate() {
            if let Some(work) = pick(contender)(&sample.bytes) {
                able.push(at);
                works.push(work);
            }
        }
        let counts: Vec<u64> =
            works.iter_mut().map(|work| allocation_counter::measure(&mut **work).count_total).collect();
        let times = race(&mut works);
        for row in &mut cells {
            row.push(None);
        }
        for ((at, time), count) in able.into_iter().zip(times).zip(counts) {
            *cells[at].last_mut().expect("just pushed") = Some((time, count));
        }
    }
    let mean = |row: &[Option<(f64, u64)>]| {
        let logs: Option<Vec<f64>> = row.iter().map(|cell| cell.map(|(time, _)| time.ln())).collect();
        logs.map(|logs| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
    };
    let ours = mean(&cells[0]).expect("ours reads them all");
    for (contender, row) in contenders.iter().zip(&cells) {
        print!("{:<12}", contender.name);
        for (cell, own) in row.iter().zip(&cells[0]) {
            let text = match (cell, own) {
                (Some((time, count)), Some((own, _))) => format!("{time:.0}/{count} x{:.1}", time / own),
                _ => "fails".into(),
            };
            print!("{text:>16}");
        }
        println!("{:>12}", mean(row).map_or("-".into(), |mean| format!("{mean:.0} x{:.1}", mean / ours)));
    }
}

/// Nanoseconds of each piece of work: all take turns, round by round; the least of the rounds.
fn race(works: &mut [Work<'_>]) -> Vec<f64> {
    let mut least = vec![f64::MAX; works.len()];
    for _ in 0..ROUNDS {
        for (work, least) in works.iter_mut().zip(&mut least) {
            let mut times: Vec<f64> = (0..5)
                .map(|_| {
                    let start = ThreadTime::now();
                    (0..TURNS / 5).for_each(|_| work());
                    start.elapsed().as_nanos() as f64 / f64::from(TURNS / 5)
                })
                .collect();
            times.sort_by(f64::total_cmp);
            *least = least.min(times[2]);
        }
    }
    least
}
