//! Sends requests that programs write which know no SIP: `cargo run --release -p sip-tokio-adapter --example send < FILE`

mod support;

fn main() -> std::process::ExitCode {
    support::cli::send(sip_tokio_adapter::seed(), support::run_fed)
}
