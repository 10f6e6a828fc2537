//! A proxy, its neighbours played by hand.

use super::{Out, PEER, Rig};
use sip_core::proxy::{Branch, Config, Event, Proxy};
use sip_core::{ContextId, Machine};

pub(crate) const B: Branch<'static> = Branch::to("sip:b@192.0.2.7");
pub(crate) const C: Branch<'static> = Branch::to("sip:c@192.0.2.8");

pub(crate) fn config() -> Config {
    Config { domains: vec!["example.com".into()], ..Config::new(sip_core::Config::new([9; 32])) }
}

pub(crate) fn rig(config: Config) -> Rig<Proxy> {
    Rig::new(Proxy::new(config))
}

/// A request of the caller's. `extra` has its own lines, and the empty one if it brings a body.
pub(crate) fn request(method: &str, uri: &str, branch: &str, extra: &str) -> String {
    let end = if extra.contains("\r\n\r\n") { "" } else { "\r\n" };
    let hops = if extra.contains("Max-Forwards") { "" } else { "Max-Forwards: 70\r\n" };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{branch};rport\r\n{hops}\
         From: <sip:alice@x>;tag=a\r\nTo: <sip:bob@example.com>\r\nCall-ID: call\r\nCSeq: 1 {method}\r\n{extra}{end}"
    )
}

pub(crate) fn invite(branch: &str) -> String {
    request("INVITE", "sip:bob@example.com", branch, "")
}

/// Gives the proxy a request that it may forward.
pub(crate) fn take(rig: &mut Rig<Proxy>, bytes: &str) -> (ContextId, bool) {
    match rig.machine.datagram(rig.now, Rig::<Proxy>::source(), bytes.as_bytes()) {
        Some(Event::Request { context, routed, .. }) => (context, routed),
        other => panic!("{other:?}"),
    }
}

/// What the requests and responses are that went out, in order.
pub(crate) fn texts(outputs: &[Out], start: &str) -> Vec<String> {
    let all = outputs.iter().map(Out::bytes).filter(|bytes| bytes.starts_with(start));
    all.map(str::to_owned).collect()
}

pub(crate) fn relayed(
    rig: &mut Rig<Proxy>,
    bytes: &str,
    branches: &[Branch<'_>],
) -> (ContextId, Vec<String>) {
    let (context, _) = take(rig, bytes);
    rig.machine.relay(rig.now, context, branches).unwrap();
    let method = bytes.split(' ').next().unwrap();
    let sent = texts(&rig.drain(), method);
    (context, sent)
}
