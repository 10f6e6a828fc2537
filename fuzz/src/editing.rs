//! Changes to a message, against a slow and obvious model of it.

use sip_core::headers::{Header, Name, RecordRoute, Route, Via};
use sip_core::message::{Edit, Fields, Request, UriOf};

/// The first byte says how many bytes of changes follow, then comes a request. No change touches a line that it does not
/// name, and the message stays as sound as it was.
pub fn editing(data: &[u8]) {
    let Some((count, rest)) = data.split_first() else { return };
    let Some((changes, message)) = rest.split_at_checked(usize::from(*count % 32)) else { return };
    let Ok(request) = Request::parse(message) else { return };
    let mut out = Vec::new();
    let mut edit = request.edit(&mut out);
    for pair in changes.chunks(2) {
        let (which, how) = (pair[0], pair.get(1).copied().unwrap_or(0));
        let before = edit.as_bytes().to_vec();
        let touched = change(&mut edit, which, how);
        compare(&before, edit.as_bytes(), touched);
    }
}

/// What a change may touch.
enum Touched {
    Nothing,
    StartLine,
    Lines(&'static [Name]),
    /// Lines behind the last.
    End,
}

fn change(edit: &mut Edit<'_>, which: u8, how: u8) -> Touched {
    const PLACES: [Name; 5] = [Name::From, Name::To, Name::Contact, Name::Route, Name::PAssertedIdentity];
    const TOUCHED: [&[Name]; 5] =
        [&[Name::From], &[Name::To], &[Name::Contact], &[Name::Route], &[Name::PAssertedIdentity]];
    const USERS: [&[u8]; 4] = [b"", b"new", b"a%20b", b"not one"];
    let pick = usize::from(how / 8) % PLACES.len();
    let (of, at) = match how % 2 {
        0 => (UriOf::Request, Touched::StartLine),
        _ => (UriOf::First(PLACES[pick]), Touched::Lines(TOUCHED[pick])),
    };
    let ok = |result: Result<(), sip_core::message::Error>, touched| match result {
        Ok(()) => touched,
        Err(_) => Touched::Nothing,
    };
    let value: &[u8] = [&b"text"[..], b"", b"a\r\nb: c", b" blanks "][usize::from(how) % 4];
    match which % 14 {
        0 => {
            let before = edit.as_bytes().to_vec();
            edit.push_via(&Via::whole(b"SIP/2.0/UDP p;branch=z9hG4bKx").expect("sound")).expect("it fits");
            let pushed = edit.as_bytes().to_vec();
            assert!(pushed.len() > before.len());
            edit.pop_via().expect("it is there");
            assert_eq!(edit.as_bytes(), before, "pushed and popped is as it was");
            Touched::Nothing
        }
        1 => ok(
            edit.push_via(&Via::whole(b"SIP/2.0/UDP p;branch=z9hG4bKx").expect("sound")),
            Touched::Lines(&[Name::Via]),
        ),
        2 => ok(edit.pop_via(), Touched::Lines(&[Name::Via])),
        3 => ok(edit.stamp_via(([192, 0, 2, how], 5_060).into()), Touched::Lines(&[Name::Via])),
        4 => {
            let route = RecordRoute::whole(b"<sip:p;lr>").expect("sound");
            ok(edit.push_record_route(&route), Touched::Lines(&[Name::RecordRoute]))
        }
        5 => {
            ok(edit.push_route(&Route::whole(b"<sip:p;lr>").expect("sound")), Touched::Lines(&[Name::Route]))
        }
        6 => ok(edit.pop_route(), Touched::Lines(&[Name::Route])),
        7 => ok(edit.decrement_max_forwards().map(|_| ()), Touched::Lines(&[Name::MaxForwards])),
        8 => ok(
            edit.set_uri([&b"sip:new@host;lr"[..], b"tel:+1", b"no uri"][usize::from(how) % 3]),
            Touched::StartLine,
        ),
        9 => ok(edit.set_user(of, (how & 2 == 0).then_some(USERS[usize::from(how) % 4])), at),
        10 => ok(edit.set_uri_param(of, ["lr", "maddr", "", "a b"][usize::from(how / 2) % 4], b"x%20"), at),
        11 => ok(edit.remove_uri_param(of, ["lr", "transport"][usize::from(how / 2) % 2]), at),
        12 => ok(edit.add(["X-New", "x y"][usize::from(how / 4) % 2], value), Touched::End),
        _ => {
            if how % 2 == 0 {
                edit.remove("Contact");
                Touched::Lines(&[Name::Contact])
            } else {
                ok(edit.set("s", value), Touched::Lines(&[Name::Subject]))
            }
        }
    }
}

/// Lines that were not named are the same, in the same order.
fn compare(before: &[u8], after: &[u8], touched: Touched) {
    let named: &[Name] = match touched {
        Touched::Nothing => return assert_eq!(before, after, "nothing was changed"),
        Touched::Lines(named) => named,
        Touched::StartLine | Touched::End => &[],
    };
    let parts = |message: &[u8]| {
        let mut fields = Fields::of_message(message);
        let lines: Vec<_> = fields
            .by_ref()
            .map(|field| field.expect("what was sound stays sound"))
            .filter(|field| !named.contains(&field.name))
            .map(|field| (field.spelt.to_vec(), field.value.to_vec()))
            .collect();
        let start = message.split(|byte| *byte == b'\n').next().map(<[u8]>::to_vec);
        (start, lines, fields.body().to_vec())
    };
    let (old, mut new) = (parts(before), parts(after));
    if let Touched::End = touched {
        new.1.pop();
    }
    assert_eq!(old.1, new.1, "lines that were not named");
    assert_eq!(old.2, new.2, "the body");
    if !matches!(touched, Touched::StartLine) {
        assert_eq!(old.0, new.0, "the start line");
    }
}
