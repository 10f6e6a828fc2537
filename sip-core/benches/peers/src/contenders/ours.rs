use super::{Contender, work};
use crate::cases;
use sip_core::message::{Request, Response};
use std::hint::black_box;

pub const CONTENDER: Contender = Contender {
    name: "sip-core",
    route_ready: |bytes| work(move || Some(cases::route_ready(black_box(bytes)))),
    parse: |bytes| {
        work(move || match bytes {
            [b'S', b'I', b'P', ..] => {
                Response::parse(black_box(bytes)).ok().map(|message| drop(black_box(message)))
            }
            _ => Request::parse(black_box(bytes)).ok().map(|message| drop(black_box(message))),
        })
    },
    respond: |bytes| {
        let request = Request::parse(bytes).ok()?;
        let mut out = Vec::with_capacity(8_192);
        work(move || Some(cases::respond(black_box(&request), &mut out)))
    },
    echo: |bytes| {
        let request = Request::parse(bytes).ok()?;
        let mut out = Vec::with_capacity(8_192);
        work(move || Some(cases::echo(black_box(&request), &mut out)))
    },
};
