//! A machine that is given generated steps, and what came of them as text.

use super::{Rig, US};
use sip_core::{Instant, Local, Machine, Output, Transport};

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Datagram(Vec<u8>),
    Advance,
    Command { kind: u8, handle: u64 },
}

/// Carries out the command that a kind and a handle stand for; its result as text.
pub(crate) type Give<M> = fn(&mut M, Instant, u8, u64) -> String;

pub(crate) struct Driven<M: Machine> {
    pub(crate) machine: M,
    give: Give<M>,
    pub(crate) returned: Vec<String>,
    pub(crate) outputs: Vec<String>,
    /// The messages that went out.
    pub(crate) sent: Vec<String>,
}

impl<M: Machine> Driven<M> {
    /// The machine with one address, [`US`].
    pub(crate) fn new(mut machine: M, give: Give<M>) -> Self {
        let addr = US.parse().unwrap();
        machine.listen(Instant::ZERO, Local { transport: Transport::Udp, addr, advertised: None });
        Self { machine, give, returned: Vec::new(), outputs: Vec::new(), sent: Vec::new() }
    }

    pub(crate) fn take(&mut self, now: Instant, step: &Step) {
        match step {
            Step::Datagram(data) => {
                let event = self.machine.datagram(now, Rig::<M>::source(), data);
                self.returned.extend(event.map(|event| format!("{event:?}")));
            }
            Step::Advance => self.machine.advance(now),
            Step::Command { kind, handle } => {
                let done = (self.give)(&mut self.machine, now, *kind, *handle);
                self.returned.push(done);
            }
        }
    }

    /// Takes at most so many outputs; how many there were.
    pub(crate) fn drain(&mut self, most: usize) -> usize {
        for drained in 0..most {
            let Some(output) = self.machine.poll() else { return drained };
            self.outputs.push(match &output {
                Output::Transmit(transmit) => {
                    let text = String::from_utf8_lossy(transmit.bytes).into_owned();
                    self.sent.push(text.clone());
                    format!("{:?} {text}", transmit.to)
                }
                other => format!("{other:?}"),
            });
        }
        most
    }

    /// The requests that went out.
    pub(crate) fn requests(&self) -> Vec<&String> {
        self.sent.iter().filter(|text| !text.starts_with("SIP/2.0")).collect()
    }
}
