//! Session timers (RFC 4028): who refreshes does so at half of the interval, who waits hangs up before its end.

use super::alarms::Due;
use super::record::Phase;
use super::requests::Purpose;
use super::{Event, Reason, UserAgent};
use crate::dialog::session_timer::Terms;
use crate::handle::{DialogId, Key};
use crate::headers::{Name, Refresher};
use crate::message::{Content, Message, Method, Writer, push_number};
use alloc::vec::Vec;
use core::time::Duration;

/// When it is looked again whether a change has come through.
const AGAIN: Duration = Duration::from_secs(2);

/// Session-Expires of a 2xx; Require if the one who asked is to refresh (§9).
pub(super) fn write_answer(writer: &mut Writer<'_>, terms: Terms, required: bool) {
    let refresher = if terms.ours { Refresher::Uas } else { Refresher::Uac };
    write_expires(writer, terms.interval, Some(refresher));
    if required {
        writer.field(Name::Require, &[b"timer"]);
    }
}

fn write_expires(writer: &mut Writer<'_>, interval: u32, refresher: Option<Refresher>) {
    let mut number = Vec::with_capacity(10);
    push_number(&mut number, interval.into());
    let param: &[u8] = match refresher {
        Some(Refresher::Uac) => b";refresher=uac",
        Some(Refresher::Uas) => b";refresher=uas",
        None => b"",
    };
    writer.field(Name::SessionExpires, &[&number, param]);
}

/// What an INVITE or UPDATE of this side says of session timers: `terms` are those of the session, if it has some (§7.1, §7.4).
pub(super) fn write_request(
    writer: &mut Writer<'_>,
    wanted: &super::SessionTimer,
    terms: Option<Terms>,
    min_se: u32,
) {
    let min = wanted.min().max(min_se);
    match terms {
        Some(terms) => {
            let refresher = if terms.ours { Refresher::Uac } else { Refresher::Uas };
            write_expires(writer, terms.interval.max(min), Some(refresher));
        }
        None => match wanted.expires {
            Some(expires) => {
                let expires = u32::try_from(expires.as_secs()).unwrap_or(u32::MAX);
                write_expires(writer, expires.max(min), wanted.refresher);
            }
            None if min_se == 0 => return,
            None => {}
        },
    }
    if min > 90 {
        writer.number(Name::MinSe, min.into());
    }
}

impl UserAgent {
    /// The session begins anew to last as long as was agreed.
    pub(super) fn start_timer(&mut self, key: Key, terms: Option<Terms>) {
        self.note_change(key);
        let clock = self.layer.clock();
        let Some(record) = self.dialogs.get_mut(key).filter(|record| record.session.is_alive()) else {
            return;
        };
        self.alarms.stop(record.session.timer_alarm.take());
        record.session.timer = terms;
        record.session.timer_ends = terms.map(|terms| clock + terms.over_after());
        if let Some(terms) = terms {
            let (after, due) = match terms.ours {
                true => (terms.refresh_after(), Due::Refresh(key)),
                false => (terms.over_after(), Due::Unrefreshed(key)),
            };
            record.session.timer_alarm = Some(self.alarms.set(clock, after, due));
        }
    }

    /// A 2xx to an INVITE or UPDATE of this side says what is agreed (§7.2).
    pub(super) fn agree(&mut self, key: Key, response: &Message<'_>) {
        self.start_timer(key, crate::dialog::session_timer::agreed(response));
    }

    /// What an UPDATE says that was sent before the session was up. The INVITE may have agreed on something since, and nobody can say which of the two
    /// the peer heard last: who refreshes in any case is right.
    pub(super) fn agree_late(&mut self, key: Key, said: Option<Terms>) {
        let Some(session) = self.dialogs.get(key).map(|record| &record.session) else { return };
        let up = session.phase == Phase::Up;
        let interval = said.into_iter().chain(session.timer).map(|terms| terms.interval).min();
        // Before it is up, nothing is agreed on: the INVITE has the last word.
        if let Some(interval) = interval.filter(|_| up) {
            self.start_timer(key, Some(Terms { interval, ours: true }));
        }
    }

    pub(super) fn on_refresh_due(&mut self, key: Key) {
        let clock = self.layer.clock();
        let Some(record) = self.dialogs.get_mut(key) else { return };
        let session = &mut record.session;
        let Some(terms) = session.timer.filter(|_| session.phase == Phase::Up) else { return };
        let usual = terms.over_after().saturating_sub(terms.refresh_after());
        let left = session.timer_ends.map_or(usual, |ends| ends.since(clock));
        // A change that is under way is a refresh too, if it comes through in time: at the peer a re-INVITE may wait for somebody.
        let update = session.takes_update;
        let changing =
            session.own_update.is_some() || session.own_invite.is_some() && (!update || left > usual / 2);
        let again = changing && left > AGAIN;
        let (after, due) = if again { (AGAIN, Due::Refresh(key)) } else { (left, Due::Unrefreshed(key)) };
        session.timer_alarm = Some(self.alarms.set(clock, after, due));
        if changing {
            return;
        }
        // If that fails the session ends in time (§7.4).
        if !update || self.send_inside(key, Purpose::Refresh, Method::Update, 0, &Content::NONE, &[]).is_err()
        {
            self.ask_to_refresh(key);
        }
    }

    /// The peer does not take an UPDATE, though it said so: the user may try it with a re-INVITE. Nor does it where the peer refuses this one for now, and
    /// there is no time left for another.
    pub(super) fn on_refresh_refused(&mut self, key: Key, code: u16, after: Duration) {
        let clock = self.layer.clock();
        let Some(session) = self.session_mut(key) else { return };
        let for_now = matches!(code, 491 | 500 | 503 | 504);
        session.takes_update &= for_now;
        let left = session.timer_ends.map_or(Duration::ZERO, |ends| ends.since(clock));
        // A few times in what is left.
        let wait = after.max(AGAIN).max(left / 4);
        if !for_now || left <= wait.saturating_add(AGAIN) {
            return self.ask_to_refresh(key);
        }
        let before = session.timer_alarm.take();
        self.alarms.stop(before);
        let again = self.alarms.set(clock, wait, Due::Refresh(key));
        if let Some(session) = self.session_mut(key) {
            session.timer_alarm = Some(again);
        }
    }

    pub(super) fn ask_to_refresh(&mut self, key: Key) {
        let up = |record: &&super::record::Record| record.session.phase == Phase::Up;
        if let Some(user) = self.dialogs.get(key).filter(up).map(|record| record.user) {
            self.push(Event::RefreshDue { dialog: DialogId(key), user });
        }
    }

    /// §10: the one who sees it first hangs up.
    pub(super) fn on_unrefreshed(&mut self, key: Key) {
        if self.dialogs.get(key).is_some_and(|record| record.session.phase == Phase::Up) {
            self.abandon(key, Reason::NotRefreshed);
        }
    }
}
