//! Route sets (RFC 3261 §12.1, §12.2.1.1).

use crate::headers::{Header, Name, RecordRoute};
use crate::message::{Message, Writer};
use crate::uri::Uri;
use alloc::vec::Vec;

#[cfg(feature = "snapshot")]
crate::snapshot::kept!(RouteSet { 1 routes });

/// The proxies that want to stay on the path, nearest first, each as a Route value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteSet {
    routes: Vec<Vec<u8>>,
}

impl RouteSet {
    /// At the callee: Record-Route in its order.
    pub(crate) fn of_request(request: &Message<'_>) -> Self {
        Self { routes: record_routes(request) }
    }

    /// At the caller: Record-Route reversed.
    pub(crate) fn of_response(response: &Message<'_>) -> Self {
        let mut routes = record_routes(response);
        routes.reverse();
        Self { routes }
    }

    /// Its values.
    pub(crate) fn values(&self) -> &[Vec<u8>] {
        &self.routes
    }

    /// The URI of the first route if that is a strict router: one without `lr` (RFC 2543).
    fn strict(&self) -> Option<&[u8]> {
        let route = RecordRoute::whole(self.routes.first()?).ok()?;
        match route.0.uri() {
            Ok(Uri::Sip(sip)) if sip.params.get("lr").is_none() => Some(route.0.uri_bytes),
            _ => None,
        }
    }

    /// The Request-URI, and the URI that the next hop follows from.
    pub(crate) fn uris<'a>(&'a self, target: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        match (self.strict(), self.routes.first()) {
            (Some(strict), _) => (strict, strict),
            (None, Some(first)) => {
                (target, RecordRoute::whole(first).map_or(target, |route| route.0.uri_bytes))
            }
            (None, None) => (target, target),
        }
    }

    /// Writes the Route headers: all of the set; with a strict router first, the rest and the remote target last.
    pub(crate) fn write(&self, writer: &mut Writer<'_>, target: &[u8]) {
        let strict = self.strict().is_some();
        for route in self.routes.iter().skip(usize::from(strict)) {
            writer.field(Name::Route, &[route]);
        }
        if strict {
            writer.field(Name::Route, &[b"<", target, b">"]);
        }
    }
}

fn record_routes(message: &Message<'_>) -> Vec<Vec<u8>> {
    let mut routes = Vec::new();
    for route in message.all::<RecordRoute<'_>>().map_while(Result::ok) {
        let mut text = Vec::new();
        route.emit(&mut text);
        routes.push(text);
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    fn written(routes: &[&str]) -> (String, String, String) {
        let set = RouteSet { routes: routes.iter().map(|route| route.as_bytes().to_vec()).collect() };
        let mut out = Vec::new();
        set.write(&mut Writer::resume(&mut out), b"sip:target@h");
        let (uri, towards) = set.uris(b"sip:target@h");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(uri), text(towards), text(&out))
    }

    /// RFC 3261 §12.2.1.1
    #[test]
    fn loose_and_strict_routers() {
        assert_eq!(written(&[]), ("sip:target@h".into(), "sip:target@h".into(), String::new()));
        assert_eq!(
            written(&["<sip:p1;lr>", "<sip:p2>"]),
            ("sip:target@h".into(), "sip:p1;lr".into(), "Route: <sip:p1;lr>\r\nRoute: <sip:p2>\r\n".into())
        );
        assert_eq!(
            written(&["<sip:p1>", "<sip:p2;lr>"]),
            ("sip:p1".into(), "sip:p1".into(), "Route: <sip:p2;lr>\r\nRoute: <sip:target@h>\r\n".into())
        );
    }
}
