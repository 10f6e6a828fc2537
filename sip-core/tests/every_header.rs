//! Every typed header: generated values are read, written and read again; any bytes are survived.

#![allow(elided_lifetimes_in_paths, reason = "one macro names types with a lifetime and without")]

use core::fmt::Debug;
use proptest::prelude::*;
use proptest::string::string_regex;
use sip_core::headers::{self, Header, Name};
use std::collections::BTreeSet;

const TOKEN: &str = "[A-Za-z0-9.!%*_+`'~-]{1,10}";
const BLANK: &str = "([ \t]|\r\n ){0,2}";

/// One header: its name, a generator of sound values, and the property for one value.
struct Row {
    name: Name,
    values: String,
    check: fn(&[u8]) -> Result<(), String>,
    survive: fn(&[u8]),
}

/// Reads, writes, reads: equal values, also as an element of a list, and a `Debug` on one line.
fn round_trip<'a, T: Header<'a> + PartialEq + Debug>(text: &'a [u8]) -> Result<(), String> {
    let value = T::whole(text).map_err(|error| format!("{:?}: {error}", text.escape_ascii()))?;
    let mut out = Vec::new();
    value.emit(&mut out);
    // The writer's bytes must outlive the value read from them.
    let out: &'static [u8] = out.leak();
    let again = T::whole(out).map_err(|error| format!("written as {:?}: {error}", out.escape_ascii()))?;
    if again != value {
        return Err(format!("{value:?} is read back as {again:?}"));
    }
    if format!("{value:?}").contains('\n') {
        return Err("Debug has more lines than one".into());
    }
    Ok(())
}

fn survive<'a, T: Header<'a> + Debug>(bytes: &'a [u8]) {
    for value in T::list(bytes).map_while(Result::ok).take(bytes.len() + 1) {
        let mut out = Vec::new();
        value.emit(&mut out);
        let out: &'static [u8] = out.leak();
        assert!(T::parse(out).is_ok(), "{:?} from {:?}", out.escape_ascii(), bytes.escape_ascii());
    }
}

fn rows() -> Vec<Row> {
    let token = TOKEN;
    let blank = BLANK;
    let quoted = r#""([ !#-\[\]-~]|\\[ -~]){0,8}""#;
    let value = format!("({token}|{quoted}|\\[2001:db8::[0-9a-f]{{1,4}}\\])");
    let params = format!("({blank};{blank}{token}({blank}={blank}{value})?){{0,3}}");
    let uri = r"(sips?:([a-z0-9%&=+$,;?/.-]{1,8}@)?[a-z][a-z0-9.-]{0,10}(:[1-9][0-9]{0,3})?(;[a-z]{1,5}(=[a-z0-9]{1,5})?){0,2}|tel:\+[0-9-]{1,9}[0-9]|urn:[a-z]{1,5}:[a-z]{1,5})".replace("%&", "&");
    let angle = format!("<{uri}>{params}");
    let route = format!("({quoted}{blank}|{token} )?{angle}");
    let address = format!("({route}|sip:[a-z]{{1,5}}@[a-z]{{1,8}}{params})");
    let media = format!("{token}{blank}/{blank}{token}{params}");
    let word_params = format!("{token}{params}");
    let number = "(0|[1-9][0-9]{0,8})".to_owned();
    let call_id = r#"[A-Za-z0-9.!%*_+`'~()<>:\\"/\[\]?{}-]{1,12}(@[a-z0-9.]{1,9})?"#.to_owned();
    let pairs = format!("{token}{blank}={blank}({token}|{quoted})({blank},{blank}{token}={value}){{0,4}}");
    let text = "[!-~]([ -~]{0,20}[!-~])?".to_owned();
    let scheme = format!("{token} {pairs}");
    let dialog = format!("[a-z0-9]{{1,8}}(@[a-z.0-9]{{1,8}})?{params}");
    macro_rules! rows {
        ($($name:ident $values:expr;)*) => {
            vec![$(Row {
                name: <headers::$name as Header<'_>>::NAME,
                values: $values.clone(),
                check: |text| round_trip::<headers::$name>(text),
                survive: |bytes| survive::<headers::$name>(bytes),
            }),*]
        };
    }
    rows! {
        Accept media;
        AcceptContact format!("\\*{params}");
        AcceptEncoding word_params;
        AcceptLanguage word_params;
        AlertInfo angle;
        Allow token.to_owned();
        AllowEvents token.to_owned();
        AuthenticationInfo pairs;
        Authorization scheme;
        CallId call_id;
        CallInfo angle;
        Contact format!("({address}|\\*)");
        ContentDisposition word_params;
        ContentEncoding token.to_owned();
        ContentLanguage token.to_owned();
        ContentLength number;
        ContentType media;
        CSeq format!("{number}{blank}[ ]{token}");
        Date "(Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-2][1-9]|30) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} ([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60) GMT".to_owned();
        Diversion route;
        ErrorInfo angle;
        Event word_params;
        Expires number;
        FeatureCaps format!("\\*{params}");
        FlowTimer number;
        From address;
        HistoryInfo route;
        InReplyTo call_id;
        InfoPackage word_params;
        Join dialog;
        MaxBreadth number;
        MaxForwards "(0|[1-9][0-9]|1[0-9][0-9]|255)".to_owned();
        MimeVersion "1\\.[0-9]".to_owned();
        MinExpires number;
        MinSe format!("{number}{params}");
        Organization text;
        PAssertedIdentity address;
        PPreferredIdentity address;
        Path route;
        Priority token.to_owned();
        Privacy format!("{token}({blank};{blank}{token}){{0,3}}");
        ProxyAuthenticate scheme;
        ProxyAuthorization scheme;
        ProxyRequire token.to_owned();
        RAck format!("{number} {number}{blank}[ ]{token}");
        RSeq number;
        Reason word_params;
        RecordRoute route;
        RecvInfo word_params;
        ReferSub format!("(true|false){params}");
        ReferTo address;
        ReferredBy address;
        RejectContact format!("\\*{params}");
        Replaces dialog;
        ReplyTo address;
        RequestDisposition token.to_owned();
        Require token.to_owned();
        RetryAfter format!("{number}( \\([a-z ]{{1,8}}(\\([a-z]{{0,4}}\\))?\\))?{params}");
        Route route;
        SecurityClient word_params;
        SecurityServer word_params;
        SecurityVerify word_params;
        Server text;
        ServiceRoute route;
        SessionExpires format!("{number}{params}");
        SessionId format!("[0-9a-f]{{32}}{params}");
        SipETag token.to_owned();
        SipIfMatch token.to_owned();
        Subject text;
        SubscriptionState word_params;
        Supported token.to_owned();
        TargetDialog dialog;
        Timestamp "[0-9]{1,9}(\\.[0-9]{0,6})?( [0-9]{1,4}(\\.[0-9]{0,4})?)?".to_owned();
        To address;
        Unsupported token.to_owned();
        UserAgent text;
        Via format!("SIP{blank}/{blank}2\\.0{blank}/{blank}{token} {blank}([a-z][a-z0-9.]{{0,9}}|192\\.0\\.2\\.1|\\[::1\\])({blank}:{blank}[1-9][0-9]{{0,3}})?{params}");
        Warning format!("[1-9][0-9]{{2}} [a-z0-9.:]{{1,12}} {quoted}");
        WwwAuthenticate scheme;
    }
}

/// A name without a type here is opaque on purpose.
#[test]
fn every_name_has_a_type() {
    let typed: BTreeSet<Name> = rows().iter().map(|row| row.name).collect();
    let opaque: Vec<Name> = Name::all().filter(|name| !typed.contains(name)).collect();
    assert_eq!(opaque, [Name::Geolocation]);
}

#[test]
fn what_is_written_is_read_back() {
    for row in rows() {
        let values = string_regex(&row.values).unwrap_or_else(|error| panic!("{}: {error}", row.name));
        let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
        proptest!(config, |(text in values)| {
            if let Err(fault) = (row.check)(text.as_bytes()) {
                prop_assert!(false, "{}: {}", row.name, fault);
            }
        });
    }
}

/// Random bytes, and sound values with a byte changed.
#[test]
fn no_bytes_break_a_parser() {
    for row in rows() {
        let values = string_regex(&row.values).expect("checked above");
        let config = ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() };
        proptest!(config, |(text in values, at in any::<usize>(), byte in any::<u8>(), noise in prop::collection::vec(any::<u8>(), 0..40))| {
            (row.survive)(&noise);
            let mut bytes = text.into_bytes();
            let length = bytes.len().max(1);
            if let Some(changed) = bytes.get_mut(at % length) {
                *changed = byte;
            }
            (row.survive)(&bytes);
        });
    }
}
