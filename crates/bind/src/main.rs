//! `assay-bind WASM SOURCES TARGET`: binds the interface's WebAssembly to JavaScript and packs it with the page's own files
//! into the folder that the server is built with. A program of its own, so that the daily commands do not wait for what it is
//! made of; `cargo xtask build-ui` calls it.

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::path::{Path, PathBuf};
use wasm_bindgen_cli_support::Bindgen;

/// Files of the page that are sent as they are.
const PAGE: [&str; 2] = ["index.html", "boot.js"];

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [wasm, sources, target] = arguments.as_slice() else { bail!("usage: assay-bind WASM SOURCES TARGET") };
    let bound = wasm.with_extension("bound");
    Bindgen::new()
        .input_path(wasm)
        .web(true)?
        .typescript(false)
        .remove_name_section(true)
        .out_name("assay")
        .generate(&bound)
        .context("binding failed")?;
    std::fs::create_dir_all(target).with_context(|| format!("making {}", target.display()))?;
    for name in ["assay.js", "assay_bg.wasm"] {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&std::fs::read(bound.join(name))?)?;
        write_changed(&target.join(format!("{name}.gz")), &packed.finish()?)?;
    }
    for name in PAGE {
        write_changed(&target.join(name), &std::fs::read(sources.join(name))?)?;
    }
    let size = std::fs::metadata(target.join("assay_bg.wasm.gz"))?.len();
    eprintln!("the interface: {:.2} MB to send", size as f64 / 1e6);
    Ok(())
}

/// Writes only if the contents differ, so that dependants are not rebuilt.
fn write_changed(path: &Path, contents: &[u8]) -> Result<()> {
    if std::fs::read(path).is_ok_and(|found| found == contents) {
        return Ok(());
    }
    std::fs::write(path, contents).with_context(|| format!("writing {}", path.display()))
}
