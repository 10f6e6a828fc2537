//! Changing a message in place: what each change does, and that nothing else changes.

use sip_core::headers::{Header, Name, RecordRoute, Route, Via};
use sip_core::message::{Edit, Error, ErrorKind, Request, Response, UriOf};

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
        edit.remove(Name::Other);
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
        edit.set(Name::MaxForwards, b"0")?;
        edit.decrement_max_forwards().map(|_| ())
    });
    assert!(spent.is_err_and(|error| error.kind == ErrorKind::Field(Name::MaxForwards)));
}

#[test]
fn max_forwards_is_added_where_it_is_missing() {
    changed(
        "MAX-FORWARDS: 1\r\nroute: \"P\" <sip:p;lr> ,\r\n <sip:q;lr>\r\nContact: <tel:+1;x=y>\r\n",
        "route: \"P\" <sip:p;lr> ,\r\n <sip:q;lr>\r\nContact: <tel:+1;x=y>\r\nMax-Forwards: 70\r\n",
        |edit| {
            assert_eq!(edit.remove(Name::MaxForwards), 1);
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
    changed("c@a", "new", |edit| edit.set(Name::CallId, b" new "));
    changed("y>\r\n", "y>\r\nSubject: hi\r\n", |edit| edit.set(Name::Subject, b"hi"));
    changed("y>\r\n", "y>\r\nX-New: 1\r\n", |edit| edit.add("X-New", b"1"));
    changed("Contact: <tel:+1;x=y>\r\n", "", |edit| {
        assert_eq!(edit.remove(Name::Contact), 1);
        Ok(())
    });
    refused(|edit| edit.add("X", b"a\r\nEvil: yes"));
    refused(|edit| edit.add("X Y", b"a"));
    refused(|edit| edit.set(Name::To, b"a\nb"));
    refused(|edit| edit.add("X", &[b'a'; 70_000]));
    refused(|edit| edit.set(Name::To, &[b'a'; 70_000]));
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
