//! What names a dialog and its two sides.

use super::Id;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// What never changes in a dialog: as there may be a million of them, one text with its parts behind each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    text: Box<[u8]>,
    /// Where each part but the last ends.
    ends: [u32; PARTS - 1],
}

const PARTS: usize = 5;

impl Names {
    /// The dialog with this id, and the values of From and To in requests of this side.
    pub(crate) fn new(id: &Id<'_>, local: &[u8], remote: &[u8]) -> Self {
        Self::of([id.call_id, id.local_tag, id.remote_tag, local, remote])
    }

    pub(crate) fn of(parts: [&[u8]; PARTS]) -> Self {
        let mut text = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        let mut ends = [0; PARTS - 1];
        for (at, part) in parts.into_iter().enumerate() {
            text.extend_from_slice(part);
            if let Some(end) = ends.get_mut(at) {
                *end = text.len() as u32;
            }
        }
        Self { text: text.into(), ends }
    }

    pub(crate) fn parts(&self) -> [&[u8]; PARTS] {
        let [a, b, c, d] = self.ends.map(|end| end as usize);
        let part = |from: usize, to: usize| self.text.get(from..to).unwrap_or_default();
        [part(0, a), part(a, b), part(b, c), part(c, d), part(d, self.text.len())]
    }

    pub(crate) fn id(&self) -> Id<'_> {
        let [call_id, local_tag, remote_tag, ..] = self.parts();
        Id { call_id, local_tag, remote_tag }
    }
}
