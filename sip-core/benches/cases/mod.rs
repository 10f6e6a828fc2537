//! What the benches measure: six messages of every kind, and the work that is done with them.
#![allow(dead_code, reason = "each bench uses a part of this")]

pub(crate) mod calls;
pub(crate) mod cycles;
pub(crate) mod relays;

use core::hint::black_box;
use sip_core::Limits;
use sip_core::headers::{Contact, RecordRoute, RetryAfter, Route, Via};
use sip_core::message::{Content, Fields, Message, Request, Response, Status, Writer};

/// One message by its name.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// The six messages: a request without a body, a bare response, a registration with credentials, a call, its answer,
/// and a call that came through a carrier.
pub(crate) fn samples() -> Vec<Sample> {
    [
        ("OPTIONS", options(7)),
        ("180", ringing()),
        ("REGISTER", register()),
        ("INVITE", invite()),
        ("200", answer()),
        ("fat INVITE", fat()),
    ]
    .map(|(name, bytes)| Sample { name, bytes })
    .into()
}

const SDP: &str = "v=0\r\no=alice 2890844526 2890844526 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n\
    m=audio 49172 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
    a=sendrecv\r\n";

pub(crate) fn options(number: u64) -> Vec<u8> {
    format!(
        "OPTIONS sip:us@192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK{number:012}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:p@192.0.2.2>;tag={number:012}\r\nTo: <sip:us@192.0.2.1>\r\n\
         Call-ID: {number:012}@192.0.2.2\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

fn ringing() -> Vec<u8> {
    b"SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK74bf9;rport=5060;received=192.0.2.1\r\n\
      From: \"Alice\" <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\n\
      To: \"Bob\" <sip:bob@biloxi.example.com>;tag=314159\r\nCall-ID: 3848276298220188511@atlanta.example.com\r\n\
      CSeq: 2 INVITE\r\nContact: <sip:bob@client.biloxi.example.com>\r\nContent-Length: 0\r\n\r\n"
        .to_vec()
}

fn register() -> Vec<u8> {
    b"REGISTER sip:registrar.biloxi.example.com SIP/2.0\r\n\
      Via: SIP/2.0/UDP bobspc.biloxi.example.com:5060;branch=z9hG4bKnashds7;rport\r\nMax-Forwards: 70\r\n\
      To: \"Bob\" <sip:bob@biloxi.example.com>\r\nFrom: \"Bob\" <sip:bob@biloxi.example.com>;tag=456248\r\n\
      Call-ID: 843817637684230@998sdasdh09\r\nCSeq: 1827 REGISTER\r\n\
      Contact: <sip:bob@192.0.2.4:5060;transport=udp>;expires=3600;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000>\"\r\n\
      Authorization: Digest username=\"bob\", realm=\"biloxi.example.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", \
      uri=\"sip:registrar.biloxi.example.com\", response=\"6629fae49393a05397450978507c4ef1\", algorithm=MD5, \
      cnonce=\"0a4f113b\", qop=auth, nc=00000001\r\nExpires: 7200\r\nUser-Agent: bench/1.0\r\nContent-Length: 0\r\n\r\n"
        .to_vec()
}

pub(crate) fn invite() -> Vec<u8> {
    format!(
        "INVITE sip:bob@biloxi.example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK74bf9;rport\r\n\
         Max-Forwards: 70\r\nRoute: <sip:ss1.atlanta.example.com;lr>\r\n\
         From: \"Alice\" <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\nTo: \"Bob\" <sip:bob@biloxi.example.com>\r\n\
         Call-ID: 3848276298220188511@atlanta.example.com\r\nCSeq: 2 INVITE\r\n\
         Contact: <sip:alice@client.atlanta.example.com;transport=udp>\r\nAllow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER\r\n\
         Supported: replaces, timer\r\nUser-Agent: bench/1.0\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    )
    .into_bytes()
}

fn answer() -> Vec<u8> {
    format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK74bf9;rport=5060;received=192.0.2.1\r\n\
         Record-Route: <sip:ss2.biloxi.example.com;lr>\r\nRecord-Route: <sip:ss1.atlanta.example.com;lr>\r\n\
         From: \"Alice\" <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\n\
         To: \"Bob\" <sip:bob@biloxi.example.com>;tag=314159\r\nCall-ID: 3848276298220188511@atlanta.example.com\r\n\
         CSeq: 2 INVITE\r\nContact: <sip:bob@client.biloxi.example.com;transport=udp>\r\n\
         Allow: INVITE, ACK, CANCEL, OPTIONS, BYE\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    )
    .into_bytes()
}

pub(crate) fn fat() -> Vec<u8> {
    let text = String::from_utf8(invite()).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a body");
    let mut head = head.to_owned();
    for hop in 0..4 {
        head += &format!(
            "\r\nVia: SIP/2.0/UDP proxy{hop}.atlanta.example.com:5060;branch=z9hG4bK77ef4c2312983.{hop};received=192.0.2.{hop}"
        );
        head += &format!(
            "\r\nRecord-Route: <sip:p{hop}.carrier.example.com;lr;transport=udp;ftag=9fxced76sl;did=b2.8f{hop}>"
        );
    }
    for header in [
        "P-Asserted-Identity: \"Alice Liddell\" <sip:+15551230001@carrier.example.com;user=phone>",
        "P-Charging-Vector: icid-value=1234bc9876e;icid-generated-at=192.0.2.8;orig-ioi=home1.example.net",
        "Privacy: none",
        "Session-Expires: 1800;refresher=uac",
        "Min-SE: 90",
        "P-Access-Network-Info: 3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=234151D0FCE11",
        "History-Info: <sip:+15551230002@carrier.example.com>;index=1, <sip:bob@biloxi.example.com>;index=1.1",
        "X-Carrier-Trace: 9b1c2f9e-8a7d-4c1b-9e0f-5a6b7c8d9e0f/edge-3/core-7/egress-1",
    ] {
        head += &format!("\r\n{header}");
    }
    format!("{head}\r\n\r\n{body}").into_bytes()
}

/// The start line and every header field, found and named; nothing else looked into. Returns how many there are.
pub(crate) fn split(bytes: &[u8]) -> usize {
    let mut count = 0;
    for field in Fields::of_message(bytes) {
        black_box(field.expect("sound"));
        count += 1;
    }
    count
}

/// Everything that a transaction layer or a proxy needs, typed: Request-URI, top Via, From, To, tags, Call-ID, CSeq,
/// Max-Forwards, the first Contact, every Route and Record-Route, with their URIs.
pub(crate) fn route_ready(bytes: &[u8]) {
    if bytes.starts_with(b"SIP/") {
        let response = Response::parse(bytes).expect("sound");
        black_box(response.status());
        typed(&response);
    } else {
        let request = Request::parse(bytes).expect("sound");
        black_box((&request.method(), &request.uri()));
        typed(&request);
    }
}

fn typed(message: &Message<'_>) {
    black_box((&message.via(), message.branch(), &message.cseq(), message.call_id(), message.max_forwards()));
    for address in [message.from(), message.to()] {
        black_box((&address.uri().expect("sound"), &address));
    }
    black_box((message.from_tag(), message.to_tag()));
    if let Some(contact) = message.all::<Contact<'_>>().next() {
        black_box(&contact.expect("sound").address().map(|address| address.uri().expect("sound")));
    }
    for route in message.all::<Route<'_>>() {
        black_box(&route.expect("sound").0.uri().expect("sound"));
    }
    for route in message.all::<RecordRoute<'_>>() {
        black_box(&route.expect("sound").0.uri().expect("sound"));
    }
}

/// Nothing but the bytes of a parsed message.
pub(crate) fn echo(message: &Request<'_>, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(message.as_bytes());
    black_box(&out);
}

/// A 200 of a parsed request, as bytes.
pub(crate) fn respond(request: &Request<'_>, out: &mut Vec<u8>) {
    out.clear();
    Writer::answer(out, request, Status::OK, "314159").finish(&Content::NONE);
    black_box(&out);
}

/// Parses a message and walks over every element of every list in it, and every part of its body.
pub(crate) fn walk(bytes: &[u8]) {
    let Ok(request) = Request::parse(bytes) else { return };
    black_box(request.all::<Via<'_>>().filter(Result::is_ok).count());
    black_box(request.all::<Contact<'_>>().filter(Result::is_ok).count());
    black_box(request.all::<RetryAfter<'_>>().filter(Result::is_ok).count());
    let parts = request.parts(&Limits::DEFAULT).ok().flatten();
    black_box(parts.map(|parts| parts.map_while(Result::ok).map(|part| part.body().len()).sum::<usize>()));
}

/// A message of some size that is hostile in one way.
pub(crate) type Shape = fn(usize) -> Vec<u8>;

/// The hostile shapes by name.
pub(crate) const HOSTILE: &[(&str, Shape)] = &[
    ("many headers", |size| {
        hostile(
            &"X-Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: b\r\n".repeat(size / 66),
            "",
        )
    }),
    ("lines without a colon", |size| hostile(&"aaaaaa\r\n".repeat(size / 8), "")),
    ("many parameters", |size| hostile(&format!("Contact: <sip:a@b>{}\r\n", ";a=b".repeat(size / 4)), "")),
    ("quoted parameters", |size| {
        hostile(&format!("Contact: <sip:a@b>{}\r\n", ";a=\"\\\"\"".repeat(size / 7)), "")
    }),
    ("URI parameters", |size| hostile(&format!("Contact: <sip:a@b{}>\r\n", ";a=b".repeat(size / 4)), "")),
    ("escapes", |size| hostile(&format!("Contact: <sip:{}@b>\r\n", "%41".repeat(size / 3)), "")),
    ("deep folding", |size| hostile(&format!("Subject: a{}\r\n", "\r\n b".repeat(size / 4)), "")),
    ("comma list", |size| hostile(&format!("Contact: <sip:a>{}\r\n", ",<sip:a>".repeat(size / 8)), "")),
    ("comments", |size| {
        hostile(&format!("Retry-After: 1 {}{}\r\n", "(".repeat(size / 2), ")".repeat(size / 2)), "")
    }),
    ("multipart", |size| {
        let body = "--x\r\nA: b\r\n\r\nc\r\n".repeat(size / 17) + "--x--";
        hostile("Content-Type: multipart/mixed;boundary=x\r\n", &body)
    }),
    ("routes that never close", |size| {
        hostile(&format!("Route: <sip:a>{}\"{}\r\n", ",".repeat(99), "\\\"".repeat(size / 2)), "")
    }),
    ("Vias that never close", |size| {
        hostile(&format!("Via: x{}{}\r\n", ",".repeat(300), "<".repeat(size)), "")
    }),
    ("a boundary of one letter", |size| {
        let boundary = "a".repeat(70);
        let body = format!("--{boundary}\r\n\r\n{}\r\n--{boundary}--", "a".repeat(size));
        hostile(&format!("Content-Type: multipart/mixed;boundary={boundary}\r\n"), &body)
    }),
    ("delimiters that are none", |size| {
        let body = "--x\r\n\r\n".to_owned() + &"--y\r\n".repeat(size / 5) + "\r\n--x--";
        hostile("Content-Type: multipart/mixed;boundary=x\r\n", &body)
    }),
];

fn hostile(headers: &str, body: &str) -> Vec<u8> {
    let text = String::from_utf8(options(1)).expect("text");
    text.replace(
        "Content-Length: 0\r\n\r\n",
        &format!("{headers}Content-Length: {}\r\n\r\n{body}", body.len()),
    )
    .into_bytes()
}
