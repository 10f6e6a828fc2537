//! The feature table names tests that exist.

#[test]
fn every_test_that_is_named_exists() {
    let table = include_str!("../FEATURES.md");
    let mut named = 0;
    for (file, test) in table.split('`').filter_map(|word| word.split_once("::")) {
        let path = format!("{}/tests/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let code = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(code.contains(&format!("fn {test}(")), "{file} has no test {test}");
        named += 1;
    }
    assert!(named > 30);
}
