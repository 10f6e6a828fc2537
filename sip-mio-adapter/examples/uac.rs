//! Places calls: `cargo run --release -p sip-mio-adapter --example uac -- --target sip:bob@127.0.0.1:5070`

mod support;

fn main() -> std::process::ExitCode {
    support::cli::uac(sip_mio_adapter::seed(), support::run)
}
