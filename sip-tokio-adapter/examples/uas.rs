//! Answers calls: `cargo run --release -p sip-tokio-adapter --example uas -- --listen udp:127.0.0.1:5070`

mod support;

fn main() -> std::process::ExitCode {
    support::cli::uas(sip_tokio_adapter::seed(), support::run)
}
