//! From a fresh clone to a trained model on the screen.

use crate::project::Project;
use crate::{interface, system};
use anyhow::Result;
use std::process::Command;

pub(crate) fn demo(project: &Project, no_open: bool) -> Result<()> {
    system::ensure_wasm_target()?;
    system::ensure_build_packages()?;
    interface::build(project)?;
    project.build_programs()?;
    let workspace = project.target.join("demo");
    let assay = |arguments: &[&str]| {
        let mut command = Command::new(project.program("assay"));
        command.arg("--workspace").arg(&workspace).args(arguments);
        command
    };
    project.run(&mut assay(&["init"]))?;
    project.run(assay(&["import", "--name", "digits"]).arg(project.root.join("assets/digits/digits.tar.gz")))?;
    project.run(&mut assay(&["train", "--data", "digits", "--experiment", "demo"]))?;
    if no_open {
        println!("look at it with: {} --workspace {} ui", project.program("assay").display(), workspace.display());
        return Ok(());
    }
    project.run(&mut assay(&["ui"]))
}
