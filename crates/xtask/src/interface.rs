//! The interface as WebAssembly, bound and packed into ui/dist.

use crate::progress::Build;
use crate::project::Project;
use anyhow::Result;
use std::process::Command;

pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// Compiler profile.
#[derive(Clone, Copy)]
pub(crate) enum Quality {
    /// Quick to build: for daily work.
    Daily,
    /// Quick to run: for release.
    Release,
}

impl Quality {
    fn profile(self) -> &'static str {
        match self {
            Quality::Daily => "web",
            Quality::Release => "web-release",
        }
    }
}

/// Builds it; an unchanged result is not written.
pub(crate) fn build(project: &Project, quality: Quality) -> Result<()> {
    let profile = quality.profile();
    let interface = Build {
        what: "the interface",
        package: Some("assay-ui"),
        target: Some(WASM),
        arguments: &["build", "-p", "assay-ui", "--lib", "--target", WASM, "--profile", profile],
        is_linted: false,
    };
    interface.run(project)?;
    let binder = Build {
        what: "the packer of the interface",
        package: Some("assay-bind"),
        target: None,
        arguments: &["build", "--workspace", "--bin", "assay-bind"],
        is_linted: false,
    };
    binder.run(project)?;
    let wasm = project.target.join(WASM).join(profile).join("assay_ui.wasm");
    let mut bind = Command::new(project.program("assay-bind"));
    project.run(bind.arg(wasm).args([project.root.join("ui/web"), project.root.join("ui/dist")]))
}
