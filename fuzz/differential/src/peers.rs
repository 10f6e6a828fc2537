//! How each peer reads a message.

use bytes::Bytes;
use rsipstack::sip::message::{HasHeaders, HeadersExt};
use rsipstack::sip::{Header, SipMessage, ToTypedHeader};
use sipx_sip::headers::{CSeq, CallId, Via, first_hop_end};
use sipx_sip::{HeaderName, Limits, Message, parse_datagram};

/// What is compared.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The method or the status code.
    pub(crate) start: String,
    pub(crate) call_id: Vec<u8>,
    pub(crate) cseq: u32,
    pub(crate) branch: Option<Vec<u8>>,
    /// Via fields.
    pub(crate) vias: usize,
    /// Bytes of the body.
    pub(crate) body: usize,
}

impl Facts {
    /// The first thing that another parser read otherwise.
    pub(crate) fn other(&self, other: &Self) -> Option<&'static str> {
        [
            (self.start != other.start, "start line"),
            (self.call_id != other.call_id, "Call-ID"),
            (self.cseq != other.cseq, "CSeq"),
            (self.vias != other.vias, "number of Vias"),
            (self.branch != other.branch, "branch"),
            (self.body != other.body, "body"),
        ]
        .into_iter()
        .find_map(|(differs, what)| differs.then_some(what))
    }
}

/// A peer: its name, and what it makes of bytes; of a refusal, the kind.
type Peer = (&'static str, fn(&[u8]) -> Result<Facts, String>);

pub(crate) const ALL: [Peer; 2] = [("rsipstack", rsipstack), ("sipx-sip", sipx)];

fn rsipstack(bytes: &[u8]) -> Result<Facts, String> {
    let kind = |error: rsipstack::sip::Error| {
        let text = format!("{error:?}");
        text.split(['(', '"']).next().unwrap_or_default().to_owned()
    };
    let message = SipMessage::try_from(bytes).map_err(kind)?;
    let (start, body) = match &message {
        SipMessage::Request(request) => (request.method.to_string(), request.body.len()),
        SipMessage::Response(response) => (response.status_code.code().to_string(), response.body.len()),
    };
    let field = |what: &'static str| move |_| what.to_owned();
    Ok(Facts {
        start,
        body,
        call_id: message.call_id_header().map_err(field("Call-ID"))?.value().as_bytes().to_vec(),
        cseq: message.cseq_header().and_then(|cseq| cseq.typed()).map_err(field("CSeq"))?.seq,
        branch: message
            .top_via_header()
            .and_then(|via| via.into_typed())
            .map_err(field("Via"))?
            .branch()
            .map(|branch| branch.value().as_bytes().to_vec()),
        vias: message.headers().iter().filter(|header| matches!(header, Header::Via(_))).count(),
    })
}

fn sipx(bytes: &[u8]) -> Result<Facts, String> {
    let kind = |error: sipx_sip::error::ParseError| {
        // The first two clauses of the reason, without what was found.
        let text = error.to_string();
        let clauses: Vec<&str> = text.split(':').take(2).collect();
        let words = clauses.join(":");
        words.split(|c: char| c.is_ascii_digit() || c == '(').next().unwrap_or_default().trim().to_owned()
    };
    let message = parse_datagram(Bytes::copy_from_slice(bytes), &Limits::datagram()).map_err(kind)?;
    let (start, body) = match &message {
        Message::Request(request) => {
            (String::from_utf8_lossy(request.method.as_bytes()).into_owned(), request.body().len())
        }
        Message::Response(response) => (response.status.code().to_string(), response.body().len()),
    };
    let headers = message.headers();
    let typed = |what: &str| what.to_owned();
    let top = headers.value(&HeaderName::Via).ok_or_else(|| typed("Via"))?;
    let via = top
        .get(..first_hop_end(&top))
        .and_then(|top| Via::parse_one(top).ok())
        .ok_or_else(|| typed("Via"))?;
    let cseq = headers.typed::<CSeq>().and_then(Result::ok).ok_or_else(|| typed("CSeq"))?;
    let call_id = headers.typed::<CallId>().and_then(Result::ok).ok_or_else(|| typed("Call-ID"))?;
    Ok(Facts {
        start,
        body,
        call_id: call_id.0.to_vec(),
        cseq: cseq.sequence,
        branch: via.branch().map(<[u8]>::to_vec),
        vias: headers.get_all(&HeaderName::Via).count(),
    })
}
