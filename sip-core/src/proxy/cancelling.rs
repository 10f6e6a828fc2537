//! Branches that are not wanted any more (RFC 3261 §9.1, §16.7 step 10, §16.10).

use super::best::Origin;
use super::{CancelMode, Part, Proxy};
use crate::endpoint::{Misuse, Txn};
use crate::handle::{ClientTxn, Key};
use crate::transaction::{State, ict};
use alloc::string::String;
use alloc::vec::Vec;

impl Proxy {
    /// Cancels a branch in the way that is configured.
    pub(super) fn cancel_txn(&mut self, id: Key, txn: ClientTxn, reason: &[u8]) -> Result<(), Misuse> {
        let is_silent = !self.rings(txn);
        match self.config.cancel {
            CancelMode::Now => self.layer.cancel_at_once(txn, reason),
            CancelMode::CountNow if is_silent => {
                self.layer.cancel_because(txn, reason)?;
                if self.branches.get(id).is_some_and(|branch| !branch.is_done) {
                    self.fail(id, Origin::Cancelled);
                }
                Ok(())
            }
            _ => self.layer.cancel_because(txn, reason),
        }
    }

    /// Nobody is wanted any more: all branches that have no final response are cancelled, for a reason that is written if there are some.
    pub(super) fn cancel_branches(&mut self, key: Key, reason: impl FnOnce(&Self) -> String) {
        self.cancel_those(key, |part| part != Part::Copy, reason);
    }

    pub(super) fn cancel_minor(&mut self, key: Key) {
        let ids = self.contexts.get(key).map(|context| context.branches.clone()).unwrap_or_default();
        for id in ids {
            if let Some(branch) = self.branches.get_mut(id).filter(|branch| branch.part == Part::Minor) {
                branch.given_up = true;
            }
        }
        self.cancel_those(key, |part| part == Part::Minor, |_| String::new());
    }

    pub(super) fn cancel_those(
        &mut self,
        key: Key,
        is_meant: fn(Part) -> bool,
        reason: impl FnOnce(&Self) -> String,
    ) {
        let waiting = self.under_way(key, is_meant);
        if waiting.is_empty() {
            return;
        }
        let reason = reason(self);
        for (id, txn) in waiting {
            // What has not left is not sent; what is no INVITE ends by itself.
            let unsent = self.layer.is_unsent(txn) && self.layer.abort(Txn::Client(txn));
            if !unsent {
                let _ = self.cancel_txn(id, txn, reason.as_bytes());
            }
        }
    }

    /// Who only listens need not ring when the call has its answer. What has not been heard of ends in its time.
    pub(super) fn quiet_copies(&mut self, key: Key) {
        for (_, txn) in self.under_way(key, |part| part == Part::Copy) {
            if self.rings(txn) {
                let _ = self.layer.cancel_because(txn, b"");
            }
        }
    }

    /// What has not been heard of is given up, and counts as this says.
    pub(super) fn abort_silent(&mut self, key: Key, is_meant: fn(Part) -> bool, origin: Origin) {
        for (id, txn) in self.under_way(key, is_meant) {
            if !self.rings(txn) {
                self.fail(id, origin);
                self.layer.abort(Txn::Client(txn));
            }
        }
    }

    /// The branches of such parts that have no final response.
    fn under_way(&self, key: Key, is_meant: fn(Part) -> bool) -> Vec<(Key, ClientTxn)> {
        let all = self.contexts.get(key).into_iter().flat_map(|context| &context.branches);
        let open = |id: &Key| {
            let branch = self.branches.get(*id).filter(|branch| !branch.is_done && is_meant(branch.part));
            Some((*id, branch?.txn?))
        };
        all.filter_map(open).collect()
    }

    /// Whether an INVITE has a provisional response.
    pub(super) fn rings(&self, txn: ClientTxn) -> bool {
        matches!(self.layer.state(Txn::Client(txn)), Some(State::Ict(ict::State::Proceeding { .. })))
    }
}
