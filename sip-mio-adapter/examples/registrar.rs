//! Registers phones and forwards their calls: `cargo run --release -p sip-mio-adapter --example registrar -- --listen udp:127.0.0.1:5060`

mod support;

fn main() -> std::process::ExitCode {
    support::cli::registrar(sip_mio_adapter::seed(), support::run)
}
