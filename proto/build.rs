//! Generates the wire types from the `.proto` files, with protox instead of an installed protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=chancery");
    let mut files = vec!["chancery/v1/ledger.proto"];
    if std::env::var_os("CARGO_FEATURE_GRPC").is_some() {
        files.extend(["chancery/v1/api.proto", "chancery/v1/peer.proto"]);
    }
    tonic_prost_build::configure().compile_fds(protox::compile(files, ["."])?)?;
    Ok(())
}
