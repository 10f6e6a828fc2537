//! The side that is challenged, without the feature `auth`: it has no answer.

use super::Credentials;
use crate::message::{Message, Method, Writer};

/// Answers to challenges: none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers(());

impl Answers {
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
