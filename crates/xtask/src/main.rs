//! The daily commands of the project: `cargo xtask demo | test | bench | clients | build | setup-cuda | build-ui | lint | dist`.

mod bench;
mod clients;
mod cuda;
mod demo;
mod dist;
mod interface;
mod lint;
mod progress;
mod project;
mod system;
mod test;

use anyhow::{Result, bail};
use project::Project;

const HELP: &str = "cargo xtask COMMAND

  demo [--no-open]   build the terminal program, train on the shipped digits, build the rest, open the window
  test [--quick]     formatting, clippy, the layer lint and all tests; --quick leaves out browser and desktop
  bench NAME         speed beside a peer: train [--json], infer [--json], loader PHOTOS [--json],
                     track [--json], operations [FILTER], sign-digits PHOTOS [EPOCHS]; agreement with one: agreement, models;
                     of a server alone: soak [MINUTES], pixel
  clients            log with MLflow's, scikit-learn's, Lightning's, TensorBoard's and W&B's own clients, and compare what
                     comes back or is imported
  build [--cuda]     build the programs; --cuda: with the GPU, into cuda/ of the target folder
  setup-cuda         get the compiler and libraries that build --cuda needs, into the cache folder
  build-ui           build the interface as WebAssembly into ui/dist
  lint               check that the crates' dependencies follow ARCHITECTURE.md
  dist [--try]       the release programs as a tarball and a Debian package, in dist/ of the target folder; --try installs
                     and runs them in an empty system made by debootstrap";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let project = Project::find()?;
    match arguments.first().map(String::as_str) {
        Some("demo") => demo::demo(&project, has("--no-open")),
        Some("test") => test::test(&project, has("--quick")),
        Some("bench") => bench::bench(&project, &arguments[1..]),
        Some("clients") => clients::clients(&project),
        Some("build") if has("--cuda") => cuda::build(&project),
        Some("build") => project.build_programs(),
        Some("setup-cuda") => {
            println!("{}", cuda::setup(&project)?.display());
            Ok(())
        }
        Some("build-ui") => {
            system::ensure_wasm_target()?;
            interface::build(&project, interface::Quality::Daily)
        }
        Some("lint") => lint::lint(&project),
        Some("dist") => dist::dist(&project, has("--try")),
        Some("help" | "--help") | None => {
            println!("{HELP}");
            Ok(())
        }
        Some(other) => bail!("there is no command {other:?}\n\n{HELP}"),
    }
}
