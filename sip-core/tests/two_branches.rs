//! A proxy with two branches, model-checked: whatever order responses, the caller's CANCEL and the end of every wait come in, RFC 3261 §16.7 holds after each
//! of them, and all ends. A model beside the machine says what has come of each branch, and nothing of how.

mod support;

use core::time::Duration;
use sip_core::proxy::{Config, Event, Proxy};
use sip_core::{Instant, Machine, Output};
use support::proxying::{B, C, config, invite, relayed, request, rig};
use support::{Rig, response};

/// What may happen, each once at the most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Happens {
    /// A response of the first or the second branch.
    Says(usize, u16),
    /// The caller cancels.
    Cancel,
    /// So many seconds pass: what is silent times out (32), what rings too long is cancelled (181), what was cancelled is given up.
    Pass(u64),
}

use Happens::{Cancel, Pass, Says};

const ALL: [Happens; 11] = [
    Says(0, 180),
    Says(0, 200),
    Says(0, 486),
    Says(0, 603),
    Says(1, 180),
    Says(1, 200),
    Says(1, 404),
    Says(1, 503),
    Cancel,
    Pass(33),
    Pass(182),
];

/// A branch as its callee sees it.
#[derive(Clone, Copy, Default, Debug)]
struct Callee {
    rang: bool,
    /// Its first final response.
    last: Option<u16>,
    cancelled: Option<Instant>,
}

impl Callee {
    /// Whether what it says is of no interest: it has said its last, or has said nothing for 64·T1, from the start or from its CANCEL on.
    fn is_over(&self, now: Instant) -> bool {
        let since = if self.rang { self.cancelled } else { Some(Instant::ZERO) };
        self.last.is_some() || since.is_some_and(|since| now >= since + Duration::from_secs(32))
    }
}

/// What has gone back to the caller, and what is known of the two.
#[derive(Default, Debug)]
struct Model {
    callees: [Callee; 2],
    /// Their final responses, in the order in which they came.
    said: Vec<u16>,
    /// What was said of the request: the final responses.
    finals: Vec<u16>,
    caller_cancelled: bool,
    ended: u32,
}

struct Run {
    rig: Rig<Proxy>,
    sent: Vec<String>,
    model: Model,
    history: Vec<Happens>,
}

impl Run {
    fn new() -> Self {
        let mut rig = rig(Config { reasons: false, ..config() });
        let (_, sent) = relayed(&mut rig, &invite("1"), &[B, C]);
        Self { rig, sent, model: Model::default(), history: Vec::new() }
    }

    /// What goes out now, and that it may.
    fn drain(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        let mut lines = Vec::new();
        while let Some(output) = self.rig.machine.poll() {
            match output {
                Output::Transmit(transmit) if !transmit.retransmission => {
                    let text = String::from_utf8_lossy(transmit.bytes).into_owned();
                    lines.push(text);
                }
                Output::Event(Event::Ended { .. }) => self.model.ended += 1,
                _ => {}
            }
        }
        for text in lines {
            let line = text.lines().next().unwrap_or_default().to_owned();
            if line.starts_with("CANCEL") {
                let callee = usize::from(line.contains("192.0.2.8"));
                let found = &mut self.model.callees[callee];
                // RFC 3261 §9.1: once, to who was heard of and has said nothing final.
                assert!(
                    found.rang && found.last.is_none() && found.cancelled.is_none(),
                    "{:?} {:?}",
                    self.history,
                    self.model
                );
                found.cancelled = Some(self.rig.now);
            }
            all.push(line);
        }
        all
    }

    fn apply(&mut self, what: Happens) {
        self.history.push(what);
        match what {
            Says(callee, code) => {
                let text = response(&self.sent[callee], &format!("{code} X"), ["b", "c"][callee], "");
                self.rig.hear(&text);
            }
            Cancel => {
                self.rig.hear(&request("CANCEL", "sip:bob@example.com", "1", ""));
            }
            Pass(seconds) => self.pass(seconds),
        }
        let before = self.model.callees;
        let open = self.model.finals.is_empty();
        if let Says(callee, code) = what {
            let found = &mut self.model.callees[callee];
            match code {
                _ if found.is_over(self.rig.now) => {}
                ..200 => found.rang = true,
                _ => {
                    found.last = Some(code);
                    self.model.said.push(code);
                }
            }
        }
        let lines = self.drain();
        self.judge(what, &before, open, &lines);
    }

    /// Time passes; what the proxy does at each deadline is looked at there.
    fn pass(&mut self, seconds: u64) {
        let until = self.rig.now + Duration::from_secs(seconds);
        while let Some(due) = self.rig.machine.deadline().filter(|due| *due <= until) {
            self.rig.now = self.rig.now.max(due);
            self.rig.machine.advance(self.rig.now);
            let before = self.model.callees;
            let open = self.model.finals.is_empty();
            let lines = self.drain();
            self.judge(Pass(0), &before, open, &lines);
        }
        self.rig.now = until;
    }

    /// RFC 3261 §16.7, by what went out just now.
    fn judge(&mut self, what: Happens, before: &[Callee; 2], open: bool, lines: &[String]) {
        let context = format!("{:?} {:?} {lines:?}", self.history, self.model);
        let back =
            lines.iter().filter_map(|line| line.strip_prefix("SIP/2.0 ")?.get(..3)?.parse::<u16>().ok());
        // The 200 to a CANCEL is no answer to the INVITE; a 481 says that there is nothing to cancel any more.
        let mut back: Vec<u16> = back.filter(|code| *code >= 101).collect();
        if what == Cancel {
            let at = back.iter().position(|code| matches!(code, 200 | 481)).expect("a CANCEL is answered");
            back.remove(at);
        }
        let now = self.rig.now;
        let answered_2xx = |model: &Model| model.finals.contains(&200);
        match what {
            Says(callee, 200) => {
                // Step 5: at once, if it is the first final of this callee; unless the caller has been refused.
                let goes = !before[callee].is_over(now) && self.model.finals.iter().all(|code| *code == 200);
                assert_eq!(back, if goes { vec![200] } else { vec![] }, "{context}");
            }
            Says(callee, 180) => {
                let goes = !before[callee].is_over(now) && open;
                assert_eq!(back, if goes { vec![180] } else { vec![] }, "{context}");
            }
            _ => assert!(!back.contains(&200) && !back.contains(&180), "{context}"),
        }
        let failures: Vec<u16> = back.iter().copied().filter(|code| *code >= 300).collect();
        // One, and never behind a 2xx.
        assert!(failures.len() <= 1 && (failures.is_empty() || open), "{context}");
        self.model.finals.extend(back.iter().filter(|code| **code >= 200));
        if what == Cancel && open {
            self.model.caller_cancelled = true;
        }
        if let Some(code) = failures.first() {
            self.judge_best(*code, &context);
        }
        // Steps 5 and 10, §16.10: who rings and is not wanted any more is cancelled in the same moment.
        let refused = self.model.callees.iter().any(|callee| callee.last.is_some_and(|code| code >= 600));
        if answered_2xx(&self.model) || refused || self.model.caller_cancelled {
            for callee in &self.model.callees {
                assert!(!callee.rang || callee.last.is_some() || callee.cancelled.is_some(), "{context}");
            }
        }
    }

    /// Step 6: what has come of both.
    fn judge_best(&self, code: u16, context: &str) {
        let said = &self.model.said;
        if let Some(global) = said.iter().find(|code| **code >= 600) {
            return assert_eq!(code, *global, "{context}");
        }
        if self.model.caller_cancelled {
            return assert!(code == 487 || said.contains(&code) || code == 500, "{context}");
        }
        // What was said is better than that somebody said nothing; of two the lower class.
        let best = match said.iter().min_by_key(|code| (**code / 100, **code == 503)) {
            Some(503) => 500,
            Some(code) => *code,
            None => 408,
        };
        let timed_out = self.model.callees.iter().any(|callee| callee.last.is_none());
        assert!(code == best || timed_out && code == 408 && said.is_empty(), "{context}");
    }

    /// All ends, and every INVITE that was not taken has one refusal.
    fn finish(mut self) {
        for _ in 0..2 {
            self.pass(400);
            self.rig.hear(&request("ACK", "sip:bob@example.com", "1", ""));
        }
        let context = format!("{:?} {:?}", self.history, self.model);
        let taken = self.model.finals.iter().filter(|code| **code == 200).count();
        let refused = self.model.finals.len() - taken;
        assert!(taken > 0 && refused == 0 || taken == 0 && refused == 1, "{context}");
        assert_eq!(self.model.ended, 1, "{context}");
        assert!(self.rig.machine.is_idle() && self.rig.machine.stats().retained_bytes == 0, "{context}");
    }
}

/// Every order of every choice of so many of them.
fn explore(depth: usize, chosen: &mut Vec<Happens>, runs: &mut usize) {
    let mut run = Run::new();
    chosen.iter().for_each(|what| run.apply(*what));
    run.finish();
    *runs += 1;
    if chosen.len() == depth {
        return;
    }
    for what in ALL {
        if !chosen.contains(&what) {
            chosen.push(what);
            explore(depth, chosen, runs);
            chosen.pop();
        }
    }
}

#[test]
fn every_order_of_what_may_come_of_two_branches() {
    let depth = if cfg!(debug_assertions) { 4 } else { 6 };
    let mut runs = 0;
    explore(depth, &mut Vec::new(), &mut runs);
    println!("{runs} orders of up to {depth} of {} things", ALL.len());
    assert!(runs > 8_000, "{runs}");
}
