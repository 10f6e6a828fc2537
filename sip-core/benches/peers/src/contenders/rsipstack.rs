//! rsipstack: the typed parsers on borrowed values, which spares the copies that its accessors make.

use super::{Contender, TAG, work};
use rsipstack::sip::headers::Header;
use rsipstack::sip::message::HasHeaders;
use rsipstack::sip::{Request, Response, SipMessage, StatusCode, ToTypedHeader, Version, typed};
use std::hint::black_box;

pub const CONTENDER: Contender = Contender {
    name: "rsipstack",
    route_ready: |bytes| work(move || route_ready(black_box(bytes))),
    parse: |bytes| work(move || black_box(SipMessage::try_from(black_box(bytes))).ok().map(drop)),
    respond: |bytes| {
        let SipMessage::Request(request) = SipMessage::try_from(bytes).ok()? else { return None };
        work(move || respond(black_box(&request)).map(|bytes| drop(black_box(bytes))))
    },
    echo: |bytes| {
        let message = SipMessage::try_from(bytes).ok()?;
        work(move || Some(drop(black_box(message.to_bytes()))))
    },
};

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
                let top = match value.value().contains(',') {
                    true => value.first_value().ok()?.into_typed().ok()?,
                    false => typed::Via::parse(value.value()).ok()?,
                };
                black_box((&top.branch(), &top.uri.host_with_port, &top.transport));
            }
            Header::From(value) => {
                let from = typed::From::parse(value.value()).ok()?;
                black_box((&from, &from.tag()));
            }
            Header::To(value) => {
                let to = typed::To::parse(value.value()).ok()?;
                black_box((&to, &to.tag()));
            }
            Header::CallId(value) => drop(black_box(value.value())),
            Header::CSeq(value) => drop(black_box(&typed::CSeq::parse(value.value()).ok()?)),
            Header::MaxForwards(value) => drop(black_box(value.value().trim().parse::<u32>().ok()?)),
            Header::Contact(value) if !contact => {
                contact = true;
                black_box(&typed::Contact::parse(value.value()).ok()?);
            }
            Header::Route(value) => drop(black_box(&typed::Route::parse(value.value()).ok()?)),
            Header::RecordRoute(value) => drop(black_box(&typed::RecordRoute::parse(value.value()).ok()?)),
            _ => {}
        }
    }
    black_box(&message);
    via.then_some(())
}

/// Its own way to make a response copies all headers first and leaves Record-Route out.
fn respond(request: &Request) -> Option<Vec<u8>> {
    let mut headers = Vec::with_capacity(request.headers.len() + 1);
    for header in request.headers.iter() {
        match header {
            Header::Via(_)
            | Header::From(_)
            | Header::CallId(_)
            | Header::CSeq(_)
            | Header::RecordRoute(_) => {
                headers.push(header.clone());
            }
            Header::To(value) if typed::To::parse(value.value()).ok()?.tag().is_some() => {
                headers.push(header.clone())
            }
            Header::To(value) => headers.push(Header::To(format!("{};tag={TAG}", value.value()).into())),
            _ => {}
        }
    }
    headers.push(Header::ContentLength("0".into()));
    let response = Response {
        status_code: StatusCode::OK,
        wire_reason: None,
        version: Version::V2,
        headers: headers.into(),
        body: Vec::new(),
    };
    Some(response.to_bytes())
}
