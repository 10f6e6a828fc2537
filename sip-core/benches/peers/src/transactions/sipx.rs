//! sipx-sip: its transaction layer, driven as its documentation says.

use super::{Supply, invite};
use crate::Work;
use crate::cases::options;
use bytes::Bytes;
use sipx_sip::transaction::Dispatch;
use sipx_sip::{
    HeaderName, Limits, Message, Output, Reliability, Request, ResponseBuilder, StatusCode, Timer, Timers,
    TransactionKey, TransactionLayer, TuEvent, parse_datagram,
};
use std::hint::black_box;

struct Sipx {
    layer: TransactionLayer,
    out: Vec<u8>,
}

impl Sipx {
    fn new() -> Self {
        Self { layer: TransactionLayer::new(Timers::default()), out: Vec::with_capacity(4_096) }
    }

    fn receive(&mut self, bytes: &[u8]) -> (TransactionKey, Vec<Output>) {
        match self.layer.receive(parse(bytes), Reliability::Unreliable) {
            Dispatch::Created { key, outputs } | Dispatch::Matched { key, outputs } => (key, outputs),
            Dispatch::Unmatched(message) => panic!("unmatched: {message:?}"),
        }
    }

    /// Writes what is sent; what is for the user comes back.
    fn perform(&mut self, outputs: Vec<Output>) -> Option<TuEvent> {
        let mut event = None;
        for output in outputs {
            match output {
                Output::Send(message) => {
                    self.out.clear();
                    message.write_to(&mut self.out);
                    black_box(&self.out);
                }
                Output::ToTu(tu) => event = Some(*tu),
                other => drop(black_box(other)),
            }
        }
        event
    }

    fn nist(&mut self, options: &[u8]) {
        let (key, outputs) = self.receive(options);
        let Some(TuEvent::Request(request)) = self.perform(outputs) else { panic!("no request") };
        let ok = StatusCode::new(200).expect("a status");
        let to = request.headers.value(&HeaderName::To).expect("a To");
        let tagged = [&to, &b";tag=0123456789abcdef"[..]].concat();
        let response = ResponseBuilder::to_request(&request, ok, Bytes::from_static(b"OK"))
            .expect("complete")
            .set_header(&HeaderName::To, tagged)
            .expect("sound")
            .build();
        let outputs = self.layer.send_response(&key, response);
        assert!(self.perform(outputs).is_none());
        black_box(self.layer.on_timer(&key, Timer::J));
        debug_assert_eq!(self.layer.len(), (0, 0));
    }

    fn ict(&mut self, [invite, ringing, answer]: &[Vec<u8>; 3]) {
        let (key, outputs) =
            self.layer.send_request(request(invite), Reliability::Unreliable).expect("a Via");
        assert!(self.perform(outputs).is_none());
        for bytes in [ringing, answer] {
            let (_, outputs) = self.receive(bytes);
            let Some(TuEvent::Response(response)) = self.perform(outputs) else { panic!("no response") };
            black_box(&response);
        }
        black_box(self.layer.on_timer(&key, Timer::M));
    }
}

fn parse(bytes: &[u8]) -> Message {
    parse_datagram(Bytes::copy_from_slice(bytes), &Limits::datagram()).expect("sound")
}

fn request(bytes: &[u8]) -> Request {
    match parse(bytes) {
        Message::Request(request) => request,
        Message::Response(_) => panic!("a request"),
    }
}

pub(super) fn nist() -> Work<'static> {
    let mut sipx = Sipx::new();
    let mut supply = Supply::new(options);
    Box::new(move || sipx.nist(supply.next()))
}

pub(super) fn ict() -> Work<'static> {
    let mut sipx = Sipx::new();
    let mut supply = Supply::new(invite);
    Box::new(move || sipx.ict(supply.next()))
}
