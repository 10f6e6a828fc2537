//! Replays on every target: the committed corpus, what once crashed, and the project's bad input.

use std::path::Path;

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.is_file())
        .map(|path| std::fs::read(path).expect("readable"))
        .collect()
}

#[test]
fn corpus_and_bad_input() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut inputs = Vec::new();
    for set in ["badinput", "mutants"] {
        inputs.extend(files(&here.join("../sip-core/tests/data").join(set)));
    }
    assert!(inputs.len() > 300, "the project's own sets are there");
    for (name, target) in sip_fuzz::TARGETS {
        let corpus = files(&here.join("corpus").join(name));
        assert!(!corpus.is_empty(), "fuzz/corpus/{name} is there: libFuzzer refuses to start without it");
        for input in inputs.iter().chain(&corpus) {
            target(input);
        }
    }
}
