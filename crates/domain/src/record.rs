//! What is fixed of a run before its first step, so that it can be reproduced from this alone.

use crate::Split;
use serde::{Deserialize, Serialize};

/// The complete record of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The state of the code.
    pub code: Code,
    /// How the program was called.
    pub command: Command,
    /// The machine it ran on.
    pub machine: Machine,
    /// The resolved config, as TOML.
    pub config: String,
    /// The data, fixed.
    pub data: Option<Data>,
    /// The seed of every random number of the run.
    pub seed: u64,
    /// The weights that the model began with; random ones without.
    #[serde(default)]
    pub weights: Option<FirstWeights>,
}

/// Weights that a model began with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FirstWeights {
    /// The file or run that they came from.
    pub from: String,
    /// The hash of the file, which is kept as an artifact of the run.
    pub hash: String,
    /// Its size.
    pub bytes: u64,
}

/// The state of the code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Code {
    /// The top folder of the repository; `None` outside one.
    pub repository: Option<String>,
    /// The commit that is checked out, in hexadecimal digits; `None` before the first commit.
    pub commit: Option<String>,
    /// The first line of its message.
    pub summary: Option<String>,
    /// The branch; `None` with a detached head.
    pub branch: Option<String>,
    /// Where `origin` points, without user name and password.
    pub remote: Option<String>,
    /// Whether anything differs from the commit.
    pub dirty: bool,
    /// Whether all files were compared with the commit; not outside a repository, in a bare one, or after a timeout.
    #[serde(default = "compared")]
    pub is_compared: bool,
    /// Files whose staged contents differ from the commit; the patch is the artifact `code/staged.patch`.
    pub staged: Vec<String>,
    /// Files whose contents differ from what is staged; the patch is the artifact `code/unstaged.patch`.
    pub unstaged: Vec<String>,
    /// Untracked files whose contents are kept as artifacts below `code/untracked/`.
    pub untracked: Vec<String>,
    /// What was left out and why.
    pub left_out: Vec<String>,
    /// Submodules: path and checked-out commit.
    pub submodules: Vec<(String, String)>,
    /// Anything that a reader should know: no repository, a bare one, time ran out.
    pub notes: Vec<String>,
}

/// The value for records without the field.
fn compared() -> bool {
    true
}

impl Code {
    /// How the code differs from the commit, for people.
    pub fn changes(&self) -> &'static str {
        match &self.repository {
            None => "no repository",
            Some(_) if self.dirty => "uncommitted changes, kept with the run's files",
            Some(_) if !self.is_compared => "not known: see the notes",
            Some(_) if self.commit.is_none() => "no commit yet",
            Some(_) => "none: the commit is what ran",
        }
    }
}

/// How the program was called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// The working directory.
    pub directory: String,
    /// Selected environment variables; values that look like secrets are masked.
    pub environment: Vec<(String, String)>,
    /// Name and version of the program.
    pub program: String,
    /// How it was built: profile, target, features.
    pub build: String,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Its name in the network.
    pub host: String,
    /// Operating system and kernel.
    pub os: String,
    /// The processor's name.
    pub cpu: String,
    /// Logical processors.
    pub cores: usize,
    /// Main memory, in bytes.
    pub memory_bytes: u64,
    /// What computes: `cpu` or the name of the GPU.
    pub device: String,
}

/// The data, fixed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// The dataset's name.
    pub dataset: String,
    /// The hash of the snapshot.
    pub snapshot: String,
    /// The classes, in the order of the model's outputs.
    pub classes: Vec<String>,
    /// Labelled samples by split.
    pub samples: Vec<(Split, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_compared_is_not_said_to_be_unchanged() {
        let repository = Some("/project".to_owned());
        let clean = Code { repository, commit: Some("c0ffee".into()), is_compared: true, ..Code::default() };
        assert_eq!(clean.changes(), "none: the commit is what ran");
        assert_eq!(Code { repository: None, ..clean.clone() }.changes(), "no repository");
        assert_eq!(Code { is_compared: false, ..clean.clone() }.changes(), "not known: see the notes");
        assert_eq!(Code { commit: None, ..clean.clone() }.changes(), "no commit yet");
        assert!(Code { dirty: true, ..clean }.changes().starts_with("uncommitted changes"));
    }

    #[test]
    fn a_record_of_an_earlier_version_was_compared() {
        let mut json = serde_json::to_value(Code::default()).unwrap();
        json.as_object_mut().unwrap().remove("is_compared");
        assert!(serde_json::from_value::<Code>(json).unwrap().is_compared);
    }
}
