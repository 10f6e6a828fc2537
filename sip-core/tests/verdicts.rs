//! The verdicts of `lint` on bad input, torture messages and messages of the real world.

#[expect(dead_code, reason = "the example's own main is not called")]
#[path = "../examples/lint.rs"]
mod lint;

mod support;

use std::path::Path;

/// What the sets of others ask, by their `expect.tsv`; ours lie beside this file.
#[test]
fn bad_input() {
    let wrong = check(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/badinput")));
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn torture_messages() {
    let Some(data) = support::shared("data") else { return };
    for set in ["rfc4475", "rfc5118"] {
        assert_eq!(check(&data.join(set)), Vec::<String>::new(), "{set}");
    }
}

/// Every example message of 21 RFCs is taken, but for the rows of `exceptions.tsv`.
#[test]
fn messages_of_the_rfcs() {
    let Some(data) = support::shared("data/rfc-flows") else { return };
    let exceptions = support::table(&data.join("exceptions.tsv"));
    let mut seen = 0;
    for (name, bytes) in support::files(&data, "sip") {
        let want = exceptions.iter().find(|row| row["file"] == name).map_or("accept", |row| &*row["lint"]);
        let (word, status, reason) = lint::datagram(&bytes);
        assert!(fits(want, &[(word, status.clone())]), "{name}: {word}/{status} {reason}, want {want}");
        seen += 1;
    }
    assert!(seen > 600, "only {seen} messages in {}", data.display());
}

/// Payloads of real devices: all are taken, but for the nine that its README names.
#[test]
fn messages_of_real_devices() {
    /// Name, and what a strict reader may say of it.
    const FAULTY: [(&str, &str); 9] = [
        ("suricata-body-large-001", "reject"),
        ("suricata-tcp-001", "reject"),
        ("suricata-compact-form-001", "reject/400|accept"),
        ("suricata-multi-value-001", "reject/400"),
        ("suricata-sdp-001", "reject/400|accept"),
        ("suricata-sdp-002", "drop|accept"),
        ("zeek-invalid-content-length-001", "reject/400"),
        ("zeek-invalid-content-length-002", "reject/400|drop"),
        ("zeek-junk-before-request-001", "drop"),
    ];
    let Some(data) = support::shared("data/real") else { return };
    let mut seen = 0;
    for (name, bytes) in support::files(&data, "sip") {
        let faulty = FAULTY.iter().find(|(faulty, _)| name.strip_suffix(".sip") == Some(faulty));
        let want = faulty.map_or("accept", |(_, want)| want);
        let (word, status, reason) = lint::datagram(&bytes);
        assert!(fits(want, &[(word, status.clone())]), "{name}: {word}/{status} {reason}, want {want}");
        seen += 1;
    }
    assert!(seen > 130, "only {seen} messages in {}", data.display());
}

/// Every packet of the captures: what holds SIP is one of the payloads above, and nothing in them panics.
#[test]
fn captures() {
    let (Some(data), Some(real)) = (support::shared("data/captures"), support::shared("data/real")) else {
        return;
    };
    let known = support::tree(&real);
    let mut packets: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, bytes) in support::files(&data, "pcap") {
        let mut reader = pcap_file::pcap::PcapReader::new(&*bytes).unwrap();
        while let Some(packet) = reader.next_packet() {
            packets.push((name.clone(), packet.unwrap().data.into_owned()));
        }
    }
    for (name, bytes) in support::files(&data, "pcapng") {
        let mut reader = pcap_file::pcapng::PcapNgReader::new(&*bytes).unwrap();
        while let Some(block) = reader.next_block() {
            if let Some(packet) = block.unwrap().into_enhanced_packet() {
                packets.push((name.clone(), packet.data.into_owned()));
            }
        }
    }
    let mut messages = 0;
    for (name, packet) in &packets {
        let Ok(sliced) = etherparse::SlicedPacket::from_ethernet(packet) else { continue };
        let payload = match &sliced.transport {
            Some(etherparse::TransportSlice::Udp(udp)) => udp.payload(),
            Some(etherparse::TransportSlice::Tcp(tcp)) => tcp.payload(),
            _ => continue,
        };
        let (word, status, reason) = lint::datagram(payload);
        if word == "accept" {
            messages += 1;
            assert!(known.iter().any(|known| known == payload), "{name}: {status} {reason}");
        }
    }
    assert!(messages > 130, "only {messages} messages in {} packets", packets.len());
}

/// The messages of the JAIN SIP parser's torture test, most in the style of RFC 2543. What it can't read we refuse, and the
/// reverse, but for these.
#[test]
fn messages_of_another_torture_test() {
    const OTHERWISE: [(&str, &str, &str); 11] = [
        ("jsip-007.sip", "accept/416", "a scheme that is not known is well formed: 416, not 400"),
        ("jsip-012.sip", "reject/400", "an INVITE without Contact makes no dialog (RFC 3261 §8.1.1.8)"),
        ("jsip-013.sip", "reject/400", "the same"),
        ("jsip-016.sip", "reject/400", "the same"),
        ("jsip-024.sip", "accept/501", "a method that is not known is well formed (§8.2.1)"),
        ("jsip-025.sip", "drop", "a response without From (§8.1.1)"),
        ("jsip-063.sip", "reject/400", "an INVITE without Contact"),
        ("jsip-364.sip", "drop", "the notation of the test for a blank was not resolved"),
        ("jsip-375.sip", "accept", "headers in a Request-URI: to be ignored (§19.1.1)"),
        ("jsip-376.sip", "accept", "a Date that is not GMT does not matter to a call"),
        ("jsip-400.sip", "reject/400", "an INVITE without Contact"),
    ];
    let Some(data) = support::shared("data/jsip-torture") else { return };
    let rows = support::table(&data.join("expect.tsv"));
    assert!(rows.len() > 200);
    for row in rows {
        let name = &row["file"];
        let mut bytes = std::fs::read(data.join(name)).unwrap();
        // Some have lost the empty line at their end.
        if !bytes.windows(4).any(|end| end == b"\r\n\r\n")
            || bytes.trim_ascii_start().windows(4).all(|end| end != b"\r\n\r\n")
        {
            bytes.truncate(bytes.trim_ascii_end().len());
            bytes.extend_from_slice(b"\r\n\r\n");
        }
        let want = match (OTHERWISE.iter().find(|(other, ..)| other == name), &*row["upstream_verdict"]) {
            (Some((_, want, _)), _) => want,
            (None, "parse-ok-expected") => "accept",
            (None, _) => "reject|drop",
        };
        let (word, status, reason) = lint::datagram(&bytes);
        assert!(fits(want, &[(word, status.clone())]), "{name}: {word}/{status} {reason}, want {want}");
    }
}

/// RFC 3261 §18.3: what it changes that the bytes of a datagram come on a stream. Only these things do:
/// without Content-Length there is no end, a body that is short is waited for, and what stands behind it is the next message.
#[test]
fn what_a_stream_changes() {
    let mut sets =
        vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/badinput"))];
    if let Some(data) = support::shared("data") {
        sets.extend(["rfc4475", "rfc5118/wire", "rfc-flows"].map(|set| data.join(set)));
    }
    let (mut same, mut other) = (0, 0);
    for set in sets {
        for ending in ["bin", "dat", "sip"] {
            for (name, bytes) in support::files(&set, ending) {
                let (word, status, reason) = lint::datagram(&bytes);
                let stream = lint::connection(&bytes);
                let told: Vec<_> = stream.iter().map(|(word, status, _)| (*word, &**status)).collect();
                let what = format!("{name}: {word}/{status} {reason}; on a stream {stream:?}");
                match end_on_a_stream(&bytes) {
                    End::Here => {
                        assert_eq!(told, [(word, &*status)], "{what}");
                        same += 1;
                        continue;
                    }
                    End::Before => assert_eq!(told.first(), Some(&(word, &*status)), "{what}"),
                    End::Nowhere => assert!(matches!(told[..], [("reject" | "drop", _)]), "{what}"),
                    End::Behind => assert_eq!(told, [("drop", "-")], "{what}"),
                    End::NoHead => assert!(matches!(told[..], [("drop", _)] | [("reject", _)]), "{what}"),
                }
                other += 1;
            }
        }
    }
    assert!(same > 30 && other > 10, "{same} the same, {other} not");
}

enum End {
    /// Where the bytes end.
    Here,
    /// Before that.
    Before,
    /// Behind that.
    Behind,
    /// Not to be told: no Content-Length, two, or none that is a number.
    Nowhere,
    /// There is no whole header section.
    NoHead,
}

/// Where a message on a stream ends, in the most obvious way.
fn end_on_a_stream(bytes: &[u8]) -> End {
    let start = bytes.len() - bytes.iter().copied().skip_while(|byte| b"\r\n".contains(byte)).count();
    let Some(head) = bytes[start..].windows(4).position(|end| end == b"\r\n\r\n") else { return End::NoHead };
    let text: String = bytes[start..start + head].iter().map(|byte| char::from(*byte)).collect();
    let unfolded = text.replace("\r\n ", " ").replace("\r\n\t", " ");
    let lengths: Vec<&str> = unfolded
        .split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| ["content-length", "l"].contains(&&*name.trim().to_lowercase()))
        .map(|(_, value)| value.trim())
        .collect();
    let [length] = lengths[..] else { return End::Nowhere };
    let Ok(length) = length.parse::<u64>() else { return End::Nowhere };
    match (start as u64 + head as u64 + 4 + length).cmp(&(bytes.len() as u64)) {
        core::cmp::Ordering::Less => End::Before,
        core::cmp::Ordering::Equal => End::Here,
        core::cmp::Ordering::Greater if length > 1 << 20 => End::Nowhere,
        core::cmp::Ordering::Greater => End::Behind,
    }
}

/// Nothing in any file makes it panic, as a datagram or as a stream.
#[test]
fn nothing_panics() {
    let own = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data"));
    let shared = support::shared("data");
    let mut seen = 0;
    for folder in [Some(own), shared.as_deref()].into_iter().flatten() {
        for bytes in support::tree(folder) {
            lint::datagram(&bytes);
            assert!(!lint::connection(&bytes).is_empty());
            seen += 1;
        }
    }
    assert!(seen > 300);
}

/// RFC 3261 §18.3: whatever a mutant is taken for, its bytes come out as they went in.
#[test]
fn accepted_mutants_keep_their_bytes() {
    use sip_core::{Config, Endpoint, Event, Instant, Machine, Source};
    let data = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mutants"));
    let addr = "192.0.2.1:5060".parse().unwrap();
    let mut accepted = 0;
    for (name, bytes) in support::files(data, "bin") {
        let mut endpoint = Endpoint::new(Config::new([0; 32]));
        let from = Source::Datagram { local: addr, remote: addr };
        if let Some(Event::Request { request, .. }) = endpoint.datagram(Instant::ZERO, from, &bytes) {
            let start = bytes.len() - bytes.trim_ascii_start().len();
            assert!(bytes[start..].starts_with(request.as_bytes()), "{name}");
            for field in request.fields() {
                assert!(!field.spelt.is_empty() || field.value.is_empty(), "{name}: {field:?}");
            }
            accepted += 1;
        }
    }
    assert!(accepted > 50, "only {accepted} accepted");
}

/// The files of a folder whose verdict is not what its table says.
fn check(folder: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    for row in support::table(&folder.join("expect.tsv")) {
        let stream = row.get("transport").is_some_and(|transport| transport == "tcp");
        let file = [folder.join(&row["file"]), folder.join("wire").join(&row["file"])];
        let file = file
            .into_iter()
            .flat_map(|file| [file.clone(), file.with_extension("dat"), file.with_extension("sip")]);
        let Some(bytes) = file.into_iter().find_map(|file| std::fs::read(file).ok()) else {
            wrong.push(format!("{}: no such file", row["file"]));
            continue;
        };
        let found = if stream { lint::connection(&bytes) } else { vec![lint::datagram(&bytes)] };
        let found: Vec<_> = found.into_iter().map(|(word, status, _)| (word, status)).collect();
        if !fits(&row["lint"], &found) {
            wrong.push(format!("{}: {found:?}, want {}", row["file"], row["lint"]));
        }
    }
    wrong
}

/// Whether lines of `lint` are what a cell of the column `lint` allows.
fn fits(want: &str, found: &[(&str, String)]) -> bool {
    const FAULTS: [&str; 5] = ["400", "413", "414", "505", "513"];
    let fits_term = |term: &str, (word, status): &(&str, String)| {
        let (wanted, code) = term.split_once('/').map_or((term, None), |(word, code)| (word, Some(code)));
        wanted == *word
            && match (code, wanted) {
                (Some(code), _) => status == code,
                (None, "accept") => !FAULTS.contains(&&**status),
                (None, "reject") => FAULTS.contains(&&**status),
                (None, _) => status == "-",
            }
    };
    want.split('|').any(|alternative| {
        let terms: Vec<_> = alternative.split(" + ").collect();
        alternative == "any"
            || terms.len() == found.len() && terms.iter().zip(found).all(|(term, line)| fits_term(term, line))
    })
}
