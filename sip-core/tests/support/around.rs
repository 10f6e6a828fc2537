//! Nodes that stand around another.

/// The verbs that a node put around another gives on as they are.
macro_rules! gives_on {
    ($inner:ident) => {
        fn datagram(&mut self, now: Instant, from: sip_core::Source, data: &[u8]) {
            self.$inner.datagram(now, from, data);
        }
        fn bytes(&mut self, now: Instant, flow: sip_core::FlowId, data: &[u8]) {
            self.$inner.bytes(now, flow, data);
        }
        fn accepted(
            &mut self,
            now: Instant,
            peer: sip_core::Target,
            local: core::net::SocketAddr,
        ) -> Option<sip_core::FlowId> {
            self.$inner.accepted(now, peer, local)
        }
        fn opened(&mut self, now: Instant, flow: sip_core::FlowId, local: core::net::SocketAddr) -> bool {
            self.$inner.opened(now, flow, local)
        }
        fn closed(&mut self, now: Instant, flow: sip_core::FlowId) {
            self.$inner.closed(now, flow);
        }
        fn send_failed(&mut self, now: Instant, ticket: sip_core::Ticket, error: sip_core::SendError) {
            self.$inner.send_failed(now, ticket, error);
        }
        fn resolved(&mut self, now: Instant, id: sip_core::ResolveId, addrs: &[core::net::SocketAddr]) {
            self.$inner.resolved(now, id, addrs);
        }
    };
}
pub(crate) use gives_on;
