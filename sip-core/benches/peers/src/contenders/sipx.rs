//! sipx-sip: the typed decoders on borrowed values, and responses of shared fields, which is faster than its builder.

use super::{Contender, TAG, work};
use bytes::Bytes;
use sipx_sip::headers::{CSeq, ContactValue, From, MaxForwards, RecordRoute, Route, To, Via, first_hop_end};
use sipx_sip::{
    Header, HeaderName, Limits, Message, Request, Response, StatusCode, TypedHeader, parse_datagram,
};
use std::hint::black_box;

pub const CONTENDER: Contender = Contender {
    name: "sipx-sip",
    route_ready: |bytes| work(move || route_ready(black_box(bytes))),
    parse: |bytes| work(move || black_box(parse(black_box(bytes))).map(drop)),
    respond: |bytes| {
        let Message::Request(request) = parse(bytes)? else { return None };
        work(move || respond(black_box(&request)).map(|bytes| drop(black_box(bytes))))
    },
    echo: |bytes| {
        let message = parse(bytes)?;
        let mut out = Vec::with_capacity(8_192);
        work(move || {
            out.clear();
            message.write_to(&mut out);
            black_box(&out);
            Some(())
        })
    },
};

/// It takes its input owned: one copy.
fn parse(bytes: &[u8]) -> Option<Message> {
    parse_datagram(Bytes::copy_from_slice(bytes), &Limits::datagram()).ok()
}

fn route_ready(bytes: &[u8]) -> Option<()> {
    let message = parse(bytes)?;
    match &message {
        Message::Request(request) => drop(black_box((&request.method, &request.uri))),
        Message::Response(response) => drop(black_box(&response.status)),
    }
    let (mut via, mut contact) = (false, false);
    for header in message.headers().iter() {
        let value = header.value();
        match header.name() {
            HeaderName::Via if !via => {
                via = true;
                let top = Via::parse_one(value.get(..first_hop_end(&value))?).ok()?;
                black_box((&top.branch(), &top.host, &top.port, &top.transport));
            }
            HeaderName::From => {
                let from = From::decode(&value).ok()?;
                black_box((&from, &from.tag()));
            }
            HeaderName::To => {
                let to = To::decode(&value).ok()?;
                black_box((&to, &to.tag()));
            }
            HeaderName::CallId => drop(black_box(&value)),
            HeaderName::CSeq => drop(black_box(&CSeq::decode(&value).ok()?)),
            HeaderName::MaxForwards => drop(black_box(MaxForwards::decode(&value).ok()?.0)),
            HeaderName::Contact if !contact => {
                contact = true;
                black_box(&ContactValue::decode(&value).ok()?);
            }
            HeaderName::Route => drop(black_box(&Route::parse_list(&value).ok()?)),
            HeaderName::RecordRoute => drop(black_box(&RecordRoute::parse_list(&value).ok()?)),
            _ => {}
        }
    }
    black_box(&message);
    via.then_some(())
}

fn respond(request: &Request) -> Option<Vec<u8>> {
    let mut response = Response::new(StatusCode::new(200)?, Bytes::from_static(b"OK"));
    for header in request.headers.iter() {
        match header.name() {
            HeaderName::Via
            | HeaderName::From
            | HeaderName::CallId
            | HeaderName::CSeq
            | HeaderName::RecordRoute => response.headers.push(header.clone()),
            HeaderName::To if To::decode(&header.value()).ok()?.tag().is_some() => {
                response.headers.push(header.clone())
            }
            HeaderName::To => {
                let tagged = [&header.value(), &b";tag="[..], TAG.as_bytes()].concat();
                response.headers.push(Header::build(HeaderName::To, tagged).ok()?);
            }
            _ => {}
        }
    }
    response.headers.push(Header::build(HeaderName::ContentLength, Bytes::from_static(b"0")).ok()?);
    let mut out = Vec::with_capacity(2_048);
    response.write_to(&mut out);
    Some(out)
}
