//! Fuzz target: `cargo fuzz run --fuzz-dir fuzz/differential differential -s none`. Without libFuzzer it takes files and says
//! what each parser makes of them.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sip_differential::check(data));

#[cfg(not(fuzzing))]
fn main() {
    for file in std::env::args().skip(1) {
        let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        for difference in sip_differential::differences(&bytes) {
            let explained =
                if sip_differential::is_explained(&difference) { "explained" } else { "NOT EXPLAINED" };
            println!("{file}\t{}\t{}\t{explained}", difference.peer, difference.what);
        }
    }
}
