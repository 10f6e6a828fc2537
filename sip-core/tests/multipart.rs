//! Bodies of several parts (RFC 2046 §5.1, RFC 5621).

use sip_core::Limits;
use sip_core::headers::{ContentType, Header, Params};
use sip_core::message::{Error, ErrorKind, Multipart, Part, Request};

fn split<'a>(boundary: &'a [u8], body: &'a [u8]) -> Vec<Result<Part<'a>, Error>> {
    let kind =
        ContentType { kind: b"Multipart", subtype: b"mixed", params: Params::parse(boundary).unwrap() };
    match Multipart::new(&kind, body, &Limits::DEFAULT) {
        Ok(parts) => parts.unwrap().collect(),
        Err(error) => vec![Err(error)],
    }
}

fn bodies<'a>(boundary: &'a [u8], body: &'a [u8]) -> Vec<&'a [u8]> {
    split(boundary, body).into_iter().map(|part| part.map_or(&b"(error)"[..], |part| part.body())).collect()
}

#[test]
fn delimiters() {
    type Case = (&'static [u8], &'static [u8], &'static [&'static [u8]]);
    let cases: [Case; 14] = [
        (b";boundary=x", b"--x\r\n\r\na\r\n--x\r\nA: b\r\n\r\nb\r\n--x--", &[b"a", b"b"]),
        (b";boundary=\"a b\"", b"before\r\n--a b\r\n\r\na\r\n--a b--\r\nafter\r\n--a b\r\n\r\nno", &[b"a"]),
        // Blanks may stand behind a delimiter, and empty parts are parts.
        (b";boundary=x", b"--x \t\r\n\r\n\r\n--x\r\n\r\n--x--", &[b"", b""]),
        // A boundary that another begins with, or that does not begin a line, is none.
        (b";boundary=x", b"--xy\r\n--x\r\n\r\n--xy\r\n --x\r\nz--x\r\n--x--", &[b"--xy\r\n --x\r\nz--x"]),
        // A part keeps every byte.
        (b";boundary=x", b"--x\r\n\r\n\0\r\xff\n\r\n\r\n--x--", &[b"\0\r\xff\n\r\n"]),
        // The end is missing.
        (b";boundary=x", b"--x\r\n\r\na\r\n--x\r\n\r\nb", &[b"a", b"(error)"]),
        (b";boundary=x", b"--x\r\n\r\na\n--x--", &[b"(error)"]),
        // A part of fields alone; one that ends in the middle of a field.
        (b";boundary=x", b"--x\r\nA: b\r\n\r\n--x--", &[b""]),
        (b";boundary=x", b"--x\r\nA: b\r\n--x--", &[b"(error)"]),
        // No delimiter at all, or none but the last.
        (b";boundary=x", b"nothing", &[b"(error)"]),
        (b";boundary=x", b"--x--", &[b"(error)"]),
        (b"", b"--x--", &[b"(error)"]),
        (b";boundary=\"\"", b"--\r\n\r\n----", &[b"(error)"]),
        (
            b";boundary=1234567890123456789012345678901234567890123456789012345678901234567890z",
            b"",
            &[b"(error)"],
        ),
    ];
    for (boundary, body, want) in cases {
        assert_eq!(bodies(boundary, body), want, "{}", body.escape_ascii());
    }
}

#[test]
fn parts_nest_as_deep_as_the_limit_says() {
    let nest = |levels: usize| {
        let mut body = b"deep".to_vec();
        for level in (0..levels).rev() {
            let kind = format!("--b{level}\r\nContent-Type: multipart/mixed;boundary=b{}\r\n\r\n", level + 1);
            let kind = if level + 1 == levels { format!("--b{level}\r\n\r\n") } else { kind };
            body = [kind.as_bytes(), &body, format!("\r\n--b{level}--\r\n").as_bytes()].concat();
        }
        body
    };
    for levels in [1, 8, 9, 2_000] {
        let body = nest(levels);
        let kind = ContentType::whole(b"multipart/mixed;boundary=b0").unwrap();
        let mut parts = Multipart::new(&kind, &body, &Limits::DEFAULT).unwrap();
        let (mut depth, mut last) = (0, Ok(&b""[..]));
        while let Some(mut level) = parts {
            let part = level.next().unwrap().unwrap();
            depth += 1;
            last = Ok(part.body());
            parts = part.parts().unwrap_or_else(|error| {
                last = Err(error.kind);
                None
            });
        }
        assert_eq!(depth, levels.min(8));
        assert_eq!(last, if levels <= 8 { Ok(&b"deep"[..]) } else { Err(ErrorKind::TooLarge) });
    }
}

#[test]
fn the_parts_of_a_message() {
    let text = b"MESSAGE sip:b@b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\n\
        Call-ID: c\r\nCSeq: 1 MESSAGE\r\nMIME-Version: 1.0\r\nc: multipart/mixed; boundary=\"-=q\"\r\n\r\n\
        ---=q\r\nContent-Type: text/plain\r\nContent-ID: <1@a>\r\n\r\nhi\r\n---=q\r\nBroken line\r\n\r\nx\r\n---=q--\r\n";
    let request = Request::parse(text).unwrap();
    let parts: Vec<_> = request.parts(&Limits::DEFAULT).unwrap().unwrap().map(Result::unwrap).collect();
    assert!(parts[0].get::<ContentType<'_>>().unwrap().unwrap().is("text", "PLAIN"));
    assert_eq!(parts[0].fields().nth(1).unwrap().unwrap().value, b"<1@a>");
    assert_eq!((parts[0].body(), parts[1].body(), parts.len()), (&b"hi"[..], &b"x"[..], 2));
    assert!(parts[1].get::<ContentType<'_>>().is_err());
    let plain = String::from_utf8(text.to_vec()).unwrap().replace("multipart/mixed", "text/plain");
    assert!(Request::parse(plain.as_bytes()).unwrap().parts(&Limits::DEFAULT).unwrap().is_none());
}
