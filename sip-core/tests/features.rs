//! The feature table names tests that exist.

#[test]
fn every_test_that_is_named_exists() {
    let table = include_str!("../FEATURES.md");
    let mut named = 0;
    // What others call their things is not ours.
    let ours =
        |line: &str| line.split('|').skip(if line.starts_with("| `") { 2 } else { 1 }).collect::<String>();
    let table: String = table.lines().map(ours).collect();
    for (file, test) in table.split('`').filter_map(|word| word.split_once("::")) {
        let path = format!("{}/tests/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let code = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(code.contains(&format!("fn {test}(")), "{file} has no test {test}");
        named += 1;
    }
    assert!(named > 30);
}

/// What is said to stand for something of others stands in the code.
#[test]
fn everything_that_is_named_is_there() {
    let mut code = String::new();
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                code += &std::fs::read_to_string(entry).unwrap();
            }
        }
    }
    let (_, tables) = include_str!("../FEATURES.md").split_once("## Where rsipstack").unwrap();
    let mut named = 0;
    for ours in
        tables.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(2))
    {
        for name in ours.split('`').skip(1).step_by(2) {
            let is = |start: &str, end: &str| code.contains(&format!("{start}{name}{end}"));
            let known = is("pub fn ", "(")
                || is("pub fn ", "<")
                || is("pub const fn ", "(")
                || is("    fn ", "(")
                || is("pub struct ", "")
                || is("pub enum ", "")
                || is("pub trait ", "")
                || is("pub ", ": ")
                || is("\n    ", " {")
                || is("\n    ", ",")
                || is("\n    ", "(");
            assert!(known, "there is no {name}");
            named += 1;
        }
    }
    assert!(named > 80, "{named}");
}
