//! rsipstack: its endpoint and transactions over its own in-memory connection. Over a channel nothing waits, so every future is
//! ready when it is polled once, and no runtime is needed.

use super::{Supply, invite};
use crate::Work;
use crate::cases::options;
use rsipstack::EndpointBuilder;
use rsipstack::sip::{HostWithPort, Request, SipMessage, StatusCode};
use rsipstack::transaction::TransactionReceiver;
use rsipstack::transaction::endpoint::{EndpointInnerRef, EndpointOption};
use rsipstack::transaction::key::{TransactionKey, TransactionRole};
use rsipstack::transaction::transaction::Transaction;
use rsipstack::transport::channel::ChannelConnection;
use rsipstack::transport::connection::{TransportEvent, TransportReceiver};
use rsipstack::transport::{SipAddr, SipConnection, TransportLayer};
use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::mpsc::unbounded_channel;

struct Rsipstack {
    endpoint: EndpointInnerRef,
    incoming: TransactionReceiver,
    connection: SipConnection,
    peer: SipAddr,
    sent: TransportReceiver,
    /// Its own timer task, polled once a cycle.
    timers: Pin<Box<dyn Future<Output = ()>>>,
}

impl Rsipstack {
    /// 64·T1 is zero, so that what ends a transaction is due at once: its timers read the system's clock.
    fn new() -> Self {
        let option = EndpointOption { t1x64: Duration::ZERO, auto_ack_2xx: false, ..Default::default() };
        let endpoint = EndpointBuilder::new()
            .with_transport_layer(TransportLayer::new(Default::default()))
            .with_option(option)
            .build();
        let incoming = endpoint.incoming_transactions().expect("taken once");
        let peer = SipAddr {
            r#type: Some(rsipstack::sip::Transport::Udp),
            addr: HostWithPort::try_from("192.0.2.2:5060").expect("an address"),
        };
        let (_, unread) = unbounded_channel();
        let (sender, sent) = unbounded_channel();
        let channel = ready(ChannelConnection::create_connection(unread, sender, peer.clone(), None));
        let connection = SipConnection::Channel(channel.expect("a channel"));
        let inner = endpoint.inner.clone();
        let timers = Box::pin(async move { inner.process_timer().await });
        Self { endpoint: endpoint.inner.clone(), incoming, connection, peer, sent, timers }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let message = SipMessage::try_from(bytes).expect("sound");
        ready(self.endpoint.on_received_message(message, self.connection.clone(), &self.peer))
            .expect("taken");
    }

    fn flush(&mut self) {
        let Ok(TransportEvent::Incoming(message, ..)) = self.sent.try_recv() else {
            panic!("nothing was sent")
        };
        black_box(message.to_bytes());
    }

    /// Lets its timer task do what is due.
    fn pass(&mut self) {
        assert!(self.timers.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    fn nist(&mut self, options: &[u8]) {
        self.receive(options);
        let mut transaction = self.incoming.try_recv().expect("a new transaction");
        ready(transaction.reply(StatusCode::OK)).expect("sent");
        self.flush();
        drop(transaction);
        self.pass();
    }

    fn ict(&mut self, [invite, ringing, answer]: &[Vec<u8>; 3]) {
        let invite = Request::try_from(&invite[..]).expect("sound");
        let key = TransactionKey::from_request(&invite, TransactionRole::Client).expect("a key");
        let connection = Some(self.connection.clone());
        let mut transaction = Transaction::new_client(key, invite, self.endpoint.clone(), connection);
        ready(transaction.send()).expect("sent");
        self.flush();
        for bytes in [ringing, answer] {
            self.receive(bytes);
            let Some(SipMessage::Response(response)) = ready(transaction.receive()) else {
                panic!("no response")
            };
            black_box(&response);
        }
        assert!(ready(transaction.receive()).is_none());
        drop(transaction);
        self.pass();
    }
}

/// The result of a future that waits for nothing.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

pub(super) fn nist() -> Work<'static> {
    let mut stack = Rsipstack::new();
    let mut supply = Supply::new(options);
    Box::new(move || stack.nist(supply.next()))
}

pub(super) fn ict() -> Work<'static> {
    let mut stack = Rsipstack::new();
    let mut supply = Supply::new(invite);
    Box::new(move || stack.ict(supply.next()))
}
