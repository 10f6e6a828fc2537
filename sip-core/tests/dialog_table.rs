//! Every row of the dialog rules in `data/fsm/dialog.tsv` has a test, named in `data/dialog_rows.tsv`. The rules are a list and no closed table,
//! so that they are driven by name; `mid_dialog_failures.tsv` is driven row by row in `sessions.rs`.

const ROWS: &str = include_str!("data/fsm/dialog.tsv");
const TESTS: &str = include_str!("data/dialog_rows.tsv");
const FILES: [(&str, &str); 3] = [
    ("calls", include_str!("calls.rs")),
    ("sessions", include_str!("sessions.rs")),
    ("subscriptions", include_str!("subscriptions.rs")),
];

#[test]
fn every_row_has_its_test() {
    let mut tests = TESTS.lines().skip(1);
    for row in ROWS.lines().skip(1) {
        let rule: Vec<_> = row.split('\t').take(4).collect();
        let tested = tests.next().unwrap_or_default();
        let (found, test) = tested.rsplit_once('\t').unwrap_or_default();
        assert_eq!(found, rule.join("\t"), "the next row of data/dialog_rows.tsv");
        let (file, name) = test.split_once("::").unwrap_or_default();
        let text = FILES.iter().find(|(known, _)| *known == file).map_or("", |(_, text)| text);
        assert!(text.contains(&format!("#[test]\nfn {name}()")), "{test} is no test: {row}");
    }
    assert_eq!(tests.next(), None, "a row that is no rule");
}
