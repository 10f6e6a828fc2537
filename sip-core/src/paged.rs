//! A growing array that never moves what it holds: growth costs one page, however many there are.

use alloc::vec::Vec;

/// Large enough that the list of pages stays in the first cache, with a million entries too.
const PAGE: usize = 2_048;

/// Entries in pages of [`PAGE`].
pub(crate) struct Paged<T>(Vec<Vec<T>>);

impl<T> Paged<T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn len(&self) -> usize {
        match self.0.last() {
            Some(last) => (self.0.len() - 1) * PAGE + last.len(),
            None => 0,
        }
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.0.get(index as usize / PAGE)?.get(index as usize % PAGE)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.0.get_mut(index as usize / PAGE)?.get_mut(index as usize % PAGE)
    }

    /// Appends an entry and returns its index.
    pub(crate) fn push(&mut self, entry: T) -> u32 {
        let index = self.len() as u32;
        match self.0.last_mut().filter(|last| last.len() < PAGE) {
            Some(last) => last.push(entry),
            None => {
                // The first page grows as it is needed: most machines are small.
                let mut page = if self.0.is_empty() { Vec::new() } else { Vec::with_capacity(PAGE) };
                page.push(entry);
                self.0.push(page);
            }
        }
        index
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stay_where_they_are() {
        let mut paged = Paged::new();
        for number in 0..10_000_u32 {
            assert_eq!(paged.push(number), number);
        }
        assert_eq!(paged.len(), 10_000);
        assert_eq!((paged.get(0), paged.get(9_999), paged.get(10_000)), (Some(&0), Some(&9_999), None));
        *paged.get_mut(2_048).unwrap() = 7;
        assert_eq!(paged.iter().map(|number| u64::from(*number)).sum::<u64>(), 49_995_000 - 2_048 + 7);
    }
}
