//! Transfers (RFC 3515): a REFER, and what becomes of it.

use super::{B2bua, passed_on, refusal};
use crate::headers::{Header, ReferTo, Replaces};
use crate::message::{Content, Request, Status};
use crate::ua::{NewRefer, Notice, UserAgent};
use crate::{DialogId, Instant, ServerTxn, SubscriptionId};
use alloc::format;
use alloc::string::String;

impl B2bua {
    pub(super) fn refer(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        txn: ServerTxn,
        (dialog, subscription): (Option<DialogId>, Option<SubscriptionId>),
        request: &Request<'_>,
    ) {
        // Not another fork than the one that the caller talks to.
        let is_its = |other: &DialogId| self.others.get(other).copied() == dialog;
        let other = dialog.and_then(|dialog| self.others.get(&dialog).copied()).filter(is_its);
        let (Some(other), Ok(Some(refer_to))) = (other, request.get::<ReferTo<'_>>()) else {
            let _ = machine.respond(now, txn, Status::FORBIDDEN, &Content::NONE);
            return;
        };
        let refer_to = self.translated(machine, &refer_to);
        let asked = passed_on(request, None, |content| {
            let follow = subscription.is_some();
            let refer = NewRefer { follow, content: *content, ..NewRefer::new(&refer_to) };
            machine.refer_in(now, other, &refer)
        });
        match asked {
            Ok(asked) => {
                self.referred.insert(asked, txn);
                if let Some(subscription) = subscription {
                    self.referrals.insert(asked, subscription);
                    self.referrals.insert(subscription, asked);
                }
            }
            Err(_) => drop(machine.respond(now, txn, Status::SERVER_INTERNAL_ERROR, &Content::NONE)),
        }
    }

    /// Whom the other side is to contact. A call through this agent has another name there: that of its other half (RFC 3891 §3).
    pub(super) fn translated(&self, machine: &UserAgent, refer_to: &ReferTo<'_>) -> String {
        let replaced = refer_to.invitation().and_then(|(_, replaces)| {
            let replaces = Replaces::whole(replaces.as_bytes()).ok()?;
            let dialog = machine.dialog(replaces.call_id, replaces.to_tag()?, replaces.from_tag()?)?;
            machine.refer_to(*self.others.get(&dialog)?).ok()
        });
        replaced.unwrap_or_else(|| format!("<{}>", String::from_utf8_lossy(refer_to.0.uri_bytes)))
    }

    /// The REFER has its response.
    pub(super) fn referral(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        asked: SubscriptionId,
        status: Status,
        content: &Content<'_>,
    ) {
        if let Some(txn) = self.referred.remove(&asked) {
            let _ = machine.respond(now, txn, refusal(status), content);
        }
    }

    pub(super) fn notified(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        asked: SubscriptionId,
        notice: Notice,
        request: Option<&Request<'_>>,
    ) {
        // A NOTIFY may come before the response.
        self.referral(now, machine, asked, Status::ACCEPTED, &Content::NONE);
        let Some(subscription) = self.referrals.get(&asked) else { return };
        let _ = match request {
            Some(request) => {
                passed_on(request, None, |content| machine.notify(now, *subscription, notice, content))
            }
            None => machine.notify(now, *subscription, notice, &Content::NONE),
        };
    }
}
