//! Asks whether a peer lives: `cargo run --release -p sip-tokio-adapter --example ping -- sip:127.0.0.1:5070`

mod support;

fn main() -> std::process::ExitCode {
    support::cli::ping(sip_tokio_adapter::seed(), support::run)
}
