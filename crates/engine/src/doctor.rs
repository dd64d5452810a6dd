//! What works here and what does not.

use crate::{Engine, Result};
use assay_domain::counted;
use assay_domain::entity::Dataset;
use assay_learn::{Device, DeviceChoice};
use assay_protocol::Check;
use assay_store::Hash;
use rayon::prelude::*;

impl Engine {
    /// Looks at the workspace and the machine; deeply also at every file that is kept.
    pub fn doctor(&self, deep: bool) -> Result<Vec<Check>> {
        let check = |what: &str, ok: Option<bool>, found: String| Check { what: what.to_owned(), ok, found };
        let mut checks = Vec::new();
        let root = self.store.root().display();
        checks.push(match self.store.is_read_only() {
            true => check("workspace", Some(false), format!("read-only: {root}")),
            false => check("workspace", Some(true), format!("{root}")),
        });
        let wrong = self.store.read(|reader| reader.check_integrity())?;
        checks.push(match wrong.first() {
            None => check("run database", Some(true), "intact".into()),
            Some(first) => check("run database", Some(false), format!("damaged: {first}; restore it from a backup")),
        });
        if deep {
            let referred = self.store.read(|reader| reader.referred())?;
            let is_whole = |hash: &String| Ok(self.store.blobs().is_intact(&Hash::parse(hash)?)?);
            let whole = referred.par_iter().map(is_whole).collect::<Result<Vec<bool>>>()?;
            let damaged = whole.iter().filter(|whole| !**whole).count();
            checks.push(match damaged {
                0 => check("kept files", Some(true), format!("{}, all intact", counted(whole.len(), "file"))),
                damaged => {
                    let found =
                        format!("{damaged} of {} are damaged or missing; restore them from a backup", whole.len());
                    check("kept files", Some(false), found)
                }
            });
        }
        for dataset in self.datasets()? {
            let folder = Engine::source_folder(&dataset.source);
            let what = format!("dataset {}", dataset.name);
            checks.push(match folder.is_dir() {
                true => {
                    let (is_as_known, found) = self.health(&dataset, deep)?;
                    check(&what, Some(is_as_known), found)
                }
                false => check(
                    &what,
                    Some(false),
                    format!(
                        "its folder is gone; say where it is now: assay data relocate {:?} FOLDER: {}",
                        dataset.name,
                        folder.display()
                    ),
                ),
            });
        }
        let machine = assay_probe::machine("");
        let memory = machine.memory_bytes as f64 / 1e9;
        checks.push(check(
            "cpu",
            Some(true),
            format!("{}, {} cores, {memory:.1} GB memory", machine.cpu, machine.cores),
        ));
        checks.push(match self.device() {
            Device::Cpu => {
                check("cuda", None, "not available in this build or on this machine; training uses the CPU".into())
            }
            device => check("cuda", Some(true), DeviceChoice::name(&device).into()),
        });
        Ok(checks)
    }

    /// Checks a dataset's images; returns whether they are intact, and a report.
    fn health(&self, dataset: &Dataset, deep: bool) -> Result<(bool, String)> {
        let missing = dataset.missing + self.mark_missing(dataset.id)?;
        let mut parts = vec![counted(dataset.samples, "image"), format!("{} left out", dataset.problems)];
        let mut also = |count: u64, what: &str| parts.extend((count > 0).then(|| format!("{count} {what}")));
        also(missing, "missing (import it again to look for them)");
        also(dataset.changed, "changed since they were labelled (confirm their labels)");
        also(dataset.findings, "contradictions (Data lists them)");
        let mut is_as_known = missing == 0;
        if deep {
            let verified = self.verify_images(dataset.id)?;
            is_as_known &= verified.changed.is_empty() && verified.unreadable.is_empty();
            if let [first, rest @ ..] = verified.unreadable.as_slice() {
                let others = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
                parts.push(format!("cannot be read: {first}{others}"));
            }
            parts.push(match verified.changed.as_slice() {
                [] => format!("{} compared with their hashes", counted(verified.compared, "image")),
                [first, rest @ ..] => {
                    let others = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
                    format!("{first}{others} changed on disk: import it again")
                }
            });
        }
        Ok((is_as_known, parts.join(", ")))
    }
}
