//! `cargo bench -p sip-core --bench timers`: the timers alone, a million armed; nanoseconds of one operation, the median of five
//! runs, beside an ordered set of the standard library that holds the same timers.
//!
//! They are no part of the interface: this compiles their source once more.

extern crate alloc;

#[allow(dead_code, unreachable_pub, unused_imports, reason = "the timers need a part of it")]
#[path = "../src/transaction/lanes.rs"]
mod lanes;
#[allow(dead_code, unreachable_pub, unused_imports, reason = "the timers need a part of it")]
#[path = "../src/paged.rs"]
mod paged;
#[allow(dead_code, unreachable_pub, unused_imports, reason = "the timers need a part of it")]
#[path = "../src/time.rs"]
mod time;

use core::hint::black_box;
use lanes::Lanes;
use std::collections::BTreeSet;
use time::Instant;

const ARMED: u32 = 1_000_000;
const OPERATIONS: u32 = 500_000;
/// Milliseconds: T1, doubled up to T2, T4, 64·T1, the 100 of an INVITE, and the guards.
const DELAYS: [u64; 9] = [200, 500, 1_000, 2_000, 4_000, 5_000, 32_000, 181_000, 300_000];

/// What holds timers: named by a number, due at an instant.
trait Timers {
    fn arm(&mut self, timer: u32, now: Instant, delay: u64);
    fn disarm(&mut self, timer: u32);
    fn next(&self) -> Option<(Instant, u32)>;
}

impl Timers for Lanes {
    fn arm(&mut self, timer: u32, now: Instant, delay: u64) {
        self.arm(timer, now, delay);
    }

    fn disarm(&mut self, timer: u32) {
        self.disarm(timer);
    }

    fn next(&self) -> Option<(Instant, u32)> {
        self.next()
    }
}

/// An ordered set, and when each timer is due.
struct Ordered(BTreeSet<(Instant, u32)>, Vec<Option<Instant>>);

impl Timers for Ordered {
    fn arm(&mut self, timer: u32, now: Instant, delay: u64) {
        self.disarm(timer);
        let due = Instant::from_micros(now.as_micros() + delay);
        self.1[timer as usize] = Some(due);
        self.0.insert((due, timer));
    }

    fn disarm(&mut self, timer: u32) {
        if let Some(due) = self.1[timer as usize].take() {
            self.0.remove(&(due, timer));
        }
    }

    fn next(&self) -> Option<(Instant, u32)> {
        self.0.first().copied()
    }
}

fn main() {
    println!("{:<44}{:>16}{:>10}{:>10}", "a million armed; ns", "cancel+insert", "expire", "next");
    let known = |number: u64| DELAYS[number as usize % DELAYS.len()] * 1_000;
    // What timers of one's own come to: more delays than there are lanes.
    let any = |number: u64| 200_000 + number % 32_000_000;
    row("by the delays of SIP", Lanes::default, known);
    // Beyond the lanes there is an indexed heap.
    row("by any delay, in the heap", Lanes::default, any);
    row("ordered set, by any delay", || Ordered(BTreeSet::new(), vec![None; ARMED as usize]), any);
}

fn row<T: Timers>(name: &str, make: impl Fn() -> T, delay: impl Fn(u64) -> u64) {
    let mut runs: [Vec<f64>; 3] = Default::default();
    for _ in 0..5 {
        for (times, time) in runs.iter_mut().zip(run(make(), &delay)) {
            times.push(time);
        }
    }
    let [again, expire, next] = runs.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    println!("{name:<44}{again:>16.0}{expire:>10.0}{next:>10.1}");
}

fn run(mut timers: impl Timers, delay: &impl Fn(u64) -> u64) -> [f64; 3] {
    // Numbers without an order, the same in every run.
    let mut state = 7_u64;
    let mut number = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        state >> 33
    };
    let mut now = Instant::ZERO;
    let tick = core::time::Duration::from_micros(30);
    for timer in 0..ARMED {
        timers.arm(timer, now, delay(number()));
        now += tick;
    }
    let again = time(|| {
        let (timer, number) = (number() as u32 % ARMED, number());
        timers.arm(timer, now, delay(number));
        now += tick;
    });
    let next = time(|| {
        black_box(black_box(&timers).next());
    });
    let expire = time(|| {
        let (_, timer) = timers.next().expect("a timer is armed");
        timers.disarm(timer);
    });
    [again, expire, next]
}

/// Nanoseconds of one operation.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn time(mut operation: impl FnMut()) -> f64 {
    let start = std::time::Instant::now();
    (0..OPERATIONS).for_each(|_| operation());
    start.elapsed().as_nanos() as f64 / f64::from(OPERATIONS)
}
