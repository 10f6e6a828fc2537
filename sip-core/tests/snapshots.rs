//! What comes back from bytes: single dialogs, subscriptions, registrations, endpoints; and bytes that are anything. Whole user agents are in
//! `contract_of_calls.rs`.

mod support;

use core::time::Duration;
use proptest::prelude::*;
use sip_core::message::{Content, Method, Status};
use sip_core::ua::{
    Config, Event, NewInvite, NewPublication, NewRegistration, NewSubscription, Notice, UserAgent,
};
use sip_core::{DialogId, Endpoint, Machine, Misuse, NewRequest, RestoreError};
use support::{Out, PEER, Rig, US, header, ms, response, sends};

const SDP: Content<'static> = Content::body("application/sdp", b"v=0\r\n");
const CONTACT: &str = "Contact: <sip:bob@192.0.2.2:5099>\r\n";
const BODY: &str = "Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n";

fn config(seed: u8) -> Config {
    let mut config = Config::new(sip_core::Config::new([seed; 32]), "alice");
    config.packages = vec!["presence".into()];
    config.session_timer.expires = Some(Duration::from_secs(1_800));
    config
}

fn rig(seed: u8) -> Rig<UserAgent> {
    Rig::new(UserAgent::new(config(seed)))
}

fn sent(outputs: &[Out], start: &str) -> String {
    let found = outputs.iter().find(|out| out.bytes().starts_with(start));
    found.unwrap_or_else(|| panic!("no {start} in {outputs:#?}")).bytes().to_owned()
}

/// A call that is up for ten seconds, to be refreshed 300 s after its beginning.
fn call(rig: &mut Rig<UserAgent>) -> (DialogId, String) {
    let uri = format!("sip:bob@{PEER}");
    rig.machine.invite(rig.now, &NewInvite { content: SDP, user: 5, ..NewInvite::new(&uri) }).unwrap();
    let invite = sent(&rig.drain(), "INVITE");
    let extra = "Record-Route: <sip:192.0.2.7;lr>\r\nAllow: UPDATE\r\nSession-Expires: 600;refresher=uac\r\n";
    let ok = response(&invite, "200 OK", "b1", &format!("{CONTACT}{extra}{BODY}"));
    let event = rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), ok.as_bytes());
    let Some(Event::Answered { dialog, .. }) = event else { panic!("{event:?}") };
    rig.run_until(ms(10_000));
    (dialog, invite)
}

#[test]
fn a_dialog_goes_on_elsewhere() {
    let mut old = rig(1);
    let (dialog, invite) = call(&mut old);
    let bytes = old.machine.snapshot_dialog(old.now, dialog).unwrap();
    assert_eq!(old.machine.restore_dialog(old.now, &bytes), Err(RestoreError::Exists));
    // Another machine, another clock.
    let mut new = rig(2);
    new.now = ms(1_000_000);
    let dialog = new.machine.restore_dialog(new.now, &bytes).unwrap();
    assert_eq!(new.machine.restore_dialog(new.now, &bytes), Err(RestoreError::Exists));
    assert_eq!(new.machine.dialogs().collect::<Vec<_>>(), [dialog]);
    let tag = header(&invite, "From").unwrap().rsplit_once("tag=").unwrap().1;
    let found = new.machine.dialog(header(&invite, "Call-ID").unwrap().as_bytes(), tag.as_bytes(), b"b1");
    assert_eq!(found, Some(dialog));
    // The session is refreshed when it would have been.
    let out = new.run_until(ms(1_290_000));
    assert_eq!(sends(&out, "UPDATE"), [1_290_000]);
    let update = sent(&out, "UPDATE");
    assert_eq!(
        (header(&update, "CSeq"), header(&update, "Route")),
        (Some("2 UPDATE"), Some("<sip:192.0.2.7;lr>"))
    );
    assert_eq!(header(&update, "From"), header(&invite, "From"));
    new.hear(&response(&update, "200 OK", "", "Session-Expires: 600;refresher=uac\r\n"));
    new.machine.bye(new.now, dialog, &Content::NONE).unwrap();
    let bye = sent(&new.drain(), "BYE");
    assert!(bye.starts_with("BYE sip:bob@192.0.2.2:5099") && header(&bye, "CSeq") == Some("3 BYE"));
    new.hear(&response(&bye, "200 OK", "", ""));
    assert!(new.drain().iter().any(|out| out.line().contains("LocalBye") && out.line().contains("user: 5")));
    new.run_until(ms(2_000_000));
    assert!(new.machine.is_idle());
}

/// A store that takes a snapshot whenever it is told to has the same as one that asks at the end.
#[test]
fn changes_are_told() {
    let mut rig = Rig::new(UserAgent::new(Config { tell_changes: true, ..config(1) }));
    let told = |outputs: &[Out]| outputs.iter().filter(|out| out.line().starts_with("Changed")).count();
    let uri = format!("sip:bob@{PEER}");
    rig.machine.invite(rig.now, &NewInvite { content: SDP, ..NewInvite::new(&uri) }).unwrap();
    let invite = sent(&rig.drain(), "INVITE");
    let ok = response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}"));
    let event = rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), ok.as_bytes());
    let Some(Event::Answered { dialog, .. }) = event else { panic!("{event:?}") };
    assert_eq!(told(&rig.drain()), 1, "it is up");
    let mut stored = rig.machine.snapshot_dialog(rig.now, dialog).unwrap();
    assert_eq!(told(&rig.drain()), 0);
    rig.machine.request_in(rig.now, dialog, Method::Update, 0, &Content::NONE).unwrap();
    let out = rig.drain();
    assert_eq!(told(&out), 1, "another number");
    assert_ne!(
        core::mem::replace(&mut stored, rig.machine.snapshot_dialog(rig.now, dialog).unwrap()),
        stored
    );
    let moved = "Contact: <sip:bob@192.0.2.2:5077>\r\n";
    rig.hear(&response(&sent(&out, "UPDATE"), "200 OK", "", moved));
    assert_eq!(told(&rig.drain()), 1, "another target");
    assert_ne!(rig.machine.snapshot_dialog(rig.now, dialog).unwrap(), stored);
    rig.machine.bye(rig.now, dialog, &Content::NONE).unwrap();
    let bye = sent(&rig.drain(), "BYE");
    rig.hear(&response(&bye, "200 OK", "", ""));
    assert_eq!(told(&rig.drain()), 0, "its end says that");
}

#[test]
fn what_is_not_up_is_not_kept_alone() {
    let mut rig = rig(1);
    let (_, invite) = {
        let uri = format!("sip:bob@{PEER}");
        let id = rig.machine.invite(rig.now, &NewInvite::new(&uri)).unwrap();
        (id, sent(&rig.drain(), "INVITE"))
    };
    let early = response(&invite, "180 Ringing", "b1", CONTACT);
    rig.hear(&early);
    let dialog = rig.machine.dialogs().next().unwrap();
    assert_eq!(rig.machine.snapshot_dialog(rig.now, dialog), Err(Misuse::WrongState));
    assert_eq!(rig.machine.snapshot_dialog(rig.now, DialogId::from_bits(99)), Err(Misuse::Gone));
    // Outputs that wait are in no snapshot.
    rig.machine.request(rig.now, &sip_core::ua::NewRequest::new(Method::Options, "sip:192.0.2.2")).unwrap();
    assert_eq!(rig.machine.snapshot(rig.now), Err(Misuse::WrongState));
    rig.drain();
    assert!(rig.machine.snapshot(rig.now).is_ok());
}

#[test]
fn bytes_that_are_no_snapshot_of_this_say_what_they_are() {
    let mut machine = rig(1);
    let (dialog, _) = call(&mut machine);
    let bytes = machine.machine.snapshot_dialog(machine.now, dialog).unwrap();
    let restore = |bytes: &[u8]| rig(2).machine.restore_dialog(ms(0), bytes).unwrap_err();
    assert_eq!(restore(b""), RestoreError::NotASnapshot);
    assert_eq!(restore(b"sipc"), RestoreError::NotASnapshot);
    assert_eq!(restore(b"GET / HTTP/1.1"), RestoreError::NotASnapshot);
    let with = |at: usize, byte: u8| {
        let mut other = bytes.clone();
        other[at] = byte;
        other
    };
    assert_eq!(restore(&with(4, 9)), RestoreError::Version(9));
    assert_eq!(restore(&with(5, 2)), RestoreError::Kind);
    assert_eq!(restore(&bytes[..bytes.len() - 1]), RestoreError::Damaged);
    assert_eq!(RestoreError::Version(9).to_string(), "a snapshot of version 9, and this one reads 1");
}

/// A newer writer's fields are skipped, an older one's missing fields have their usual values.
#[test]
fn versions_mix() {
    let mut machine = rig(1);
    let (dialog, _) = call(&mut machine);
    let bytes = machine.machine.snapshot_dialog(machine.now, dialog).unwrap();
    // A map of eleven fields; a twelfth, of number 99, holds a list of a map and a text.
    assert_eq!(bytes[6], 0xab);
    let mut newer = bytes.clone();
    newer[6] = 0xac;
    newer.extend([0x18, 99, 0x82, 0xa1, 1, 2, 0x63, b'n', b'e', b'w']);
    assert!(rig(2).machine.restore_dialog(ms(0), &newer).is_ok());
    // Only the dialog itself: field 1 ends where the contact begins.
    let contact = b"\x02\x58\x1a<sip:alice";
    let end = bytes.windows(contact.len()).position(|part| part == contact);
    let end = end.unwrap_or_else(|| panic!("no contact in {}", bytes.escape_ascii()));
    let mut older = bytes[..end].to_vec();
    older[6] = 0xa1;
    let mut new = rig(2);
    let dialog = new.machine.restore_dialog(ms(0), &older).unwrap();
    new.machine.bye(new.now, dialog, &Content::NONE).unwrap();
    sent(&new.drain(), "BYE");
}

fn notify(subscribe: &str, cseq: u32, state: &str) -> String {
    format!(
        "NOTIFY sip:alice@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKn{cseq}\r\nFrom: {};tag=n1\r\nTo: {}\r\n\
         Call-ID: {}\r\nCSeq: {cseq} NOTIFY\r\n{CONTACT}Event: presence\r\nSubscription-State: {state}\r\nContent-Length: 0\r\n\r\n",
        header(subscribe, "To").unwrap(),
        header(subscribe, "From").unwrap(),
        header(subscribe, "Call-ID").unwrap(),
    )
}

#[test]
fn subscriptions_of_both_sides_go_on_elsewhere() {
    let mut old = rig(1);
    let uri = format!("sip:bob@{PEER}");
    let new = NewSubscription {
        expires: Duration::from_secs(200),
        user: 8,
        ..NewSubscription::new(&uri, "presence")
    };
    let id = old.machine.subscribe(old.now, &new).unwrap();
    let subscribe = sent(&old.drain(), "SUBSCRIBE");
    assert_eq!(old.machine.snapshot_subscription(old.now, id), Err(Misuse::WrongState), "no NOTIFY has come");
    old.hear(&notify(&subscribe, 1, "active;expires=200"));
    old.hear(&response(&subscribe, "200 OK", "n1", ""));
    old.run_until(ms(10_000));
    let bytes = old.machine.snapshot_subscription(old.now, id).unwrap();
    let mut other = rig(2);
    let id = other.machine.restore_subscription(other.now, &bytes).unwrap();
    let heard = other.hear(&notify(&subscribe, 2, "active;expires=190")).unwrap();
    assert!(heard.contains("user: 8") && heard.contains(&format!("{id:?}")));
    let out = other.run_until(ms(150_000));
    assert_eq!(sends(&out, "SUBSCRIBE")[0], 150_000);
    assert_eq!(header(&sent(&out, "SUBSCRIBE"), "Expires"), Some("200"));

    // The notifier.
    let mut old = rig(1);
    let text = format!(
        "SUBSCRIBE sip:alice@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKs\r\nFrom: <sip:bob@x>;tag=b1\r\n\
         To: <sip:alice@x>\r\nCall-ID: c-1\r\nCSeq: 1 SUBSCRIBE\r\n{CONTACT}Event: presence\r\nExpires: 100\r\nContent-Length: 0\r\n\r\n"
    );
    let event = old.machine.datagram(old.now, Rig::<UserAgent>::source(), text.as_bytes());
    let Some(Event::Subscribe { txn, subscription, .. }) = event else { panic!("{event:?}") };
    assert_eq!(
        old.machine.snapshot_subscription(old.now, subscription),
        Err(Misuse::WrongState),
        "not accepted"
    );
    old.machine.respond(old.now, txn, Status::OK, &Content::NONE).unwrap();
    old.run_until(ms(30_000));
    let bytes = old.machine.snapshot_subscription(old.now, subscription).unwrap();
    let mut other = rig(2);
    let id = other.machine.restore_subscription(other.now, &bytes).unwrap();
    other.machine.notify(other.now, id, Notice::Active, &Content::NONE).unwrap();
    let first = sent(&other.drain(), "NOTIFY");
    assert_eq!(header(&first, "Subscription-State"), Some("active;expires=70"));
    other.hear(&response(&first, "200 OK", "", ""));
    assert_eq!(sends(&other.run_until(ms(70_000)), "NOTIFY"), [70_000]);
}

#[test]
fn registrations_and_publications_go_on_elsewhere() {
    let mut old = rig(1);
    let uri = format!("sip:{PEER}");
    let expires = Duration::from_secs(200);
    let id = old
        .machine
        .register(old.now, &NewRegistration { expires, ..NewRegistration::new(&uri, "<sip:alice@x>") })
        .unwrap();
    let register = sent(&old.drain(), "REGISTER");
    old.hear(&response(&register, "200 OK", "r", "Service-Route: <sip:p;lr>\r\n"));
    let publication = old
        .machine
        .publish(old.now, &NewPublication { expires, ..NewPublication::new(&uri, "presence", SDP) })
        .unwrap();
    let publish = sent(&old.drain(), "PUBLISH");
    old.hear(&response(&publish, "200 OK", "p", "SIP-ETag: e\r\nExpires: 200\r\n"));
    old.run_until(ms(50_000));
    let bytes = old.machine.snapshot_registration(old.now, id).unwrap();
    let published = old.machine.snapshot_publication(old.now, publication).unwrap();
    let mut other = rig(2);
    let id = other.machine.restore_registration(other.now, &bytes).unwrap();
    assert_eq!(other.machine.service_route(id).unwrap(), ["<sip:p;lr>"]);
    other.machine.restore_publication(other.now, &published).unwrap();
    // Each lives once, here and where it came from.
    for rig in [&mut old, &mut other] {
        assert_eq!(rig.machine.restore_registration(rig.now, &bytes), Err(RestoreError::Exists));
        assert_eq!(rig.machine.restore_publication(rig.now, &published), Err(RestoreError::Exists));
    }
    // 150 s are left of both.
    let out = other.run_until(ms(110_000));
    assert_eq!((sends(&out, "REGISTER"), sends(&out, "PUBLISH")), (vec![110_000], vec![110_000]));
    let again = sent(&out, "REGISTER");
    assert_eq!(header(&again, "Call-ID"), header(&register, "Call-ID"));
    assert_eq!(header(&again, "CSeq"), Some("2 REGISTER"));
    assert_eq!(header(&sent(&out, "PUBLISH"), "SIP-If-Match"), Some("e"));
}

/// Who was taking something back goes on with that.
#[test]
fn a_registration_that_was_being_taken_away_still_is() {
    let mut old = rig(1);
    let uri = format!("sip:{PEER}");
    let new = NewRegistration::new(&uri, "<sip:alice@x>");
    let id = old.machine.register(old.now, &new).unwrap();
    let register = sent(&old.drain(), "REGISTER");
    old.hear(&response(&register, "200 OK", "r", "Expires: 3600\r\n"));
    old.machine.unregister(old.now, id).unwrap();
    let bytes = old.machine.snapshot_registration(old.now, id).unwrap();
    let mut other = rig(2);
    other.machine.restore_registration(other.now, &bytes).unwrap();
    let out = other.run_until(ms(100_000));
    let gone = sent(&out, "REGISTER");
    assert_eq!((header(&gone, "Expires"), sends(&out, "REGISTER")[0]), (Some("0"), 0));
    assert_eq!(header(&gone, "CSeq"), Some("3 REGISTER"), "the one before had 2");
    assert!(other.machine.is_idle());
}

/// Transactions of an endpoint, and a connection with its handle.
#[test]
fn an_endpoint_comes_back() {
    let mut old = Rig::new(Endpoint::new(sip_core::Config::new([1; 32])));
    let options = format!(
        "OPTIONS sip:alice@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKo\r\nFrom: <sip:b@x>;tag=b\r\n\
         To: <sip:a@x>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    let event = old.machine.datagram(old.now, Rig::<Endpoint>::source(), options.as_bytes());
    let Some(sip_core::Event::Request { txn, .. }) = event else { panic!("{event:?}") };
    old.machine.respond(old.now, txn, Status::OK, &Content::NONE).unwrap();
    let ok = sent(&old.drain(), "SIP/2.0 200");
    let request = NewRequest::new(Method::Options, "sip:b@192.0.2.2", "<sip:a@x>;tag=a", "<sip:b@x>", 1);
    old.machine.request(old.now, &request).unwrap();
    let ours = sent(&old.drain(), "OPTIONS");
    let flow = old.accept();
    old.run_until(ms(600));
    let bytes = old.machine.snapshot(old.now).unwrap();
    let restored = Endpoint::restore(ms(50_600), sip_core::Config::new([2; 32]), &bytes).unwrap();
    let mut new = Rig::new(restored);
    new.now = ms(50_600);
    assert_eq!(new.machine.flows().collect::<Vec<_>>(), [flow]);
    assert_eq!(new.machine.stats().client_transactions, 1);
    // A copy gets the same answer; a request goes on as it would have.
    assert_eq!(new.hear(&options), None);
    assert_eq!(sent(&new.drain(), "SIP/2.0 200"), ok);
    let out = new.run_until(ms(60_000));
    assert_eq!(sends(&out, "OPTIONS"), [51_500, 53_500, 57_500]);
    assert_eq!(sent(&out, "OPTIONS"), ours);
    assert!(new.hear(&response(&ours, "200 OK", "x", "")).unwrap().starts_with("Response"));
    new.run_until(ms(200_000));
    assert!(new.machine.stats().client_transactions + new.machine.stats().server_transactions == 0);
}

/// A machine with something of everything.
fn busy() -> Vec<u8> {
    let mut rig = rig(1);
    call(&mut rig);
    let uri = format!("sip:bob@{PEER}");
    let invite = format!(
        "INVITE sip:alice@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKi\r\nFrom: <sip:b@x>;tag=b\r\nTo: <sip:a@x>\r\n\
         Call-ID: i\r\nCSeq: 1 INVITE\r\n{CONTACT}Supported: 100rel\r\n{BODY}"
    );
    let event = rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), invite.as_bytes());
    let Some(Event::Incoming { dialog, .. }) = event else { panic!("{event:?}") };
    for _ in 0..2 {
        rig.machine.ring_reliably(rig.now, dialog, Status::RINGING, &Content::NONE).unwrap();
    }
    rig.machine.subscribe(rig.now, &NewSubscription::new(&uri, "presence")).unwrap();
    rig.machine.register(rig.now, &NewRegistration::new(&uri, "<sip:alice@x>")).unwrap();
    rig.machine.publish(rig.now, &NewPublication::new(&uri, "presence", SDP)).unwrap();
    rig.machine.invite(rig.now, &NewInvite::new(&uri)).unwrap();
    rig.accept();
    rig.drain();
    rig.machine.snapshot(rig.now).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes that are damaged are refused, or make a machine that does no harm.
    #[test]
    fn damaged_bytes_do_no_harm(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>(), shorten in any::<bool>()) {
        let mut bytes = busy();
        for (at, byte) in &damage {
            let at = at.index(bytes.len() - 6) + 6;
            bytes[at] = *byte;
        }
        if shorten {
            bytes.truncate(cut.index(bytes.len()));
        }
        let Ok(machine) = UserAgent::restore(ms(5_000), config(2), &bytes) else { return Ok(()) };
        let mut rig = Rig::new(machine);
        rig.now = ms(5_000);
        for dialog in rig.machine.dialogs().collect::<Vec<_>>() {
            let _ = rig.machine.accept(rig.now, dialog, &SDP);
            let _ = rig.machine.bye(rig.now, dialog, &Content::NONE);
        }
        for flow in rig.machine.flows().collect::<Vec<_>>() {
            rig.machine.flow_closed(rig.now, flow);
        }
        let mut steps = 0;
        while let Some(deadline) = rig.machine.deadline() {
            rig.now = rig.now.max(deadline);
            rig.machine.advance(rig.now);
            rig.drain();
            steps += 1;
            prop_assert!(steps < 10_000, "it never ends");
            // Damaged times may be thousands of years away; the refresh of a session with itself has no end.
            if rig.now > ms(10_000_000) {
                break;
            }
        }
        let _ = rig.machine.snapshot(rig.now);
    }
}

/// A SUBSCRIBE that nobody has answered yet: what the first NOTIFY leaves open is what was asked for, here and elsewhere.
#[test]
fn a_subscription_without_an_answer_goes_on_elsewhere() {
    let mut old = rig(1);
    old.run_until(ms(20_000));
    let uri = format!("sip:bob@{PEER}");
    let expires = Duration::from_secs(100);
    let new = NewSubscription { expires, ..NewSubscription::new(&uri, "presence") };
    old.machine.subscribe(old.now, &new).unwrap();
    let subscribe = sent(&old.drain(), "SUBSCRIBE");
    let bytes = old.machine.snapshot(old.now).unwrap();
    let machine = UserAgent::restore(ms(5_000), config(2), &bytes).unwrap();
    let mut other = Rig::new(machine);
    other.now = ms(5_000);
    other.hear(&notify(&subscribe, 1, "active"));
    other.run_until(ms(40_000));
    let out = other.run_until(ms(200_000));
    assert_eq!(sends(&out, "SUBSCRIBE").first(), Some(&65_000), "40 s before its end");
}
