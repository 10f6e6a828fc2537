//! Who takes part, and how each does the work. Every one is used in the fastest way that its public interface offers.

mod ours;
mod rsip;
mod rsipstack;
mod sipx;

/// One piece of work on one message.
pub type Work<'a> = Box<dyn FnMut() + 'a>;

/// A parser under test. Each function makes the work for a message, or says that it can't be done.
pub struct Contender {
    pub name: &'static str,
    /// Parses, and types all that routing needs.
    pub route_ready: fn(&[u8]) -> Option<Work<'_>>,
    /// Parses, and types nothing.
    pub parse: fn(&[u8]) -> Option<Work<'_>>,
    /// Makes a 200 of a request that is parsed already.
    pub respond: fn(&[u8]) -> Option<Work<'_>>,
    /// Writes a request that is parsed already.
    pub echo: fn(&[u8]) -> Option<Work<'_>>,
}

/// Ours first.
pub fn all() -> [Contender; 4] {
    [ours::CONTENDER, rsipstack::CONTENDER, sipx::CONTENDER, rsip::CONTENDER]
}

/// The To tag of the responses.
const TAG: &str = "314159";

/// The work, if a first try succeeds: what is refused is quick, and no measure.
fn work<'a>(mut turn: impl FnMut() -> Option<()> + 'a) -> Option<Work<'a>> {
    turn()?;
    Some(Box::new(move || {
        turn();
    }))
}
