//! Answers calls: `cargo run --release -p sip-mio-adapter --example uas -- --listen udp:127.0.0.1:5070`

mod support;

fn main() -> std::process::ExitCode {
    support::cli::uas(sip_mio_adapter::seed(), support::run)
}
