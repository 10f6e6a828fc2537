//! Real time as the core counts it.

use core::time::Duration;
use sip_core::Instant;

/// Microseconds since the driver was made.
#[derive(Clone, Copy)]
pub(crate) struct Clock(std::time::Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "here the machine is told the real time")]
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(crate) fn now(self) -> Instant {
        Instant::from_micros(u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// How long it is until `instant`; a moment longer rather than shorter, so that nobody wakes too early.
    pub(crate) fn until(self, instant: Instant) -> Duration {
        let left = instant.since(self.now());
        if left.is_zero() { left } else { left + Duration::from_micros(1) }
    }
}
