//! What names a dialog and its two sides.

use super::Id;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Call-ID, local tag, remote tag, the values of From and To in requests of this side, and the remote target, the only one that may change:
/// as there may be a million of them, one text with its parts behind each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    text: Box<[u8]>,
    /// Where each part but the last ends.
    ends: [u32; PARTS - 1],
}

const PARTS: usize = 6;

impl Names {
    /// Each part as the pieces that it is made of.
    pub(crate) fn of(parts: [&[&[u8]]; PARTS]) -> Self {
        let mut text = Vec::with_capacity(parts.iter().flat_map(|part| part.iter()).map(|it| it.len()).sum());
        let mut ends = [0; PARTS - 1];
        for (at, part) in parts.into_iter().enumerate() {
            part.iter().for_each(|piece| text.extend_from_slice(piece));
            if let Some(end) = ends.get_mut(at) {
                *end = text.len() as u32;
            }
        }
        Self { text: text.into(), ends }
    }

    /// They begin where the one before ends.
    pub(crate) fn parts(&self) -> [&[u8]; PARTS] {
        let [a, b, c, d, e] = self.ends.map(|end| end as usize);
        let part = |from: usize, to: usize| self.text.get(from..to).unwrap_or_default();
        [part(0, a), part(a, b), part(b, c), part(c, d), part(d, e), part(e, self.text.len())]
    }

    pub(crate) fn id(&self) -> Id<'_> {
        let [call_id, local_tag, remote_tag, ..] = self.parts();
        Id { call_id, local_tag, remote_tag }
    }

    pub(crate) fn target(&self) -> &[u8] {
        let [.., end] = self.ends;
        self.text.get(end as usize..).unwrap_or_default()
    }

    pub(crate) fn set_target(&mut self, target: &[u8]) {
        if *target != *self.target() {
            let [a, b, c, d, e, _] = self.parts();
            *self = Self::of([&[a], &[b], &[c], &[d], &[e], &[target]]);
        }
    }
}
