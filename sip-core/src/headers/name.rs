//! The names of header fields, with their compact forms.

use core::fmt;

macro_rules! names {
    ($($variant:ident $long:literal $($compact:literal)?;)*) => {
        /// The name of a header field. Names compare without case (RFC 3261 §7.3.1).
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Name {
            $(#[doc = concat!("`", $long, "`", $(" (`", $compact, "`)",)?)] $variant,)*
            /// A name that this library does not know; the field is kept as opaque bytes.
            Other,
        }

        impl Name {
            const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$variant, $long, concat!($($compact)?)),)*];
        }
    };
}

names! {
    Via "Via" "v";
    From "From" "f";
    To "To" "t";
    CallId "Call-ID" "i";
    CSeq "CSeq";
    MaxForwards "Max-Forwards";
    Contact "Contact" "m";
    Route "Route";
    RecordRoute "Record-Route";
    ContentType "Content-Type" "c";
    ContentLength "Content-Length" "l";
    Accept "Accept";
    AcceptContact "Accept-Contact" "a";
    AcceptEncoding "Accept-Encoding";
    AcceptLanguage "Accept-Language";
    AlertInfo "Alert-Info";
    Allow "Allow";
    AllowEvents "Allow-Events" "u";
    AuthenticationInfo "Authentication-Info";
    Authorization "Authorization";
    CallInfo "Call-Info";
    ContentDisposition "Content-Disposition";
    ContentEncoding "Content-Encoding" "e";
    ContentLanguage "Content-Language";
    Date "Date";
    Diversion "Diversion";
    ErrorInfo "Error-Info";
    Event "Event" "o";
    Expires "Expires";
    FeatureCaps "Feature-Caps";
    FlowTimer "Flow-Timer";
    Geolocation "Geolocation";
    HistoryInfo "History-Info";
    InReplyTo "In-Reply-To";
    InfoPackage "Info-Package";
    Join "Join";
    MaxBreadth "Max-Breadth";
    MimeVersion "MIME-Version";
    MinExpires "Min-Expires";
    MinSe "Min-SE";
    Organization "Organization";
    PAssertedIdentity "P-Asserted-Identity";
    PPreferredIdentity "P-Preferred-Identity";
    Path "Path";
    Priority "Priority";
    Privacy "Privacy";
    ProxyAuthenticate "Proxy-Authenticate";
    ProxyAuthorization "Proxy-Authorization";
    ProxyRequire "Proxy-Require";
    RAck "RAck";
    RSeq "RSeq";
    Reason "Reason";
    RecvInfo "Recv-Info";
    ReferSub "Refer-Sub";
    ReferTo "Refer-To" "r";
    ReferredBy "Referred-By" "b";
    RejectContact "Reject-Contact" "j";
    Replaces "Replaces";
    ReplyTo "Reply-To";
    RequestDisposition "Request-Disposition" "d";
    Require "Require";
    RetryAfter "Retry-After";
    SecurityClient "Security-Client";
    SecurityServer "Security-Server";
    SecurityVerify "Security-Verify";
    Server "Server";
    ServiceRoute "Service-Route";
    SessionExpires "Session-Expires" "x";
    SessionId "Session-ID";
    SipETag "SIP-ETag";
    SipIfMatch "SIP-If-Match";
    Subject "Subject" "s";
    SubscriptionState "Subscription-State";
    Supported "Supported" "k";
    TargetDialog "Target-Dialog";
    Timestamp "Timestamp";
    Unsupported "Unsupported";
    UserAgent "User-Agent";
    Warning "Warning";
    WwwAuthenticate "WWW-Authenticate";
}

/// A perfect hash of the long names, found when compiled: length, first, middle and last letter, spread by one factor.
const SLOTS: usize = 1 << 10;
const FACTOR: u32 = factor();

static BY_HASH: [(Name, &str); SLOTS] = match by_hash(FACTOR) {
    Some(table) => table,
    None => [(Name::Other, ""); SLOTS],
};

#[inline]
const fn hash(name: &[u8], factor: u32) -> usize {
    let ([first, ..], Some((_, from_middle)), Some(last)) =
        (name, name.split_at_checked(name.len() / 2), name.last())
    else {
        return 0;
    };
    let [middle, ..] = from_middle else { return 0 };
    let key = u32::from_le_bytes([*first | 0x20, *middle | 0x20, *last | 0x20, name.len() as u8]);
    (key.wrapping_mul(factor) >> 22) as usize
}

const fn factor() -> u32 {
    let mut factor: u32 = 0x9e37_79b1;
    while by_hash(factor).is_none() {
        factor = factor.wrapping_mul(5).wrapping_add(2);
    }
    factor
}

/// The table of this factor; nothing if two names share a slot.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const fn by_hash(factor: u32) -> Option<[(Name, &'static str); SLOTS]> {
    let mut table = [(Name::Other, ""); SLOTS];
    let mut at = 0;
    while at < Name::ALL.len() {
        let (name, long, _) = Name::ALL[at];
        let slot = hash(long.as_bytes(), factor);
        if !table[slot].1.is_empty() {
            return None;
        }
        table[slot] = (name, long);
        at += 1;
    }
    Some(table)
}

/// The compact forms by their letter (RFC 3261 §7.3.3).
static COMPACT: [u8; 26] = compact();

#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const fn compact() -> [u8; 26] {
    let mut table = [u8::MAX; 26];
    let mut at = 0;
    while at < Name::ALL.len() {
        let letter = Name::ALL[at].2.as_bytes();
        if letter.len() == 1 {
            table[(letter[0] - b'a') as usize] = at as u8;
        }
        at += 1;
    }
    table
}

/// Whether two names are the same; the usual spelling is looked at first.
#[inline]
fn same(long: &[u8], name: &[u8]) -> bool {
    long == name || long.eq_ignore_ascii_case(name)
}

impl Name {
    /// The name that these bytes spell, in any case, long or compact; [`Name::Other`] if it is not known.
    #[inline]
    pub fn lookup(name: &[u8]) -> Self {
        if let [letter] = name {
            let letter = letter.to_ascii_lowercase().wrapping_sub(b'a');
            return COMPACT.get(letter as usize).map_or(Self::Other, |at| Self::nth(*at));
        }
        match BY_HASH.get(hash(name, FACTOR)) {
            Some((found, long)) if same(long.as_bytes(), name) => *found,
            _ => Self::Other,
        }
    }

    /// Every name that is known.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.iter().map(|entry| entry.0)
    }

    fn nth(at: u8) -> Self {
        Self::ALL.get(at as usize).map_or(Self::Other, |entry| entry.0)
    }

    /// The name in its long form; an empty string for [`Name::Other`].
    pub fn as_str(self) -> &'static str {
        Self::ALL.get(self as usize).map_or("", |entry| entry.1)
    }

    /// Its number, for the header index.
    pub(crate) const fn id(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_id(id: u8) -> Self {
        Self::nth(id)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Other { "(unknown header)" } else { self.as_str() })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_both_forms_and_any_case() {
        for (at, (name, long, compact)) in Name::ALL.iter().enumerate() {
            assert_eq!(*name as usize, at);
            assert_eq!(Name::lookup(long.as_bytes()), *name);
            assert_eq!(Name::lookup(long.to_ascii_uppercase().as_bytes()), *name);
            if !compact.is_empty() {
                assert_eq!(Name::lookup(compact.as_bytes()), *name);
                assert_eq!(Name::lookup(compact.to_ascii_uppercase().as_bytes()), *name);
            }
        }
        for other in ["", "Q", "C%6Fntact", "Vias", "Call ID", "zzz-a-header-longer-than-any"] {
            assert_eq!(Name::lookup(other.as_bytes()), Name::Other);
        }
    }
}
