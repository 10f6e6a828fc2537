//! Sessions: RSeq and RAck (RFC 3262 §7), Session-Expires and Min-SE (RFC 4028 §4, §5), Session-ID (RFC 7989).

use super::shapes::{debug, words_with_params};
use super::{Header, Name, Params, value};
use crate::message::{Error, Method, lex, push_number};
use alloc::vec::Vec;
use nom::Parser;
use nom::sequence::{pair, terminated};

/// Which reliable provisional response a PRACK acknowledges.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RAck<'a> {
    /// The RSeq of the response.
    pub rseq: u32,
    /// The number in its CSeq.
    pub cseq: u32,
    /// The method in its CSeq.
    pub method: Method<'a>,
}

impl<'a> Header<'a> for RAck<'a> {
    const NAME: Name = Name::RAck;

    fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        value(input, |input| {
            let number = || terminated(lex::number, lex::lws1);
            (number(), number(), lex::token)
                .map(|(rseq, cseq, method)| Self { rseq, cseq, method: Method::new(method) })
                .parse(input)
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        push_number(out, u64::from(self.rseq));
        out.push(b' ');
        push_number(out, u64::from(self.cseq));
        out.push(b' ');
        out.extend_from_slice(self.method.as_bytes());
    }
}

macro_rules! intervals {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name<'a> {
            /// The interval in seconds.
            pub seconds: u32,
            /// The parameters.
            pub params: Params<'a>,
        }

        impl<'a> Header<'a> for $name<'a> {
            const NAME: Name = Name::$name;

            fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
                value(input, |input| {
                    pair(lex::number, Params::lex).map(|(seconds, params)| Self { seconds, params }).parse(input)
                })
            }

            fn emit(&self, out: &mut Vec<u8>) {
                push_number(out, u64::from(self.seconds));
                out.extend_from_slice(self.params.as_bytes());
            }
        }
    )*};
}

intervals! {
    /// After how long without a refresh a session ends.
    SessionExpires
    /// The least interval that the sender takes.
    MinSe
}

/// Which side refreshes a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refresher {
    /// The one that sends the request.
    Uac,
    /// The one that answers it.
    Uas,
}

impl SessionExpires<'_> {
    /// The `refresher` parameter; nothing if it is missing or neither `uac` nor `uas`.
    pub fn refresher(&self) -> Option<Refresher> {
        match self.params.get("refresher")? {
            side if side.eq_ignore_ascii_case(b"uac") => Some(Refresher::Uac),
            side if side.eq_ignore_ascii_case(b"uas") => Some(Refresher::Uas),
            _ => None,
        }
    }
}

words_with_params! {
    /// One session over several hops: 32 hexadecimal digits for each end.
    SessionId(
        /// The identifier of the sender.
        local: lex::session_id
    );
}

impl<'a> SessionId<'a> {
    /// The identifier of the receiver; all zeros while it is not known.
    pub fn remote(&self) -> Option<&'a [u8]> {
        self.params.get("remote")
    }
}

debug!(RAck<'_>, SessionExpires<'_>, MinSe<'_>);
