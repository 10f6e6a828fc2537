//! Traceability: `data/requirements.tsv` has a row for each sentence with MUST, SHALL or REQUIRED of RFC 3261 §8.1.3, §8.2, §9, §17 and §18, of
//! RFC 6026 and RFC 4320: where it is implemented, where it is tested, or why it is an exception. The words are a few of the sentence, so
//! that it can be found.
//!
//! This test counts. It prints the coverage, and fails when a file, item or test that a row names is gone, when a sentence of the RFCs (read
//! from the shared folder) has no row, or when there are fewer tested rows than there were.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

/// Rows that are implemented, and those of them that have a test. It only rises.
const IMPLEMENTED: usize = 157;
const TESTED: usize = 157;

struct Row {
    rfc: String,
    section: String,
    words: String,
    kind: String,
    implemented: String,
    tested: String,
    note: String,
}

fn rows() -> Vec<Row> {
    let text = include_str!("data/requirements.tsv");
    text.lines()
        .skip(1)
        .map(|line| {
            let mut cells = line.split('\t').map(str::to_owned);
            let mut cell = || cells.next().unwrap_or_else(|| panic!("seven columns: {line}"));
            Row {
                rfc: cell(),
                section: cell(),
                words: cell(),
                kind: cell(),
                implemented: cell(),
                tested: cell(),
                note: cell(),
            }
        })
        .collect()
}

/// Whether `path::item` is there: the file, and something of this name in it.
fn is_there(place: &str) -> bool {
    let Some((path, item)) = place.split_once("::") else { return false };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let Ok(text) = std::fs::read_to_string(root.join(path)) else { return false };
    ["fn ", "struct ", "enum ", "const ", "mod "].iter().any(|what| {
        text.match_indices(&format!("{what}{item}")).any(|(at, found)| {
            !text[at + found.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
        })
    })
}

#[test]
fn every_must_is_cited_where_it_is_implemented_and_tested() {
    let rows = rows();
    let mut table: BTreeMap<(String, String), [usize; 4]> = BTreeMap::new();
    for row in &rows {
        let place = format!("RFC {} §{} \"{}\"", row.rfc, row.section, row.words);
        assert!(["layer", "ua", "exception"].contains(&&*row.kind), "{place}: {}", row.kind);
        let counts = table.entry((row.rfc.clone(), row.section.clone())).or_default();
        counts[0] += 1;
        if row.kind == "exception" {
            assert!(row.note.len() > 10, "{place}: an exception says why");
            counts[3] += 1;
            continue;
        }
        assert!(is_there(&row.implemented), "{place}: there is no {}", row.implemented);
        counts[1] += 1;
        if row.tested != "-" {
            assert!(is_there(&row.tested), "{place}: there is no {}", row.tested);
            counts[2] += 1;
        }
    }
    println!(
        "{:<6}{:<12}{:>6}{:>13}{:>8}{:>12}",
        "RFC", "section", "MUSTs", "implemented", "tested", "exceptions"
    );
    let mut sum = [0; 4];
    for ((rfc, section), counts) in &table {
        println!("{rfc:<6}{section:<12}{:>6}{:>13}{:>8}{:>12}", counts[0], counts[1], counts[2], counts[3]);
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    println!("{:<18}{:>6}{:>13}{:>8}{:>12}", "all", sum[0], sum[1], sum[2], sum[3]);
    assert!(sum[1] >= IMPLEMENTED && sum[2] >= TESTED, "coverage has fallen: {sum:?}");
}

/// The text of each section, white space collapsed, without the pages' headers and footers.
fn sections(text: &str, rfc: &str) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut current = String::new();
    for line in text.replace('\u{c}', "\n").lines() {
        let trimmed = line.trim_end();
        let header = trimmed.starts_with(&format!("RFC {rfc} "))
            || trimmed.ends_with(']') && trimmed.contains("[Page ");
        if header {
            continue;
        }
        // A heading begins at the margin with its number; in the table of contents dots or a page follow.
        let (number, title) = trimmed.split_once(' ').unwrap_or((trimmed, ""));
        let number = number.trim_end_matches('.');
        let is_number = !number.is_empty() && number.split('.').all(|part| part.parse::<u16>().is_ok());
        if is_number && !title.trim().is_empty() && !trimmed.contains("...") && !trimmed.contains(". . ") {
            current = number.to_owned();
            found.insert(current.clone(), String::new());
            continue;
        }
        // An unnumbered heading ends the last section.
        if trimmed.starts_with(|c: char| c.is_ascii_uppercase()) {
            current.clear();
        }
        if let Some(text) = found.get_mut(&current) {
            text.push_str(trimmed.trim());
            text.push(' ');
        }
    }
    found
        .into_iter()
        .map(|(section, text)| (section, text.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect()
}

#[test]
fn every_row_stands_in_its_rfc_and_every_key_word_has_a_row() {
    let Some(folder) = support::shared("rfc") else { return };
    let rows = rows();
    let wanted = |rfc: &str, section: &str| match rfc {
        "3261" => ["8.1.3", "8.2", "9", "17", "18"]
            .iter()
            .any(|wanted| section == *wanted || section.starts_with(&format!("{wanted}."))),
        // What the key words mean is no requirement.
        _ => section != "2",
    };
    let mut faults = Vec::new();
    for rfc in ["3261", "6026", "4320"] {
        let text = std::fs::read(folder.join(format!("rfc{rfc}.txt"))).unwrap();
        let sections = sections(&String::from_utf8_lossy(&text), rfc);
        for row in rows.iter().filter(|row| row.rfc == rfc) {
            match sections.get(&row.section) {
                Some(text) if text.matches(&*row.words).count() == 1 => {}
                Some(text) => faults.push(format!(
                    "RFC {rfc} §{}: \"{}\" stands there {} times",
                    row.section,
                    row.words,
                    text.matches(&*row.words).count()
                )),
                None => faults.push(format!("RFC {rfc} has no §{}", row.section)),
            }
        }
        for (section, text) in sections.iter().filter(|(section, _)| wanted(rfc, section)) {
            let words: Vec<&str> = rows
                .iter()
                .filter(|row| row.rfc == rfc && row.section == *section)
                .map(|row| row.words.as_str())
                .collect();
            // A sentence ends with a full stop before a capital; a list item with its bullet.
            let mut ends: Vec<usize> = Vec::new();
            for stop in [". ", ": ", " o ", "; "] {
                ends.extend(text.match_indices(stop).map(|(at, _)| at + 1));
            }
            ends.sort_unstable();
            for key in ["MUST", "SHALL", "REQUIRED"] {
                for (at, _) in text.match_indices(key) {
                    let start = ends.iter().rev().find(|end| **end <= at).copied().unwrap_or(0);
                    let end = text[at..].find(". ").map_or(text.len(), |end| at + end + 1);
                    // The row may quote the part of a sentence before its colon.
                    let near = &text[start.saturating_sub(250)..end];
                    if !words.iter().any(|words| near.contains(words)) {
                        faults.push(format!("RFC {rfc} §{section}: no row for \"{}\"", &text[start..end]));
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
