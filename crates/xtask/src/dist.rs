//! Release programs: a tarball and a Debian package.

use crate::interface::Quality;
use crate::progress::Build;
use crate::project::Project;
use crate::{interface, system};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAMS: [&str; 2] = ["assay", "assay-desktop"];
/// For the terminal program; the window needs a web view too.
const DEPENDS: &str = "libc6 (>= 2.36), libgcc-s1";
const RECOMMENDS: &str = "libwebkit2gtk-4.1-0, libgtk-3-0";
const DESKTOP_ENTRY: &str = "[Desktop Entry]
Type=Application
Name=Assay
Comment=Train image classifiers, label images, and find out why a model said what it said
Exec=assay-desktop
Icon=assay
Categories=Science;Development;
";

/// Builds and packs the release programs; `is_tried`: installs the package into an empty system and runs it.
pub(crate) fn dist(project: &Project, is_tried: bool) -> Result<()> {
    system::ensure_wasm_target()?;
    system::ensure_build_packages()?;
    interface::build(project, Quality::Release)?;
    let programs = Build {
        what: "the release programs",
        package: None,
        target: None,
        arguments: &["build", "--workspace", "--release", "--bin", "assay", "--bin", "assay-desktop"],
        is_linted: false,
    };
    programs.run(project)?;
    let folder = project.target.join("dist");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let version = version(project)?;
    let tarball = tarball(project, &folder, &version)?;
    eprintln!("{}", tarball.display());
    if !cfg!(target_os = "linux") || Command::new("dpkg-deb").arg("--version").output().is_err() {
        return Ok(()); // packages for Debian are made on Debian
    }
    let package = debian_package(project, &folder, &version)?;
    eprintln!("{}", package.display());
    if is_tried { try_in_empty_system(project, &folder, &tarball, &package) } else { Ok(()) }
}

fn version(project: &Project) -> Result<String> {
    let packages = project.metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let own = packages.iter().find(|package| package["name"] == "assay-cli").context("there is no assay-cli")?;
    Ok(own["version"].as_str().context("it has no version")?.to_owned())
}

/// Copies the programs into a folder, stripped of debug symbols.
fn put_programs(project: &Project, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for name in PROGRAMS {
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        let from = project.target.join("release").join(&file);
        std::fs::copy(&from, folder.join(&file)).with_context(|| format!("copying {}", from.display()))?;
        let _ = Command::new("strip").arg(folder.join(&file)).status(); // without strip the file is only larger
    }
    Ok(())
}

fn put_texts(project: &Project, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for name in ["LICENSE", "README.md"] {
        std::fs::copy(project.root.join(name), folder.join(name))?;
    }
    std::fs::copy(project.root.join("assets/digits/LICENSE.md"), folder.join("LICENSE-digits.md"))?;
    Ok(())
}

fn tarball(project: &Project, folder: &Path, version: &str) -> Result<PathBuf> {
    let name = format!("assay-{version}-{}-{}", std::env::consts::OS, std::env::consts::ARCH);
    let staged = folder.join(&name);
    put_programs(project, &staged)?;
    put_texts(project, &staged)?;
    let tarball = folder.join(format!("{name}.tar.gz"));
    project.run(Command::new("tar").arg("-czf").arg(&tarball).arg("-C").arg(folder).arg(&name))?;
    std::fs::remove_dir_all(&staged)?;
    Ok(tarball)
}

fn debian_package(project: &Project, folder: &Path, version: &str) -> Result<PathBuf> {
    let architecture = Command::new("dpkg").arg("--print-architecture").output().context("dpkg does not start")?;
    let architecture = String::from_utf8_lossy(&architecture.stdout).trim().to_owned();
    let staged = folder.join("package");
    put_programs(project, &staged.join("usr/bin"))?;
    put_texts(project, &staged.join("usr/share/doc/assay"))?;
    let put = |path: &str, contents: &[u8]| -> Result<()> {
        let path = staged.join(path);
        std::fs::create_dir_all(path.parent().context("BUG: a file is in a folder")?)?;
        std::fs::write(&path, contents).with_context(|| format!("writing {}", path.display()))
    };
    put("usr/share/applications/assay.desktop", DESKTOP_ENTRY.as_bytes())?;
    put("usr/share/icons/hicolor/128x128/apps/assay.png", &std::fs::read(project.root.join("icons/128x128.png"))?)?;
    let control = format!(
        "Package: assay\nVersion: {version}\nArchitecture: {architecture}\nSection: science\nPriority: optional\n\
         Maintainer: Assay <assay@localhost>\nDepends: {DEPENDS}\nRecommends: {RECOMMENDS}\n\
         Description: the lab on your desk\n Train image classifiers, label images, and find out why a model said what it \
         said: one program,\n on your own machine.\n"
    );
    put("DEBIAN/control", control.as_bytes())?;
    let package = folder.join(format!("assay_{version}_{architecture}.deb"));
    project.run(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&staged).arg(&package))?;
    std::fs::remove_dir_all(&staged)?;
    Ok(package)
}

/// Runs the packed programs in a minimal Debian made by debootstrap.
fn try_in_empty_system(project: &Project, folder: &Path, tarball: &Path, package: &Path) -> Result<()> {
    system::ensure_debootstrap()?;
    let root = folder.join("system");
    project.run(Command::new("debootstrap").args(["--variant=minbase", "bookworm"]).arg(&root))?;
    let inside = |script: &str| project.run(Command::new("chroot").arg(&root).args(["sh", "-euc", script]));
    for file in [tarball, package] {
        let name = file.file_name().context("BUG: a file has a name")?;
        std::fs::copy(file, root.join("tmp").join(name))?;
    }
    let demo = "HOME=/tmp/home assay demo --no-open";
    inside(&format!("dpkg -i /tmp/*.deb && {demo}"))?;
    inside(&format!(
        "dpkg -r assay && cd /tmp && tar xzf assay-*.tar.gz && PATH=$(echo /tmp/assay-*/):$PATH && {demo}"
    ))?;
    if !root.join("tmp/home/.local/share/assay/demo/.assay/assay.db").is_file() {
        bail!("the demo made no workspace");
    }
    eprintln!("the package and the tarball run in an empty system");
    Ok(())
}
