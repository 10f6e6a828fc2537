//! Requests in the form of SER's FIFO (`t_uac` of its TM module): programs that know no SIP write them.
//!
//! ```text
//! :t_uac:FILE
//! MESSAGE
//! sip:bob@example.com
//! From: <sip:alice@example.com>
//! Content-Type: text/plain
//!
//! hello
//!
//! ```
//! The first empty line ends the headers, of which there may be none, the second the body, in which no line begins with `:t_uac:`.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem::take;

/// A request that somebody wants sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    /// Where its outcome is to be told; empty: where all are.
    pub(super) file: String,
    pub(super) method: String,
    pub(super) uri: String,
    pub(super) headers: Vec<(String, String)>,
    /// Each line of it with CR LF.
    pub(super) body: Vec<u8>,
}

/// What is wrong with an order: what is told in place of the outcome.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) order: Order,
    pub(super) code: u16,
    pub(super) reason: &'static str,
}

/// Reads orders, in pieces of whatever size.
#[derive(Debug, Default)]
pub(super) struct Orders {
    line: Vec<u8>,
    order: Order,
    next: Part,
    /// How many bytes the present one has so far.
    size: usize,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Start,
    Method,
    Uri,
    Headers,
    Body,
    /// The rest of a broken one, up to the next start.
    Skipped,
}

const START: &str = ":t_uac:";
/// No request is larger than a datagram.
const MOST: usize = 65_535;

impl Orders {
    /// The orders that these bytes complete.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<Result<Order, Broken>> {
        let mut all = Vec::new();
        for byte in bytes {
            self.size += 1;
            if self.size > MOST {
                self.line.clear();
                if self.next != Part::Skipped {
                    all.push(Err(self.broken(413, "Request Entity Too Large")));
                }
                self.size = 0;
            }
            match byte {
                b'\n' => {
                    let line = take(&mut self.line);
                    all.extend(self.line(line.strip_suffix(b"\r").unwrap_or(&line)));
                }
                byte => self.line.push(*byte),
            }
        }
        all
    }

    /// Nothing more comes: what has its method and URI is complete.
    pub(super) fn end(&mut self) -> Vec<Result<Order, Broken>> {
        let mut all = Vec::new();
        if !self.line.is_empty() {
            all.extend(self.read(b"\n"));
        }
        match self.next {
            Part::Start | Part::Skipped => {}
            Part::Method | Part::Uri => all.push(Err(self.broken(400, "The input ends before the URI"))),
            Part::Headers | Part::Body => all.push(Ok(self.whole())),
        }
        all
    }

    fn line(&mut self, line: &[u8]) -> Option<Result<Order, Broken>> {
        let text = core::str::from_utf8(line);
        // Whoever wrote the one before may have been killed in the midst of it.
        if let Some(file) = text.ok().and_then(|text| text.strip_prefix(START)) {
            let cut = match self.next {
                Part::Start | Part::Skipped => None,
                _ => Some(Err(self.broken(400, "The request breaks off"))),
            };
            self.order = Order { file: file.trim().into(), ..Order::default() };
            (self.next, self.size) = (Part::Method, line.len());
            return cut;
        }
        match (self.next, text) {
            (Part::Start, Ok("")) => self.size = 0,
            (Part::Start, _) => return Some(Err(self.broken(400, "A request begins with :t_uac:"))),
            (Part::Skipped, _) => {}
            (Part::Method, Ok(text)) if !text.is_empty() => {
                self.order.method = text.trim().into();
                self.next = Part::Uri;
            }
            (Part::Uri, Ok(text)) if !text.is_empty() => {
                self.order.uri = text.trim().into();
                self.next = Part::Headers;
            }
            (Part::Headers, Ok("")) => self.next = Part::Body,
            (Part::Headers, Ok(text)) => match text.split_once(':') {
                Some((name, value)) => self.order.headers.push((name.trim().into(), value.trim().into())),
                None => return Some(Err(self.broken(400, "A header has a name and a colon"))),
            },
            (Part::Body, _) if line.is_empty() => return Some(Ok(self.whole())),
            (Part::Body, _) => {
                self.order.body.extend_from_slice(line);
                self.order.body.extend_from_slice(b"\r\n");
            }
            (Part::Method | Part::Uri, Ok(_)) => {
                return Some(Err(self.broken(400, "Behind :t_uac: come the method and the URI")));
            }
            (Part::Method | Part::Uri | Part::Headers, Err(_)) => {
                return Some(Err(self.broken(400, "A line is not UTF-8")));
            }
        }
        None
    }

    fn whole(&mut self) -> Order {
        (self.next, self.size) = (Part::Start, 0);
        take(&mut self.order)
    }

    fn broken(&mut self, code: u16, reason: &'static str) -> Broken {
        self.next = Part::Skipped;
        Broken { order: take(&mut self.order), code, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, vec};

    const HELLO: &str = ":t_uac:/tmp/x\nMESSAGE\nsip:bob@h\nFrom: <sip:a@h>\nX: y:z\n\nhello\nthere\n\n";

    fn hello() -> Order {
        Order {
            file: "/tmp/x".into(),
            method: "MESSAGE".into(),
            uri: "sip:bob@h".into(),
            headers: vec![("From".into(), "<sip:a@h>".into()), ("X".into(), "y:z".into())],
            body: b"hello\r\nthere\r\n".to_vec(),
        }
    }

    fn read(text: &str) -> Vec<Result<Order, Broken>> {
        let mut orders = Orders::default();
        let mut all = orders.read(text.as_bytes());
        all.extend(orders.end());
        all
    }

    #[test]
    fn in_whatever_pieces_and_line_ends() {
        let text = format!("\n{HELLO}{}\n{HELLO}", HELLO.replace('\n', "\r\n"));
        for size in 1..text.len() {
            let mut orders = Orders::default();
            let all: Vec<_> = text.as_bytes().chunks(size).flat_map(|piece| orders.read(piece)).collect();
            assert_eq!(all, [Ok(hello()), Ok(hello()), Ok(hello())]);
            assert!(orders.end().is_empty());
        }
    }

    #[test]
    fn without_headers_body_and_end() {
        let bare = Order { method: "OPTIONS".into(), uri: "sip:h".into(), ..Order::default() };
        for rest in ["", "\n", "\n\n", "\n\n\n", "\n\n\n\n\n"] {
            assert_eq!(read(&format!(":t_uac:\nOPTIONS\nsip:h{rest}")), [Ok(Order { ..copy(&bare) })]);
        }
        let (start, _) = HELLO.split_at(HELLO.len() - 2);
        assert_eq!(read(start), [Ok(hello())]);
    }

    fn copy(order: &Order) -> Order {
        Order { method: order.method.clone(), uri: order.uri.clone(), ..Order::default() }
    }

    #[test]
    fn what_is_broken_takes_nobody_else_along() {
        for (broken, code, file) in [
            (":foo:bar\nx\n\n", 400, ""),
            (":t_uac:f\n", 400, "f"),
            (":t_uac:f\nMESSAGE\n", 400, "f"),
            (":t_uac:f\nMESSAGE\nsip:h\nX: y\n", 400, "f"),
            (":t_uac:f\nMESSAGE\nsip:h\n\nhel\n", 400, "f"),
            (":t_uac:f\n\n", 400, "f"),
            (":t_uac:f\nMESSAGE\n\n", 400, "f"),
            (":t_uac:f\nMESSAGE\nsip:h\nno header\n\nbody\n\n", 400, "f"),
            (&format!(":t_uac:f\nMESSAGE\nsip:h\n\n{}\n\n", "x".repeat(70_000)), 413, "f"),
            (&format!("{}\n", "y".repeat(200_000)), 413, ""),
        ] {
            let all = read(&format!("{broken}{HELLO}"));
            let [Err(found), Ok(next)] = &all[..] else { panic!("{all:?}") };
            assert_eq!((found.code, &*found.order.file, next), (code, file, &hello()));
        }
        assert!(matches!(&read(":t_uac:f\nMESSAGE")[..], [Err(Broken { code: 400, .. })]));
    }
}
