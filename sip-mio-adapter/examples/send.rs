//! Sends requests that programs write which know no SIP: `cargo run --release -p sip-mio-adapter --example send < FILE`

mod support;

fn main() -> std::process::ExitCode {
    support::cli::send(sip_mio_adapter::seed(), support::run_fed)
}
