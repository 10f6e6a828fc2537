//! Changing a message in place: what each change does, and that nothing else changes.

use sip_core::headers::{Header, Name, RecordRoute, Route, Via};
use sip_core::message::{Edit, Error, ErrorKind, Request, Response, Status, UriOf};

const INVITE: &str = "INVITE sip:bob:pw@b.example:5070;transport=tcp;x;y=?Subject=z SIP/2.0\r\n\
    v:SIP/2.0/UDP a.example;rport;branch=z9hG4bK1 , SIP/2.0/TCP b;branch=z9hG4bK0\r\nX-Odd : \t kept \r\n\
    f: sip:alice@a.example;tag=1\r\nTo:\r\n <sip:bob@b.example>\r\nCall-ID: c@a\r\nCSeq: 1 INVITE\r\n\
    MAX-FORWARDS: 1\r\nroute: \"P\" <sip:p;lr> ,\r\n <sip:q;lr>\r\nContact: <tel:+1;x=y>\r\n\r\nbody";

/// What becomes of the INVITE.
fn change(work: impl FnOnce(&mut Edit<'_>) -> Result<(), Error>) -> Result<String, Error> {
    let request = Request::parse(INVITE.as_bytes()).unwrap();
    let mut out = b"before".to_vec();
    let result = work(&mut request.edit(&mut out));
    assert!(out.starts_with(b"before"));
    result.map(|()| String::from_utf8(out.split_off(6)).unwrap())
}

/// A change does no more than to replace `from`, which is there once, by `to`.
fn changed(from: &str, to: &str, work: impl FnOnce(&mut Edit<'_>) -> Result<(), Error>) {
    assert!(from.is_empty() || INVITE.matches(from).count() == 1, "{from}");
    assert_eq!(change(work).unwrap(), INVITE.replacen(from, to, 1));
}

/// A change that is refused leaves all as it was.
fn refused(work: impl FnOnce(&mut Edit<'_>) -> Result<(), Error>) -> ErrorKind {
    let mut kind = None;
    changed("", "", |edit| {
        kind = work(edit).err().map(|error| error.kind);
        Ok(())
    });
    kind.expect("refused")
}

#[test]
fn nothing_done_is_a_copy() {
    changed("", "", |_| Ok(()));
    changed("", "", |edit| edit.remove_uri_param(UriOf::Request, "none"));
    changed("", "", |edit| edit.set_user(UriOf::Request, Some(b"bob")));
}

/// RFC 3261 §16.6, step 8; §16.7, step 3
#[test]
fn vias() {
    let via = Via::whole(b"SIP/2.0/UDP p;branch=z9hG4bK2").unwrap();
    changed("v:", "Via: SIP/2.0/UDP p;branch=z9hG4bK2\r\nv:", |edit| edit.push_via(&via));
    changed("SIP/2.0/UDP a.example;rport;branch=z9hG4bK1 , ", "", |edit| edit.pop_via());
    changed(
        "v:SIP/2.0/UDP a.example;rport;branch=z9hG4bK1 , SIP/2.0/TCP b;branch=z9hG4bK0\r\n",
        "",
        |edit| {
            edit.pop_via()?;
            edit.pop_via()
        },
    );
    changed("", "", |edit| {
        edit.push_via(&via)?;
        edit.pop_via()
    });
    let all = change(|edit| {
        edit.pop_via()?;
        edit.pop_via()?;
        assert_eq!(edit.pop_via().unwrap_err().kind, ErrorKind::Missing(Name::Via));
        edit.push_via(&via)
    });
    assert!(all.unwrap().contains(" SIP/2.0\r\nVia: SIP/2.0/UDP p;branch=z9hG4bK2\r\nX-Odd"));
    let odd = Via { host: b"p\r\nEvil: yes", ..via };
    assert_eq!(refused(|edit| edit.push_via(&odd)), ErrorKind::Field(Name::Via));
}

/// RFC 3581 §4
#[test]
fn received_and_rport() {
    changed(";rport;branch=z9hG4bK1", ";branch=z9hG4bK1;received=192.0.2.7;rport=99", |edit| {
        edit.remove("X-None");
        edit.stamp_via("192.0.2.7:99".parse().unwrap())
    });
}

/// RFC 3261 §16.4, §16.6
#[test]
fn routes_and_max_forwards() {
    changed("\"P\" <sip:p;lr> ,\r\n ", "", |edit| edit.pop_route());
    changed("route: \"P\" <sip:p;lr> ,\r\n <sip:q;lr>\r\n", "", |edit| {
        edit.pop_route()?;
        edit.pop_route()
    });
    changed("X-Odd", "Record-Route: <sip:us;lr>\r\nX-Odd", |edit| {
        edit.push_record_route(&RecordRoute::whole(b"<sip:us;lr>")?)
    });
    changed("route:", "Route: <sip:us;lr>\r\nroute:", |edit| edit.push_route(&Route::whole(b"<sip:us;lr>")?));
    changed("FORWARDS: 1", "FORWARDS: 0", |edit| {
        edit.decrement_max_forwards().map(|left| assert_eq!(left, 0))
    });
    let spent = change(|edit| {
        edit.set("Max-Forwards", b"0")?;
        edit.decrement_max_forwards().map(|_| ())
    });
    assert!(
        spent.is_err_and(
            |error| error.kind == ErrorKind::TooManyHops && error.status() == Status::TOO_MANY_HOPS
        )
    );
}

#[test]
fn max_forwards_is_added_where_it_is_missing() {
    changed(
        "MAX-FORWARDS: 1\r\nroute: \"P\" <sip:p;lr> ,\r\n <sip:q;lr>\r\nContact: <tel:+1;x=y>\r\n",
        "route: \"P\" <sip:p;lr> ,\r\n <sip:q;lr>\r\nContact: <tel:+1;x=y>\r\nMax-Forwards: 70\r\n",
        |edit| {
            assert_eq!(edit.remove("Max-Forwards"), 1);
            edit.decrement_max_forwards().map(|left| assert_eq!(left, 70))
        },
    );
}

#[test]
fn uris() {
    use UriOf::{First, Request as Target};
    changed("sip:bob:pw@b.example:5070;transport=tcp;x;y=?Subject=z", "tel:+1", |edit| {
        edit.set_uri(b"tel:+1")
    });
    changed("sip:bob:", "sip:carol%20x:", |edit| edit.set_user(Target, Some(b"carol%20x")));
    changed("bob:pw@", "", |edit| edit.set_user(Target, None));
    changed("sip:bob:pw@b.example:5070;transport=tcp;x;y=?Subject=z", "sip:carol@c", |edit| {
        edit.set_uri(b"sip:c")?;
        edit.set_user(Target, Some(b"carol"))
    });
    changed("tcp", "udp", |edit| {
        edit.set_uri_param(Target, "Transport", b"sctp")?;
        edit.set_uri_param(Target, "transport", b"udp")
    });
    changed("y=?", "y=;lr?", |edit| edit.set_uri_param(Target, "lr", b""));
    changed(";x;", ";", |edit| edit.remove_uri_param(Target, "x"));
    changed(";y=", "", |edit| edit.remove_uri_param(Target, "y"));
    changed("bob@", "rob@", |edit| edit.set_user(First(Name::To), Some(b"rob")));
    // RFC 3261 §20.10: without brackets the parameter would be one of the header.
    changed("sip:alice@a.example", "<sip:alice@a.example;lr>", |edit| {
        edit.set_uri_param(First(Name::From), "lr", b"")
    });
    for bad in [&b"a b"[..], b"a%4", b"a@b", b"a\r\nb", b"a\"b"] {
        refused(|edit| edit.set_user(Target, Some(bad)));
        refused(|edit| edit.set_uri_param(Target, "n", bad));
        refused(|edit| edit.set_uri(bad));
    }
    refused(|edit| edit.set_user(Target, Some(b"a:b")));
    refused(|edit| edit.set_uri_param(Target, "", b"b"));
    refused(|edit| edit.set_user(First(Name::Contact), Some(b"a"))); // a tel URI has no user
    refused(|edit| edit.set_user(First(Name::Path), Some(b"a")));
}

#[test]
fn any_field() {
    changed("c@a", "new", |edit| edit.set("Call-ID", b" new "));
    changed("y>\r\n", "y>\r\nSubject: hi\r\n", |edit| edit.set("Subject", b"hi"));
    changed("y>\r\n", "y>\r\nX-New: 1\r\n", |edit| edit.add("X-New", b"1"));
    changed("Contact: <tel:+1;x=y>\r\n", "", |edit| {
        assert_eq!(edit.remove("Contact"), 1);
        Ok(())
    });
    refused(|edit| edit.add("X", b"a\r\nEvil: yes"));
    refused(|edit| edit.add("X Y", b"a"));
    refused(|edit| edit.set("To", b"a\nb"));
    refused(|edit| edit.add("X", &[b'a'; 70_000]));
    refused(|edit| edit.set("To", &[b'a'; 70_000]));
}

/// What was put together by hand is looked at before it goes in.
#[test]
fn no_header_is_smuggled_in() {
    use sip_core::headers::{Address, Params};
    let display =
        |display: &'static [u8]| Address { display, uri_bytes: b"sip:p;lr", params: Params::default() };
    for display in
        [display(b"x\r\nEvil: yes\r\nY: "), display(b"x\" <sip:q>\r\nEvil: yes\r\n"), display(b"a\\")]
    {
        refused(|edit| edit.push_route(&Route(display)));
        refused(|edit| edit.push_record_route(&RecordRoute(display)));
    }
    assert!(Params::parse(b";x=\"a\r\nEvil: 1\"").is_err());
}

/// A message stays one: what it needs is not doubled and not made malformed.
#[test]
fn nothing_unmakes_the_message() {
    assert_eq!(refused(|edit| edit.add("i", b"another")), ErrorKind::Repeated(Name::CallId));
    for (name, value) in [
        ("To", &b"garbage \x01"[..]),
        ("From", b""),
        ("CSeq", b"many INVITE"),
        ("Max-Forwards", b"256"),
        ("Via", b"SIP/2.0/UDP"),
        ("Content-Length", b"99"),
        ("CSeq", b"2 BYE"),
    ] {
        refused(|edit| edit.set(name, value));
    }
    // A folded value is one value.
    changed("y>\r\n", "y>\r\nSubject: two\r\n lines\r\n", |edit| edit.set("Subject", b"two\r\n lines"));
}

#[test]
fn headers_that_are_not_known() {
    changed("kept ", "new ", |edit| edit.set("x-odd", b"new"));
    changed("X-Odd : \t kept \r\n", "", |edit| {
        assert_eq!(edit.remove("X-ODD"), 1);
        assert_eq!(edit.remove("X-None"), 0);
        Ok(())
    });
}

/// What is refused for its size changes nothing, and what is not refused is parsed again.
#[test]
fn values_as_long_as_a_line_may_be() {
    let contact = format!("sip:a@b;x={}", "y".repeat(65_500));
    let text = INVITE.replace("<tel:+1;x=y>", &contact);
    let request = Request::parse(text.as_bytes()).unwrap();
    let mut out = Vec::new();
    let mut edit = request.edit(&mut out);
    let of = UriOf::First(Name::Contact);
    assert_eq!(edit.set_uri_param(of, "uuuuuuuuuuuuuuuuuuuuuuu", b"").unwrap_err().kind, ErrorKind::TooLarge);
    assert_eq!(edit.as_bytes(), text.as_bytes());
    let room = (65_500..65_540).filter(|length| {
        let mut out = Vec::new();
        let request = Request::parse(INVITE.as_bytes()).unwrap();
        let taken = request.edit(&mut out).add("X", &vec![b'a'; *length]).is_ok();
        assert!(!taken || Request::parse(&out).is_ok(), "{length}");
        taken
    });
    assert_eq!(room.max(), Some(65_535 - "X: ".len()));
}

/// A comma with nothing behind it parts nothing.
#[test]
fn a_trailing_comma() {
    let text = INVITE.replace("\"P\" <sip:p;lr> ,\r\n <sip:q;lr>", "<sip:p;lr> , ");
    let request = Request::parse(text.as_bytes()).unwrap();
    let mut out = Vec::new();
    let mut edit = request.edit(&mut out);
    edit.pop_route().unwrap();
    assert_eq!(edit.pop_route().unwrap_err().kind, ErrorKind::Missing(Name::Route));
}

#[test]
fn a_response_has_no_request_uri() {
    let response = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a\r\nVia: SIP/2.0/UDP b\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>;tag=2\r\n\
        Call-ID: c\r\nCSeq: 1 BYE\r\n\r\n";
    let response = Response::parse(response).unwrap();
    let mut out = Vec::new();
    let mut edit = response.edit(&mut out);
    assert_eq!(edit.set_uri(b"sip:x").unwrap_err().kind, ErrorKind::RequestUri);
    edit.pop_via().unwrap();
    assert_eq!(Response::parse(edit.as_bytes()).unwrap().via().host, b"b");
}
