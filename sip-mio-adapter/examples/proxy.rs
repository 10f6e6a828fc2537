//! Forwards requests: `cargo run --release -p sip-mio-adapter --example proxy -- --listen udp:127.0.0.1:5060 --to sip:127.0.0.1:5070`

mod support;

fn main() -> std::process::ExitCode {
    support::cli::proxy(sip_mio_adapter::seed(), support::run)
}
