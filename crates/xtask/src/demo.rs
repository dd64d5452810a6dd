//! From a fresh clone to a trained model on screen; the result comes before the interface is built.

use crate::interface::Quality;
use crate::progress::spoken;
use crate::project::Project;
use crate::{interface, system};
use anyhow::Result;
use std::process::Command;
use std::time::Instant;

pub(crate) fn demo(project: &Project, no_open: bool) -> Result<()> {
    let begun = Instant::now();
    let demo = |arguments: &[&str]| {
        let mut command = Command::new(project.program("assay"));
        command.arg("--workspace").arg(project.target.join("demo")).args(arguments);
        command
    };
    eprintln!("1 of 3: the terminal program, and a training with it");
    system::ensure_compiler()?;
    project.build_terminal()?;
    project.run(&mut demo(&["demo", "--no-open"]))?;
    eprintln!("the first result after {}\n2 of 3: the interface", spoken(begun.elapsed()));
    system::ensure_wasm_target()?;
    interface::build(project, Quality::Daily)?;
    eprintln!("3 of 3: the window");
    system::ensure_build_packages()?;
    project.build_window()?;
    eprintln!("everything is built after {}", spoken(begun.elapsed()));
    if no_open {
        let ui = demo(&["ui"]);
        let words: Vec<_> = ui.get_args().map(|word| word.to_string_lossy()).collect();
        println!("look at it with: {} {}", project.program("assay").display(), words.join(" "));
        return Ok(());
    }
    project.run(&mut demo(&["ui"]))
}
