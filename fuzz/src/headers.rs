//! Typed headers.
#![allow(elided_lifetimes_in_paths, reason = "one macro names types with a lifetime and without")]

use core::fmt::Debug;
use sip_core::headers::{self, Header};

macro_rules! every_header {
    ($($name:ident)*) => {
        const HEADERS: &[fn(&[u8])] = &[$(|value| {
            header::<headers::$name>(value, |out| written::<headers::$name>(out));
        }),*];
    };
}

every_header! {
    Accept AcceptContact AcceptEncoding AcceptLanguage AlertInfo Allow AllowEvents
    AuthenticationInfo Authorization CallId CallInfo Contact ContentDisposition ContentEncoding
    ContentLanguage ContentLength ContentType CSeq Date Diversion ErrorInfo Event Expires
    FeatureCaps FlowTimer From HistoryInfo InReplyTo InfoPackage Join MaxBreadth MaxForwards
    MimeVersion MinExpires MinSe Organization PAssertedIdentity PPreferredIdentity Path Priority
    Privacy ProxyAuthenticate ProxyAuthorization ProxyRequire RAck RSeq Reason RecordRoute RecvInfo
    ReferSub ReferTo ReferredBy RejectContact Replaces ReplyTo RequestDisposition Require RetryAfter
    Route SecurityClient SecurityServer SecurityVerify Server ServiceRoute SessionExpires SessionId
    SipETag SipIfMatch Subject SubscriptionState Supported TargetDialog Timestamp To Unsupported
    UserAgent Via Warning WwwAuthenticate
}

/// The value of a header, which the first byte names: what is read is written so that it is read again as the same; a list
/// ends.
pub fn headers(data: &[u8]) {
    let Some((which, value)) = data.split_first() else { return };
    HEADERS[usize::from(*which) % HEADERS.len()](value);
}

fn header<'a, T: Header<'a> + Debug>(value: &'a [u8], written: fn(&[u8])) {
    let mut count = 0;
    for found in T::list(value).map_while(Result::ok) {
        count += 1;
        assert!(count <= value.len() + 1, "a list ends");
        let mut out = Vec::new();
        found.emit(&mut out);
        written(&out);
        assert!(!format!("{found:?}").contains('\n'));
    }
}

/// What was written is read as one value that is written the same.
fn written<'a, T: Header<'a>>(out: &'a [u8]) {
    let again = T::whole(out).unwrap_or_else(|error| panic!("{:?}: {error}", out.escape_ascii()));
    let mut twice = Vec::new();
    again.emit(&mut twice);
    assert_eq!(twice, out, "written twice the same");
}
