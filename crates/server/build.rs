//! Puts the built interface (`cargo xtask build-ui`) into the program; without one, the program says how to build it.

use std::path::Path;

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ui/dist");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut list = String::from("pub(super) const FILES: &[(&str, &[u8])] = &[\n");
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let path = entry.path();
        println!("cargo:rerun-if-changed={}", path.display());
        let name = entry.file_name().to_string_lossy().into_owned();
        list.push_str(&format!("    ({name:?}, include_bytes!({:?})),\n", path.display().to_string()));
    }
    list.push_str("];\n");
    let out = std::env::var("OUT_DIR").expect("BUG: cargo sets OUT_DIR");
    std::fs::write(Path::new(&out).join("interface.rs"), list).expect("the build folder can be written");
}
