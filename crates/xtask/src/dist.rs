//! Release programs.

use crate::project::Project;
use crate::{interface, system};
use anyhow::Result;

pub(crate) fn dist(project: &Project) -> Result<()> {
    system::ensure_wasm_target()?;
    system::ensure_build_packages()?;
    interface::build(project)?;
    project.cargo(&["build", "--release", "-p", "assay-cli", "-p", "assay-desktop"])?;
    eprintln!("the programs are in {}", project.target.join("release").display());
    Ok(())
}
