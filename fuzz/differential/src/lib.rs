//! One message, three parsers: sip-core and two that share nothing with it. None of them is right by definition: where they
//! differ, `differences.tsv` says why, with the clause that decides, or it is a finding.

mod peers;

use peers::Facts;
use sip_core::headers::Name;
use sip_core::message::{Error, Message, Request, Response};

const TABLE: &str = include_str!("../differences.tsv");

/// What one peer makes of a message otherwise than we do.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which peer.
    pub peer: &'static str,
    /// What differs, without the particulars of the message.
    pub what: String,
}

/// Panics on a difference that the table does not explain.
pub fn check(bytes: &[u8]) {
    if let Some(found) = differences(bytes).into_iter().find(|difference| !is_explained(difference)) {
        panic!("not in differences.tsv: {}\t{}", found.peer, found.what);
    }
}

/// Whether the table has a row for it.
pub fn is_explained(difference: &Difference) -> bool {
    TABLE.lines().skip(1).any(|row| {
        let mut cells = row.split('\t');
        cells.next() == Some(difference.peer) && cells.next() == Some(&difference.what)
    })
}

/// Where the peers differ from us.
pub fn differences(bytes: &[u8]) -> Vec<Difference> {
    let ours = ours(bytes);
    peers::ALL
        .iter()
        .filter_map(|(peer, read)| {
            let what = match (&ours, read(bytes)) {
                (Err(_), Err(_)) => return None,
                (Err(error), Ok(_)) => format!("takes what we refuse: {}", error.kind),
                (Ok(_), Err(reason)) => format!("refuses what we take: {reason}"),
                (Ok(ours), Ok(theirs)) => format!("reads another {}", ours.other(&theirs)?),
            };
            Some(Difference { peer, what })
        })
        .collect()
}

fn ours(bytes: &[u8]) -> Result<Facts, Error> {
    let start = bytes.len() - bytes.iter().skip_while(|byte| b"\r\n".contains(byte)).count();
    if bytes[start..].get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/")) {
        let response = Response::parse(bytes)?;
        Ok(facts(&response, response.status().code().to_string()))
    } else {
        let request = Request::parse(bytes)?;
        Ok(facts(&request, request.method().to_string()))
    }
}

fn facts(message: &Message<'_>, start: String) -> Facts {
    Facts {
        start,
        call_id: message.call_id().to_vec(),
        cseq: message.cseq().number,
        branch: message.branch().map(<[u8]>::to_vec),
        vias: message.values(Name::Via).count(),
        body: message.body().len(),
    }
}
