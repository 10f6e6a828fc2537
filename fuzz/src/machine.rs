//! One transaction, walked by bytes beside its pure machine.

use sip_core::Reliability::{Reliable, Unreliable};

#[path = "../../sip-core/tests/support/walk.rs"]
mod walk;

/// The first byte picks the machine and the transport, each other one a step: see `sip-core/tests/support/walk.rs`.
pub fn machine(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let kind = walk::KINDS[usize::from(first % 4)];
    let on = if first & 4 == 0 { Unreliable } else { Reliable };
    let mut bytes = rest.iter();
    let steps = rest.len().min(400);
    let mut choose = |below: u32| bytes.next().map_or(0, |byte| u32::from(*byte) % below);
    walk::walk(kind, on, steps, &mut choose);
}
