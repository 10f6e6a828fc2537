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
