//! An agent of the examples over virtual time, its peers played by hand.

use super::{Out, Rig};
use sip_core::ua::{Config, UserAgent};
use sip_core::{Instant, Machine, Output, TransactionUser};

/// An agent and its machine.
pub(crate) struct Acting<U> {
    pub(crate) rig: Rig<UserAgent>,
    pub(crate) agent: U,
    out: Vec<Out>,
}

impl<U: TransactionUser<UserAgent>> Acting<U> {
    pub(crate) fn new(config: Config, agent: U) -> Self {
        Self { rig: Rig::new(UserAgent::new(config)), agent, out: Vec::new() }
    }
    pub(crate) fn hear(&mut self, text: &str) {
        let event = self.rig.machine.datagram(self.rig.now, Rig::<UserAgent>::source(), text.as_bytes());
        if let Some(event) = event {
            self.agent.event(self.rig.now, &mut self.rig.machine, event);
        }
    }
    /// All that is due up to then; how often the user was woken at one instant at most.
    pub(crate) fn run(&mut self, until: Instant) -> usize {
        let mut most = 0;
        let mut here = 0;
        loop {
            let next = self.rig.machine.deadline().into_iter().chain(self.agent.deadline()).min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            if next > self.rig.now {
                here = 0;
                self.rig.now = next;
            }
            here += 1;
            most = most.max(here);
            if here > 1000 {
                return most;
            }
            self.settle();
        }
        self.rig.now = self.rig.now.max(until);
        self.settle();
        most
    }
    pub(crate) fn settle(&mut self) {
        let now = self.rig.now;
        self.rig.machine.advance(now);
        if self.agent.deadline().is_some_and(|due| due <= now) {
            self.agent.advance(now, &mut self.rig.machine);
        }
        while let Some(output) = self.rig.machine.poll() {
            match output {
                Output::Transmit(transmit) => self.out.push(Out::Sent {
                    at: now,
                    to: String::new(),
                    bytes: String::from_utf8_lossy(transmit.bytes).into_owned(),
                    again: transmit.retransmission,
                }),
                Output::Event(event) => {
                    self.out.push(Out::Event { at: now, event: format!("{event:?}") });
                    self.agent.event(now, &mut self.rig.machine, event);
                }
                _ => {}
            }
        }
    }
    pub(crate) fn take(&mut self) -> Vec<Out> {
        core::mem::take(&mut self.out)
    }
}
