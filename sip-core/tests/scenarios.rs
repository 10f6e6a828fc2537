//! The scenario files of `tests/scenarios`, each line at its exact instant. What stands for what is said in its README.

use sip_core::sim::scenario;
use std::path::Path;

mod support;

#[test]
fn every_section_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut sections = 0;
    let mut failures = Vec::new();
    for (name, bytes) in support::files(&folder, "scn") {
        match scenario::run(&String::from_utf8(bytes).unwrap(), |_| {}) {
            Ok(count) => sections += count,
            Err(found) => failures.extend(found.into_iter().map(|failed| format!("{name}: {failed}"))),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(sections >= 280, "{sections} sections only");
}

/// The reader is strict: what happens and isn't written, what is written and doesn't happen, and what comes at another time, fails.
#[test]
fn what_does_not_hold_is_told_with_its_line() {
    let failed = |text: &str| scenario::run(text, |_| {}).unwrap_err().remove(0);
    // A word that is misspelt is none, and what has happened by the end of a section must be written.
    for (text, what) in [
        ("== a\n0 tu > respnd o 200\n", "respnd is no command"),
        ("== a\n0 wire > OPTIONS o foo=bar\n", "foo=bar is none of branch="),
        ("== a\n0 wire > OPTIONS o cseq=abc\n", "cseq=abc is no such number"),
        ("== a\ntimers t1=foo\n", "foo is no time"),
        ("== a\nlimits transactions=-1\n", "transactions=-1 is no such number"),
        ("== a\n18446744073709s tu > OPTIONS o\n", "18446744073709s is more than a week"),
        ("== a\n0.00000001s tu > OPTIONS o\n", "0.00000001s is no time"),
        ("== a\n0 wire > again\n", "nothing was sent before"),
        ("== a\n0 tu > OPTIONS o\n", "not expected: 0.000000 wire < OPTIONS"),
        ("0 tu > OPTIONS o\n", "there is no section"),
        ("== a\n0 tu > cancel z\n", "no transaction is named z"),
        ("== a\n0 tu > OPTIONS o\n. wire < OPTIONS o\n", "the section does not end with `quiet`"),
    ] {
        let failed = failed(text);
        assert!(failed.what.starts_with(what), "{text}: {failed}");
    }
    let good =
        "over udp\n== a\n0 tu > INVITE inv\n. wire < INVITE inv\n500ms wire < INVITE inv again\nquiet 1us\n";
    assert_eq!(scenario::run(good, |_| {}), Ok(1));
    let late = failed(&good.replace("500ms", "501ms"));
    assert_eq!((late.line, late.section.as_str()), (5, "a"));
    assert!(late.what.starts_with("expected at 0.501000, but at 0.500000: wire < INVITE"), "{late}");
    let extra = failed(&good.replace("1us", "10s"));
    assert!(extra.what.starts_with("not expected: 1.500000 wire < INVITE"), "{extra}");
    let missing = failed(
        "== a\n0 tu > OPTIONS o\n. wire < OPTIONS o\n. wire > 200 o\n. tu < response o 200\n1s tu < end o Completed\n",
    );
    assert!(missing.what.starts_with("nothing happened by 1.000000"), "{missing}");
    let other = failed("== a\n0 tu > OPTIONS o\n. wire < INVITE o\n");
    assert!(other.what.starts_with("expected wire < INVITE o, but at 0.000000: wire < OPTIONS"), "{other}");
    let refusal = failed("== a\n0 tu > OPTIONS o ! Full\n");
    assert_eq!(refusal.what, "not refused with Full");
}
