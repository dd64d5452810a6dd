//! Real clients of other frameworks against a server of this tree.

use crate::bench::{environment, peer};
use crate::project::Project;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// The clients; PyTorch is that of the benches.
const CLIENTS: [&str; 5] =
    ["mlflow==3.9.0", "lightning==2.6.0", "wandb==0.31.0", "tensorboard==2.21.0", "pillow==13.0.0"];

/// Logs with MLflow's own client, scikit-learn's autologging and Lightning's logger, then with the writers of TensorBoard's,
/// W&B's and MLflow's files, which are imported and followed; compares what comes back.
pub(crate) fn clients(project: &Project) -> Result<()> {
    let torch = peer(project)?;
    let python =
        environment(project, "clients", &CLIENTS[..1], "import mlflow; print('mlflow==' + mlflow.__version__)")?;
    let packages = |python: &std::path::Path| -> Result<String> {
        let program = "import sysconfig; print(sysconfig.get_paths()['purelib'])";
        let output = Command::new(python).args(["-c", program]).output().context("python does not start")?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    // PyTorch is large: it is read where the benches keep it.
    std::fs::write(std::path::Path::new(&packages(&python)?).join("torch.pth"), packages(&torch)? + "\n")?;
    project.run(Command::new(&python).args(["-m", "pip", "install", "-q"]).args(CLIENTS))?;
    project.build_programs()?;
    let folder = tempfile::tempdir()?;
    let mut server = Command::new(project.target.join("debug/assay"))
        .arg("--workspace")
        .arg(folder.path())
        .args(["serve", "--port", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .context("the server does not start")?;
    let says = server.stdout.take();
    let outcome = (|| {
        let mut line = String::new();
        BufReader::new(says.context("the server says nothing")?).read_line(&mut line)?;
        let address = line.trim().trim_start_matches("Assay is at ");
        let script = |name: &str| project.root.join("crates/xtask/src").join(name);
        project.run(Command::new(&python).arg(script("clients.py")).arg(address))?;
        let assay = project.target.join("debug/assay");
        project.run(Command::new(&python).arg(script("logs.py")).arg(address).arg(assay).arg(folder.path()))
    })();
    server.kill()?;
    server.wait()?;
    outcome
}
