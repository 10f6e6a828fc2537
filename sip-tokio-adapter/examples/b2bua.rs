//! Stands between callers and whom they call: `cargo run --release -p sip-tokio-adapter --example b2bua -- --listen udp:127.0.0.1:5060 --to sip:127.0.0.1:5070`

mod support;

fn main() -> std::process::ExitCode {
    support::cli::b2bua(sip_tokio_adapter::seed(), support::run)
}
