//! Every difference on the project's own sets, and on a corpus of the target, is explained.

use std::collections::BTreeSet;
use std::path::Path;

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("readable").path());
    paths.filter(|path| path.is_file()).map(|path| std::fs::read(path).expect("readable")).collect()
}

#[test]
fn differences_are_explained() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sets =
        ["../../sip-core/tests/data/badinput", "../../sip-core/tests/data/mutants", "../corpus/datagram"];
    let inputs: Vec<_> = sets.iter().flat_map(|set| files(&here.join(set))).collect();
    assert!(inputs.len() > 300);
    let unexplained: BTreeSet<String> = inputs
        .iter()
        .flat_map(|input| sip_differential::differences(input))
        .filter(|difference| !sip_differential::is_explained(difference))
        .map(|difference| format!("{}\t{}", difference.peer, difference.what))
        .collect();
    assert!(
        unexplained.is_empty(),
        "not in differences.tsv:\n{}",
        unexplained.into_iter().collect::<Vec<_>>().join("\n")
    );
}
