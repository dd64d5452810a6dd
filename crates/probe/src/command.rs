//! How the program was called.

use assay_domain::record::Command;

/// Environment variables that decide how a program computes; all others are left out.
const SELECTED: &[&str] = &[
    "CUDA",
    "RAYON",
    "CANDLE",
    "OMP",
    "MKL",
    "RUST",
    "ASSAY",
    "SLURM",
    "CONDA",
    "VIRTUAL_ENV",
    "PYTHON",
    "LANG",
    "TZ",
];

/// Parts of names whose values are secrets.
const SECRET: &[&str] = &["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "AUTH"];

/// The command of a process: its arguments, working directory and selected environment. `program` and `build` are
/// facts of the caller's own build.
pub fn command(
    arguments: impl IntoIterator<Item = String>,
    directory: &std::path::Path,
    environment: impl IntoIterator<Item = (String, String)>,
    program: &str,
    build: &str,
) -> Command {
    let mut selected: Vec<(String, String)> = environment
        .into_iter()
        .filter(|(name, _)| SELECTED.iter().any(|prefix| name.to_uppercase().starts_with(prefix)))
        .map(|(name, value)| {
            let upper = name.to_uppercase();
            let value =
                if SECRET.iter().any(|part| upper.contains(part)) { "••••••".to_owned() } else { value };
            (name, value)
        })
        .collect();
    selected.sort();
    Command {
        arguments: arguments.into_iter().collect(),
        directory: directory.display().to_string(),
        environment: selected,
        program: program.to_owned(),
        build: build.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_the_rest_is_left_out() {
        let environment =
            [("ASSAY_TOKEN", "hunter2"), ("RAYON_NUM_THREADS", "2"), ("HOME", "/home/a"), ("AWS_SECRET_KEY", "x")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let command = command(["assay".to_owned()], std::path::Path::new("/x"), environment, "assay 1", "debug");
        assert_eq!(
            command.environment,
            [("ASSAY_TOKEN".to_owned(), "••••••".to_owned()), ("RAYON_NUM_THREADS".to_owned(), "2".to_owned())]
        );
    }
}
