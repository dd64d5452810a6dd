//! The CUDA build: a toolkit from packages of the Python registry, laid out as one CUDA home, and cargo with it. Only
//! this build needs any of it.

use crate::project::{self, Project, cache_folder};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiler, headers and libraries of one CUDA release, which the driver of the machine must support.
const PACKAGES: &[&str] = &[
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-cccl==13.0.85",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-nvrtc==13.0.88",
    "nvidia-cublas==13.0.2.14",
    "nvidia-curand==10.4.0.35",
    "nvidia-cudnn-cu13==9.26.0.51",
];

/// Lays the toolkit out, once, and returns its folder.
pub(crate) fn setup(project: &Project) -> Result<PathBuf> {
    let folder = cache_folder()?.join("cuda-13.0");
    let home = folder.join("nvidia/cu13");
    let complete = folder.join("complete");
    if std::fs::read_to_string(&complete).is_ok_and(|laid_out| laid_out == PACKAGES.join("\n")) {
        return Ok(home);
    }
    eprintln!("installing the CUDA toolkit into {} (about 2 GB, once)", folder.display());
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be cleared", folder.display()))?;
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "-q", "--no-deps", "--no-compile", "--target"]).arg(&folder).args(PACKAGES);
    project.run(&mut pip)?;
    #[cfg(unix)]
    unix::lay_out(&folder, &home)?;
    stub_driver(project, &home)?;
    std::fs::write(&complete, PACKAGES.join("\n"))?;
    Ok(home)
}

/// Builds the terminal program and the window with CUDA, into a folder of their own beside the daily build.
pub(crate) fn build(project: &Project) -> Result<()> {
    let mut cargo = cargo(project, "build")?;
    cargo.args(["-p", "assay-cli", "-p", "assay-desktop"]).args(["--features", "assay-cli/cuda,assay-desktop/cuda"]);
    project.run(&mut cargo)?;
    println!("built with CUDA: {}", project.target.join("cuda/debug/assay").display());
    Ok(())
}

/// cargo with the toolkit in its environment.
pub(crate) fn cargo(project: &Project, command: &str) -> Result<Command> {
    let home = setup(project)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([home.join("bin")].into_iter().chain(std::env::split_paths(&path)))?;
    let mut cargo = project::cargo();
    cargo.arg(command).env("PATH", path).env("CUDA_HOME", &home).env("CARGO_TARGET_DIR", project.target.join("cuda"));
    if std::env::var_os("CUDA_COMPUTE_CAP").is_none() {
        // Code for this one and newer ones: Ampere, the first with bf16.
        cargo.env("CUDA_COMPUTE_CAP", "80");
    }
    Ok(cargo)
}

/// A driver to link against where there is none: the names of its functions, as its header has them. Programs load the
/// real one when they start.
fn stub_driver(project: &Project, home: &Path) -> Result<()> {
    let header = std::fs::read_to_string(home.join("include/cuda.h")).context("cuda.h is not in the toolkit")?;
    let is_function = |word: &&str| word.starts_with("cu") && word[2..].starts_with(|c: char| c.is_ascii_uppercase());
    let words = header.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(is_function);
    let functions: BTreeSet<&str> = words.collect();
    if functions.is_empty() {
        bail!("cuda.h names no functions");
    }
    let folder = home.join("lib/stubs");
    std::fs::create_dir_all(&folder)?;
    let source = folder.join("cuda.c");
    std::fs::write(&source, functions.iter().map(|name| format!("void {name}(void) {{}}\n")).collect::<String>())?;
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o"]).arg(folder.join("libcuda.so")).arg(&source);
    project.run(&mut compiler)
}

#[cfg(unix)]
mod unix {
    use anyhow::{Context, Result};
    use std::ffi::OsString;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    /// The packages as builds expect a CUDA home: all headers and libraries together, each library also without its
    /// version, and a `lib64`.
    pub(super) fn lay_out(folder: &Path, home: &Path) -> Result<()> {
        for part in ["include", "lib"] {
            let own = folder.join("nvidia/cudnn").join(part);
            for entry in std::fs::read_dir(&own).with_context(|| format!("{} is missing", own.display()))? {
                let entry = entry?;
                let here = home.join(part).join(entry.file_name());
                if !here.exists() {
                    symlink(entry.path(), here)?;
                }
            }
        }
        let libraries = home.join("lib");
        let names: Vec<OsString> =
            std::fs::read_dir(&libraries)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<_>>()?;
        for name in names.iter().filter_map(|name| name.to_str()) {
            let plain = name.find(".so.").map(|end| libraries.join(&name[..end + 3]));
            if let Some(plain) = plain.filter(|plain| !plain.exists()) {
                symlink(name, plain)?;
            }
        }
        let lib64 = home.join("lib64");
        if !lib64.exists() {
            symlink("lib", lib64)?;
        }
        Ok(())
    }
}
