//! Real time as the core counts it.

use sip_core::Instant;

/// Microseconds since the driver was made.
#[derive(Clone, Copy)]
pub(crate) struct Clock(tokio::time::Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(tokio::time::Instant::now())
    }

    pub(crate) fn now(self) -> Instant {
        Instant::from_micros(u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The moment at which `instant` has come: a microsecond late rather than early.
    pub(crate) fn moment(self, instant: Instant) -> tokio::time::Instant {
        let far = core::time::Duration::from_secs(86_400 * 365);
        self.0 + instant.since(Instant::ZERO).min(far)
    }
}
