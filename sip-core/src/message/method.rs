//! Request methods.

use core::fmt;

/// A request method (RFC 3261 §7.1). Methods compare with case.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method<'a> {
    /// INVITE, RFC 3261 §13
    Invite,
    /// ACK, RFC 3261 §13, §17
    Ack,
    /// CANCEL, RFC 3261 §9
    Cancel,
    /// BYE, RFC 3261 §15
    Bye,
    /// OPTIONS, RFC 3261 §11
    Options,
    /// REGISTER, RFC 3261 §10
    Register,
    /// PRACK, RFC 3262
    Prack,
    /// UPDATE, RFC 3311
    Update,
    /// INFO, RFC 6086
    Info,
    /// SUBSCRIBE, RFC 6665
    Subscribe,
    /// NOTIFY, RFC 6665
    Notify,
    /// REFER, RFC 3515
    Refer,
    /// MESSAGE, RFC 3428
    Message,
    /// PUBLISH, RFC 3903
    Publish,
    /// Any other token.
    Other(&'a [u8]),
}

impl<'a> Method<'a> {
    /// The methods known by name.
    pub(crate) const KNOWN: [Self; 14] = [
        Self::Invite,
        Self::Ack,
        Self::Cancel,
        Self::Bye,
        Self::Options,
        Self::Register,
        Self::Prack,
        Self::Update,
        Self::Info,
        Self::Subscribe,
        Self::Notify,
        Self::Refer,
        Self::Message,
        Self::Publish,
    ];

    /// The method that a token spells.
    pub fn new(token: &'a [u8]) -> Self {
        Method::known(token).unwrap_or(Self::Other(token))
    }

    /// The method as it stands on the wire.
    pub const fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Invite => b"INVITE",
            Self::Ack => b"ACK",
            Self::Cancel => b"CANCEL",
            Self::Bye => b"BYE",
            Self::Options => b"OPTIONS",
            Self::Register => b"REGISTER",
            Self::Prack => b"PRACK",
            Self::Update => b"UPDATE",
            Self::Info => b"INFO",
            Self::Subscribe => b"SUBSCRIBE",
            Self::Notify => b"NOTIFY",
            Self::Refer => b"REFER",
            Self::Message => b"MESSAGE",
            Self::Publish => b"PUBLISH",
            Self::Other(token) => token,
        }
    }
}

impl Method<'static> {
    /// The method that a token spells, if it is known by name.
    pub(crate) fn known(token: &[u8]) -> Option<Self> {
        Some(match token {
            b"INVITE" => Self::Invite,
            b"ACK" => Self::Ack,
            b"CANCEL" => Self::Cancel,
            b"BYE" => Self::Bye,
            b"OPTIONS" => Self::Options,
            b"REGISTER" => Self::Register,
            b"PRACK" => Self::Prack,
            b"UPDATE" => Self::Update,
            b"INFO" => Self::Info,
            b"SUBSCRIBE" => Self::Subscribe,
            b"NOTIFY" => Self::Notify,
            b"REFER" => Self::Refer,
            b"MESSAGE" => Self::Message,
            b"PUBLISH" => Self::Publish,
            _ => return None,
        })
    }
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_bytes().escape_ascii(), f)
    }
}

impl fmt::Debug for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
