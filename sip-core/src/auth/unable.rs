//! The side that is challenged, without the feature `auth`: it has no answer.

use super::Credentials;
use crate::message::{Message, Method, Writer};
#[cfg(feature = "snapshot")]
use crate::snapshot::{In, Keep, Out, RestoreError};

/// Answers to challenges: none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers(());

#[cfg(feature = "snapshot")]
/// Of answers that a machine with the feature has kept nothing is left.
impl Keep for Answers {
    fn keep(&self, out: &mut Out<'_>) {
        out.map(0);
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        from.skip().map(|()| Self(()))
    }

    fn missing() -> Result<Self, RestoreError> {
        Ok(Self(()))
    }
}

impl Answers {
    pub(crate) const fn with(_: &[Credentials]) -> Self {
        Self(())
    }

    pub(crate) const fn anew(&self) -> Self {
        Self(())
    }

    pub(crate) fn challenged(&mut self, _: &Message<'_>, _: &Message<'_>, _: &[Credentials]) -> bool {
        false
    }

    pub(crate) const fn is_empty(&self) -> bool {
        true
    }

    pub(crate) fn write(
        &mut self,
        _: &mut Writer<'_>,
        _: Method<'_>,
        _: &[u8],
        _: &[u8],
        _: &[Credentials],
        _: u64,
    ) {
    }
}
