//! With the feature `cuda`: the kernels of `src/cuda` as PTX, which the driver finishes for the GPU it finds.

use std::path::Path;
use std::process::Command;

const SOURCES: [&str; 5] = ["activation", "images", "learning", "norm", "transformer"];

fn main() {
    println!("cargo::rerun-if-changed=src/cuda");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    println!("cargo::rerun-if-env-changed=CUDA_HOME");
    let out = std::env::var("OUT_DIR").expect("BUG: cargo names the folder for what is built");
    let nvcc = match std::env::var_os("CUDA_HOME") {
        Some(home) => Path::new(&home).join("bin/nvcc"),
        None => "nvcc".into(),
    };
    for name in SOURCES {
        let mut command = Command::new(&nvcc);
        // Ampere, the first with bf16.
        command.args(["-ptx", "-O3", "-std=c++17", "-arch=compute_80", "-o"]);
        command.arg(Path::new(&out).join(name).with_extension("ptx")).arg(format!("src/cuda/{name}.cu"));
        let built = command.status().is_ok_and(|status| status.success());
        assert!(built, "nvcc cannot build {name}.cu; `cargo xtask build --cuda` brings nvcc along: {command:?}");
    }
}
