//! The interface as WebAssembly, bound and packed into ui/dist.

use crate::project::Project;
use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use wasm_bindgen_cli_support::Bindgen;

/// Builds it; nothing is written when nothing changed.
pub(crate) fn build(project: &Project) -> Result<()> {
    project.cargo(&["build", "-p", "assay-ui", "--lib", "--target", "wasm32-unknown-unknown", "--profile", "web"])?;
    let wasm = project.target.join("wasm32-unknown-unknown/web/assay_ui.wasm");
    let bound = project.target.join("web-bound");
    Bindgen::new()
        .input_path(&wasm)
        .web(true)?
        .typescript(false)
        .remove_name_section(true)
        .out_name("assay")
        .generate(&bound)
        .context("binding failed")?;
    let dist = project.root.join("ui/dist");
    std::fs::create_dir_all(&dist)?;
    for name in ["assay.js", "assay_bg.wasm"] {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&std::fs::read(bound.join(name))?)?;
        write_changed(&dist.join(format!("{name}.gz")), &packed.finish()?)?;
    }
    for name in ["index.html", "boot.js"] {
        write_changed(&dist.join(name), &std::fs::read(project.root.join("ui/web").join(name))?)?;
    }
    let size = std::fs::metadata(dist.join("assay_bg.wasm.gz"))?.len();
    eprintln!("ui/dist: {:.2} MB to send", size as f64 / 1e6);
    Ok(())
}

/// Leaves a file that is the same alone, so that nothing that depends on it is built again.
fn write_changed(path: &std::path::Path, contents: &[u8]) -> Result<()> {
    if std::fs::read(path).is_ok_and(|found| found == contents) {
        return Ok(());
    }
    std::fs::write(path, contents).with_context(|| format!("writing {}", path.display()))
}
