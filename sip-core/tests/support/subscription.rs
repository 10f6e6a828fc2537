//! A subscription of a user agent, its notifier played by hand.

use super::call::{CONTACT, hear, sent};
use super::{PEER, Rig, US, header, response};
use core::time::Duration;
use sip_core::SubscriptionId;
use sip_core::ua::{Config, NewSubscription, UserAgent};

/// A NOTIFY of the notifier that has this tag.
pub(crate) fn notify(subscribe: &str, tag: &str, cseq: u32, state: &str) -> String {
    let to = header(subscribe, "To").unwrap().split(";tag").next().unwrap();
    format!(
        "NOTIFY sip:alice@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{tag}{cseq}\r\nFrom: {to};tag={tag}\r\n\
         To: {}\r\nCall-ID: {}\r\nCSeq: {cseq} NOTIFY\r\nMax-Forwards: 70\r\n{CONTACT}\
         Event: {}\r\nSubscription-State: {state}\r\nContent-Length: 0\r\n\r\n",
        header(subscribe, "From").unwrap(),
        header(subscribe, "Call-ID").unwrap(),
        header(subscribe, "Event").unwrap_or("refer"),
    )
}

/// A subscription to presence for 100 s that has been notified, and its SUBSCRIBE.
pub(crate) fn subscribed(config: Config) -> (Rig<UserAgent>, SubscriptionId, String) {
    let uri = format!("sip:bob@{PEER}");
    let new = NewSubscription { expires: Duration::from_secs(100), ..NewSubscription::new(&uri, "presence") };
    begun(config, &new)
}

/// A subscription that has been notified, and its SUBSCRIBE.
pub(crate) fn begun(config: Config, new: &NewSubscription<'_>) -> (Rig<UserAgent>, SubscriptionId, String) {
    let mut rig = Rig::new(UserAgent::new(config));
    let id = rig.machine.subscribe(rig.now, new).unwrap();
    let first = sent(&rig.drain(), "SUBSCRIBE");
    let seconds = new.expires.as_secs();
    hear(&mut rig, &response(&first, "200 OK", "n1", &format!("Expires: {seconds}\r\n")));
    hear(&mut rig, &notify(&first, "n1", 1, &format!("active;expires={seconds}")));
    rig.drain();
    (rig, id, first)
}
