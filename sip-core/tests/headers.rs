//! Typed headers: examples of what is taken and what is not, and the round trip of parser and writer.

use core::fmt::Debug;
use proptest::prelude::*;
use sip_core::headers::{
    Address, Allow, CSeq, Contact, ContentLength, ContentType, Expires, Header, MaxForwards, RecordRoute,
    Require, RetryAfter, Route, Supported, Unsupported, Via,
};
use sip_core::message::{ErrorKind, Method, Request, Response, Status};

/// Parses, writes, and parses again: equal values.
fn round_trip<'a, T: Header<'a> + PartialEq + Debug>(text: &'a str, out: &'a mut Vec<u8>) -> T {
    let value = T::whole(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
    value.emit(out);
    assert_eq!(T::whole(out), Ok(T::whole(text.as_bytes()).unwrap()), "{text}");
    value
}

fn refused<'a, T: Header<'a> + Debug>(texts: &[&'a str]) {
    for text in texts {
        assert!(T::whole(text.as_bytes()).is_err(), "{text}: {:?}", T::whole(text.as_bytes()));
    }
}

#[test]
fn via() {
    let mut out = Vec::new();
    let text = "SIP / 2.0 / UDP  first.example.com: 4000 ;ttl=16\r\n ;maddr=224.2.0.1 ; branch = z9hG4bKa7c6.1 ; rport";
    let via: Via<'_> = round_trip(text, &mut out);
    assert_eq!((via.transport, via.host), (&b"UDP"[..], &b"first.example.com"[..]));
    assert_eq!(via.port.map(core::num::NonZero::get), Some(4_000));
    assert_eq!((via.branch(), via.params.get("RPORT")), (Some(&b"z9hG4bKa7c6.1"[..]), Some(&b""[..])));
    refused::<Via<'_>>(&[
        "",
        "SIP/2.0/UDP",
        "SIP/2.0 UDP h",
        "HTTP/1.1/TCP h",
        "SIP/2.0/UDP h:0",
        "SIP/2.0/UDP h:65536",
        "SIP/2.0/UDP h:",
        "SIP/2.0/UDP [::1",
        "SIP/2.0/UDP [1:2:3:4:5:6:7:8:9]",
        "SIP/2.0/UDP h;branch=",
        "SIP/2.0/UDP h;;x",
        "SIP/2.0/UDP h x",
    ]);
    let list: Vec<_> = Via::list(b"SIP/2.0/UDP a, SIP/2.0/TCP [::1]:5 ;x=\"a,b\" ,SIP/2.0/TLS c")
        .map(Result::unwrap)
        .collect();
    assert_eq!(list.iter().map(|via| via.host).collect::<Vec<_>>(), [&b"a"[..], b"[::1]", b"c"]);
}

#[test]
fn addresses() {
    for (text, display, uri, tag) in [
        ("sip:a@b;tag=1", "", "sip:a@b", Some("1")),
        ("<sip:a@b;tag=no>;TAG=1", "", "sip:a@b;tag=no", Some("1")),
        (r#""A. \"B\"" <sip:a@b>;tag=x"#, r#"A. \"B\""#, "sip:a@b", Some("x")),
        ("Anne Marie<sip:a@b>", "Anne Marie", "sip:a@b", None),
        ("  \r\n \"\"  <sips:a@b>  ;  x  =  \"y;z\" ", "", "sips:a@b", None),
        ("Ren\u{e9} <tel:+1-2>", "Ren\u{e9}", "tel:+1-2", None),
        ("<urn:service:sos>", "", "urn:service:sos", None),
    ] {
        let address = Address::whole(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((address.display, address.uri_bytes), (display.as_bytes(), uri.as_bytes()), "{text}");
        assert_eq!(address.tag(), tag.map(str::as_bytes), "{text}");
        let mut out = Vec::new();
        address.emit(&mut out);
        let again = Address::whole(&out).unwrap();
        assert_eq!((again.display, again.uri_bytes), (address.display, address.uri_bytes));
        assert!(again.params.iter().eq(address.params.iter()));
    }
    for text in [
        "",
        "sip:a@b?x=y",
        "<sip:a@b",
        "sip:a@b>",
        "\"open <sip:a@b>",
        "<sip:a b@c>",
        "Bell, Alexander <sip:a@b>",
        "<sip:a>;tag=",
        "<no-scheme>",
        "<sip:a>x",
        "<sip:a>, <sip:b>",
    ] {
        assert!(Address::whole(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn contacts_and_routes() {
    let contacts: Vec<_> = Contact::list(b"<sip:a@b>;q=0.5, sip:c@d;expires=3,\r\n \"E, F\" <sip:e@f?x=y>")
        .map(Result::unwrap)
        .collect();
    let uris: Vec<_> = contacts.iter().map(|contact| contact.address().unwrap().uri_bytes).collect();
    assert_eq!(uris, [&b"sip:a@b"[..], b"sip:c@d", b"sip:e@f?x=y"]);
    assert_eq!(Contact::whole(b" * "), Ok(Contact::All));
    refused::<Contact<'_>>(&["*;x", "", "<>", "sip:a,"]);
    let mut out = Vec::new();
    round_trip::<Contact<'_>>("\"X\" <sip:a@b>;q=1", &mut out);
    // In routes the angle brackets are a must.
    refused::<Route<'_>>(&["sip:a", "<sip:a>;", "<sip:a"]);
    let routes: Vec<_> = RecordRoute::list(b"<sip:a;lr>, <sip:b>;x=1").map(Result::unwrap).collect();
    assert_eq!(routes.len(), 2);
}

#[test]
fn numbers() {
    let mut out = Vec::new();
    assert_eq!(
        round_trip::<CSeq<'_>>("0009\r\n INVITE", &mut out),
        CSeq { number: 9, method: Method::Invite }
    );
    refused::<CSeq<'_>>(&["9INVITE", "9", "INVITE 9", "4294967296 INVITE", "-1 INVITE", "9 INV(ITE"]);
    assert_eq!(MaxForwards::whole(b" 70 "), Ok(MaxForwards(70)));
    refused::<MaxForwards>(&["256", "", "0x1", "1 2"]);
    assert_eq!(ContentLength::whole(b"0"), Ok(ContentLength(0)));
    refused::<ContentLength>(&["-1", "4294967296", "1.0"]);
    assert_eq!(Expires::whole(b"3600"), Ok(Expires(3600)));
    let mut out = Vec::new();
    let retry: RetryAfter<'_> = round_trip("120 (I'm (really) in a \\) meeting);duration=60", &mut out);
    assert_eq!((retry.seconds, retry.comment), (120, &b"I'm (really) in a \\) meeting"[..]));
    refused::<RetryAfter<'_>>(&["", "x", "5 (open", "5 )"]);
}

#[test]
fn content_types_and_tokens() {
    let mut out = Vec::new();
    let kind: ContentType<'_> = round_trip("Multipart / Mixed ; boundary=\"a b\"", &mut out);
    assert!(kind.is("multipart", "mixed"));
    assert_eq!(kind.params.get("boundary"), Some(&b"a b"[..]));
    refused::<ContentType<'_>>(&["text", "text/", "/plain", "text/plain;", "text/plain;x="]);
    let tags: Vec<_> = Supported::list(b"100rel , Timer,replaces").map(Result::unwrap).collect();
    assert!(tags[1].is("timer") && tags.len() == 3);
    refused::<Require<'_>>(&["", "a b", "(a)"]);
    refused::<Unsupported<'_>>(&[","]);
    let allowed: Vec<_> = Allow::list(b"INVITE,ACK,  FOO").map(Result::unwrap).collect();
    assert_eq!(allowed, [Allow(Method::Invite), Allow(Method::Ack), Allow(Method::Other(b"FOO"))]);
}

const INVITE: &[u8] = b"INVITE sip:b@x SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bKa\r\nVIA: SIP/2.0/UDP g\r\nf: <sip:a@x>;tag=1\r\n\
    t : <sip:b@x>\r\ni: call@x\r\nCSeq: 1\r\n  INVITE\r\nm: <sip:a@h>\r\nX-Own:  kept \t \r\nl: 2\r\n\r\nhi and more";

/// RFC 3261 §7.3.1, §7.3.3
#[test]
fn compact_forms_folds_and_unknown_headers() {
    let request = Request::parse(INVITE).unwrap();
    assert_eq!((request.method(), request.uri_bytes()), (Method::Invite, &b"sip:b@x"[..]));
    assert_eq!((request.via().host, request.branch()), (&b"h"[..], Some(&b"z9hG4bKa"[..])));
    assert_eq!(
        (request.from_tag(), request.to_tag(), request.call_id()),
        (Some(&b"1"[..]), None, &b"call@x"[..])
    );
    assert_eq!((request.cseq().number, request.max_forwards()), (1, None));
    assert_eq!(request.all::<Via<'_>>().count(), 2);
    assert_eq!(request.get::<Expires>(), Ok(None));
    let own = request.fields().find(|field| field.spelt == b"X-Own").unwrap();
    assert_eq!(own.value, b"kept");
    assert_eq!((request.value_of("x-own"), request.value_of("X-Other")), (Some(&b"kept"[..]), None));
    assert_eq!(request.value(sip_core::headers::Name::lookup(b"X-Other")), None);
    // What is behind the body is no part of the message.
    assert_eq!(
        (request.body(), request.as_bytes()),
        (&b"hi"[..], &INVITE[..INVITE.len() - b" and more".len()])
    );
    let owned = request.into_owned();
    assert_eq!((owned.call_id(), owned.body()), (&b"call@x"[..], &b"hi"[..]));
}

#[test]
fn errors_say_what_and_where() {
    let text = String::from_utf8(INVITE.to_vec()).unwrap();
    for (from, to, kind) in [
        ("i: call@x\r\n", "", "no Call-ID header"),
        ("CSeq: 1\r\n  INVITE", "CSeq: 1 BYE", "CSeq names another method than the start line"),
        ("f: <sip:a@x>;tag=1", "f: <sip:a@x>\r\nFrom: <sip:a@x>", "more than one From"),
        ("l: 2", "l: 200", "body shorter than Content-Length"),
        ("SIP/2.0\r\nv", "SIP/3.0\r\nv", "version is not SIP/2.0"),
        ("X-Own:", "X-Own", "header line without name and colon"),
        ("branch=z9hG4bKa", "branch=z9hG4bKa:garbage=;;", "malformed Via"),
        ("branch=z9hG4bKa", "branch:z9hG4bKa", "malformed Via"),
        ("sip:b@x SIP", "sip: SIP", "malformed Request-URI"),
    ] {
        let error = Request::parse(text.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert_eq!(error.kind.to_string(), kind);
    }
    let error = Request::parse(text.replace("<sip:a@x>;tag=1", "sip a").as_bytes()).unwrap_err();
    assert_eq!(error.offset as usize, text.find("f: ").unwrap());
    assert_eq!(Response::parse(INVITE).unwrap_err().kind, ErrorKind::StartLine);
    let response = b"SIP/2.0 183 In\xc3\xbc\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a@x>\r\nTo: <sip:b@x>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n";
    let parsed = Response::parse(response).unwrap();
    assert_eq!((parsed.status(), parsed.reason()), (Status::SESSION_PROGRESS, &b"In\xc3\xbc"[..]));
}

/// A line end that folds no line ends the value, also inside quotes and comments.
#[test]
fn line_ends_stand_only_in_folds() {
    use sip_core::headers::{Reason, Subject, Warning};
    assert!(Address::whole(b"\"x\r\nEvil: 1\r\nY: \" <sip:a@b>").is_err());
    refused::<Subject<'_>>(&["a\r\nEvil: 1", "a\rb", "a\nb"]);
    refused::<Reason<'_>>(&["SIP;text=\"a\r\nEvil: 1\r\nZ: \""]);
    refused::<Warning<'_>>(&["399 a \"b\r\nEvil: 1\""]);
    refused::<RetryAfter<'_>>(&["3 (a\r\nEvil: 1\r\n)"]);
    assert_eq!(Subject::whole(b"a\r\n b").unwrap().0, b"a\r\n b");
    // The writer makes blanks of them.
    let mut out = Vec::new();
    sip_core::message::Writer::response(&mut out, Status::OK).header(&Subject(b"a\r\nEvil: 1"));
    assert!(out.ends_with(b"Subject: a  Evil: 1\r\n"));
}

/// The first value of a list; nothing if the list is empty, which some may be (RFC 3261 §20.1, §20.5, §20.37).
#[test]
fn get_takes_the_first_of_a_list() {
    use sip_core::headers::Accept;
    let text = String::from_utf8(INVITE.to_vec()).unwrap();
    let text = text
        .replace("X-Own:", "Allow: INVITE, ACK\r\nAccept:\r\nSupported: \r\nX-Two: 1\r\nx-two: 2\r\nX-Own:");
    let request = Request::parse(text.as_bytes()).unwrap();
    assert_eq!(request.get::<Allow<'_>>(), Ok(Some(Allow(Method::Invite))));
    assert_eq!(request.get::<Accept<'_>>(), Ok(None));
    assert_eq!(request.get::<Supported<'_>>(), Ok(None));
    assert_eq!(request.values_of("X-TWO").collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(
        (request.value_of("Call-ID"), request.value_of("i")),
        (Some(&b"call@x"[..]), Some(&b"call@x"[..]))
    );
    let error = Route::list(b"<sip:a>,<sip:b>,bad").find_map(Result::err).unwrap();
    assert_eq!(error.offset, 19);
}

/// RFC 3261 §20.10, §20.42
#[test]
fn what_contacts_and_vias_say() {
    for (text, q, expires) in [
        ("<sip:a>;q=0.75;expires=60", Some(750), Some(60)),
        ("<sip:a>;q=1", Some(1_000), None),
        ("<sip:a>;q=1.001;expires=x", None, None),
        ("<sip:a>;q=0.0001", None, None),
        ("*", None, None),
    ] {
        let contact = Contact::whole(text.as_bytes()).unwrap();
        assert_eq!((contact.q(), contact.expires()), (q, expires), "{text}");
    }
    let via = Via::whole(b"SIP/2.0/UDP h;received=192.0.2.1;rport=7").unwrap();
    assert_eq!((via.received(), via.rport()), (Some([192, 0, 2, 1].into()), Some(7)));
}

/// What comes whole is held to the limit of streams too.
#[test]
fn a_message_may_not_be_larger_than_the_limit() {
    use sip_core::{Limits, message::Message};
    let limits = Limits { message: INVITE.len(), ..Limits::DEFAULT };
    assert!(Message::parse(INVITE, &limits).is_ok_and(|message| message.classify().is_ok()));
    let limits = Limits { message: INVITE.len() - 1, ..Limits::DEFAULT };
    assert_eq!(Message::parse(INVITE, &limits).map(drop).unwrap_err().kind, ErrorKind::TooLarge);
}

/// No quote that stays open is looked for twice: these took seconds.
#[test]
fn lists_that_are_never_closed_are_refused_at_once() {
    for open in ["\"".to_owned() + &"\\\"".repeat(31_000), "<".repeat(62_000)] {
        for name in ["Route", "Record-Route", "Via"] {
            let text = String::from_utf8(INVITE.to_vec()).unwrap();
            let hostile = format!("{name}: <sip:a>{}{open}\r\nX-Own:", ",".repeat(300));
            let text = text.replace("X-Own:", &hostile);
            let _ = Request::parse(text.as_bytes());
        }
    }
}

/// RFC 3261 §7.3.1: blanks may stand before the colon; RFC 2543 allowed a fold there too.
#[test]
fn blanks_and_folds_before_the_colon() {
    let text = String::from_utf8(INVITE.to_vec()).unwrap();
    for before in ["f \t :\r\n ", "f\r\n :", "f \r\n\t:"] {
        let text = text.replace("f:", before);
        let request = Request::parse(text.as_bytes()).unwrap();
        assert_eq!(request.from_tag(), Some(&b"1"[..]));
        assert!(request.fields().any(|field| field.spelt == b"f" && field.value.starts_with(b"<sip:a@x>")));
    }
}

/// A typed header that is broken does not fail a message that can do without it.
#[test]
fn a_broken_contact_fails_only_who_asks_for_it() {
    let text =
        String::from_utf8(INVITE.to_vec()).unwrap().replace("m: <sip:a@h>", "m: <sip:a@h\r\nExpires: soon");
    let request = Request::parse(text.as_bytes()).unwrap();
    assert!(request.get::<Contact<'_>>().is_err());
    assert!(request.get::<Expires>().is_err());
    assert_eq!(request.call_id(), b"call@x");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What is written is read back: addresses of any display name, user, parameters.
    #[test]
    fn written_addresses_are_read_back(
        display in "([ -!#-\\[\\]-~]|\\\\[ -~]){0,20}",
        user in "[a-z0-9.;?&=+$,/-]{1,12}",
        host in "[a-z][a-z0-9-]{0,10}(\\.[a-z]{2,5})?",
        params in prop::collection::vec(("[a-z]{1,8}", "[A-Za-z0-9.%*_+`'~-]{1,10}"), 0..5),
    ) {
        let uri = format!("sip:{user}@{host}");
        let mut text = format!("\"{display}\" <{uri}>");
        for (name, value) in &params {
            text += &format!(";{name}={value}");
        }
        let address = Address::whole(text.as_bytes()).unwrap();
        prop_assert_eq!(address.display, display.as_bytes());
        prop_assert_eq!(address.uri_bytes, uri.as_bytes());
        prop_assert!(address.uri().is_ok());
        let mut out = Vec::new();
        address.emit(&mut out);
        let again = Address::whole(&out).unwrap();
        prop_assert_eq!(again, address);
        prop_assert_eq!(again.params.iter().count(), params.len());
    }

    /// No bytes make a parser panic, and what it takes it writes so that it takes it again.
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        fn check<'a, T: Header<'a> + PartialEq + Debug>(bytes: &'a [u8], out: &'a mut Vec<u8>) {
            if let Ok(value) = T::whole(bytes) {
                value.emit(out);
                assert!(T::whole(out).is_ok(), "{:?}", out.escape_ascii());
            }
        }
        let mut outs: [Vec<u8>; 8] = Default::default();
        let [a, b, c, d, e, f, g, h] = &mut outs;
        check::<Via<'_>>(&bytes, a);
        check::<Contact<'_>>(&bytes, b);
        check::<Route<'_>>(&bytes, c);
        check::<CSeq<'_>>(&bytes, d);
        check::<ContentType<'_>>(&bytes, e);
        check::<RetryAfter<'_>>(&bytes, f);
        check::<Supported<'_>>(&bytes, g);
        check::<Allow<'_>>(&bytes, h);
    }
}
