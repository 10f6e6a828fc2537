//! Asks whether a peer lives: `cargo run --release -p sip-mio-adapter --example ping -- sip:127.0.0.1:5070`

mod support;

fn main() -> std::process::ExitCode {
    support::cli::ping(sip_mio_adapter::seed(), support::run)
}
