//! Bindings in memory.

use super::{Binding, Headers, Policy, Refusal, address_of_record, register};
use crate::message::{Request, Status};
use crate::time::Instant;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// All bindings of a registrar, by address-of-record.
///
/// A binding ends at its time, whether [`advance`](Self::advance) is called or not; that only gives its memory back.
#[derive(Clone, Debug, Default)]
pub struct Bindings(BTreeMap<String, Vec<Binding>>);

impl Bindings {
    /// Takes a REGISTER; the headers of its 200.
    ///
    /// # Errors
    /// As [`register`]; 404 if the URI of To is none that could have bindings, 503 if there are too many addresses-of-record.
    pub fn register(
        &mut self,
        now: Instant,
        request: &Request<'_>,
        policy: &Policy,
    ) -> Result<Headers, Refusal> {
        let aor = request.to().uri().ok().as_ref().and_then(address_of_record);
        let aor = aor.ok_or(Refusal::of(Status::NOT_FOUND))?;
        let known = self.0.get(&aor).map(Vec::as_slice).unwrap_or_default();
        let (bindings, headers) = register(now, request, known, policy)?;
        if known.is_empty() && !bindings.is_empty() && self.0.len() >= policy.addresses {
            self.advance(now);
            if self.0.len() >= policy.addresses {
                return Err(Refusal::of(Status::SERVICE_UNAVAILABLE));
            }
        }
        if bindings.is_empty() {
            self.0.remove(&aor);
        } else {
            self.0.insert(aor, bindings);
        }
        Ok(headers)
    }

    /// The bindings of an [`address_of_record`], those of the highest `q` first.
    pub fn of(&self, now: Instant, aor: &str) -> Vec<&Binding> {
        let all = self.0.get(aor).into_iter().flatten();
        let mut found: Vec<_> = all.filter(|binding| binding.until > now).collect();
        found.sort_by_key(|binding| core::cmp::Reverse(binding.q));
        found
    }

    /// How many addresses-of-record there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When the next binding ends.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.values().flatten().map(|binding| binding.until).min()
    }

    /// Forgets what has ended.
    pub fn advance(&mut self, now: Instant) {
        self.0.retain(|_, bindings| {
            bindings.retain(|binding| binding.until > now);
            !bindings.is_empty()
        });
    }
}
