//! rsip: the typed parsers on borrowed values, which spares the copies that its accessors make.

use super::{Contender, TAG, work};
use rsip::headers::UntypedHeader;
use rsip::headers::typed::Tokenize;
use rsip::message::HasHeaders;
use rsip::typed::{self, TypedHeader};
use rsip::{Header, Request, Response, SipMessage, StatusCode, Version};
use std::hint::black_box;

pub const CONTENDER: Contender = Contender {
    name: "rsip",
    route_ready: |bytes| work(move || route_ready(black_box(bytes))),
    parse: |bytes| work(move || black_box(SipMessage::try_from(black_box(bytes))).ok().map(drop)),
    respond: |bytes| {
        let SipMessage::Request(request) = SipMessage::try_from(bytes).ok()? else { return None };
        work(move || respond(black_box(&request)).map(|bytes| drop(black_box(bytes))))
    },
    echo: |bytes| {
        let message = SipMessage::try_from(bytes).ok()?;
        work(move || Some(drop(black_box(message.to_string().into_bytes()))))
    },
};

fn read<'a, T: TypedHeader<'a>>(value: &'a str) -> Option<T> {
    T::try_from(<T::Tokenizer as Tokenize>::tokenize(value).ok()?).ok()
}

fn route_ready(bytes: &[u8]) -> Option<()> {
    let message = SipMessage::try_from(bytes).ok()?;
    match &message {
        SipMessage::Request(request) => drop(black_box((&request.method, &request.uri))),
        SipMessage::Response(response) => drop(black_box(&response.status_code)),
    }
    let (mut via, mut contact) = (false, false);
    for header in message.headers().iter() {
        match header {
            Header::Via(value) if !via => {
                via = true;
                let top = read::<typed::Via>(value.value())?;
                black_box((&top.branch(), &top.uri.host_with_port, &top.transport));
            }
            Header::From(value) => {
                let from = read::<typed::From>(value.value())?;
                black_box((&from, &from.tag()));
            }
            Header::To(value) => {
                let to = read::<typed::To>(value.value())?;
                black_box((&to, &to.tag()));
            }
            Header::CallId(value) => drop(black_box(value.value())),
            Header::CSeq(value) => drop(black_box(&read::<typed::CSeq>(value.value())?)),
            Header::MaxForwards(value) => drop(black_box(value.num().ok()?)),
            Header::Contact(value) if !contact => {
                contact = true;
                black_box(&read::<typed::Contact>(value.value())?);
            }
            Header::Route(value) => drop(black_box(&read::<typed::Route>(value.value())?)),
            Header::RecordRoute(value) => drop(black_box(&read::<typed::RecordRoute>(value.value())?)),
            _ => {}
        }
    }
    black_box(&message);
    via.then_some(())
}

fn respond(request: &Request) -> Option<Vec<u8>> {
    let mut headers = Vec::with_capacity(16);
    for header in request.headers.iter() {
        match header {
            Header::Via(_)
            | Header::From(_)
            | Header::CallId(_)
            | Header::CSeq(_)
            | Header::RecordRoute(_) => {
                headers.push(header.clone());
            }
            Header::To(value) if read::<typed::To>(value.value())?.tag().is_some() => {
                headers.push(header.clone())
            }
            Header::To(value) => headers.push(Header::To(format!("{};tag={TAG}", value.value()).into())),
            _ => {}
        }
    }
    headers.push(Header::ContentLength("0".into()));
    let response = Response {
        status_code: StatusCode::OK,
        version: Version::V2,
        headers: headers.into(),
        body: Vec::new(),
    };
    Some(response.into())
}
