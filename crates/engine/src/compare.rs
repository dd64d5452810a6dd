//! Runs side by side: what is the same and what differs.

use crate::runs::numbers;
use crate::{Engine, EngineError, Result};
use assay_domain::entity::Run;
use assay_domain::record::Record;
use assay_protocol::{Comparison, Difference};
use std::collections::BTreeSet;

impl Engine {
    /// Config, code, data, command, machine and metrics of the runs, one line a key.
    pub fn compare(&self, runs: &str) -> Result<Comparison> {
        let ids = numbers(runs)?;
        if ids.is_empty() {
            return Err(EngineError::Invalid("name the runs to compare, as in runs=1,2".into()));
        }
        let now = (self.clock)();
        let sides = self.store.read(|reader| {
            ids.iter()
                .map(|&id| {
                    let patches =
                        reader.artifacts(id)?.into_iter().filter(|artifact| artifact.path.starts_with("code/"));
                    let patches: Vec<String> =
                        patches.map(|artifact| format!("{} {}", artifact.path, &artifact.hash[..12])).collect();
                    Ok(Side { run: reader.run(id, now)?, record: reader.record(id)?.unwrap_or_default(), patches })
                })
                .collect::<Result<Vec<Side>, assay_store::StoreError>>()
        })?;
        let mut differences = Vec::new();
        for section in ["config", "data", "code", "command", "machine", "metrics"] {
            let keys: BTreeSet<String> =
                sides.iter().flat_map(|side| side.lines(section).into_iter().map(|line| line.0)).collect();
            for key in keys {
                let value = |side: &Side| side.lines(section).into_iter().find(|line| line.0 == key).map(|line| line.1);
                let values: Vec<Option<String>> = sides.iter().map(value).collect();
                let differs = values.windows(2).any(|pair| pair[0] != pair[1]);
                differences.push(Difference { section: section.to_owned(), key, values, differs });
            }
        }
        Ok(Comparison { runs: sides.into_iter().map(|side| side.run).collect(), differences })
    }
}

struct Side {
    run: Run,
    record: Record,
    patches: Vec<String>,
}

impl Side {
    fn lines(&self, section: &str) -> Vec<(String, String)> {
        let line = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let (code, command, machine) = (&self.record.code, &self.record.command, &self.record.machine);
        match section {
            "config" => self.run.params.iter().map(|(key, value)| line(key, value)).collect(),
            "data" => self
                .record
                .data
                .iter()
                .flat_map(|data| {
                    let mut lines = vec![
                        line("dataset", &data.dataset),
                        line("snapshot", &data.snapshot[..16.min(data.snapshot.len())]),
                    ];
                    lines.extend(
                        data.samples.iter().map(|(split, count)| line(&format!("{split} images"), &count.to_string())),
                    );
                    lines
                })
                .collect(),
            "code" => [
                ("commit", code.commit.clone()),
                ("branch", code.branch.clone()),
                ("uncommitted changes", Some(if code.dirty { "yes" } else { "no" }.to_owned())),
                ("changed files", (!self.patches.is_empty()).then(|| self.patches.join(", "))),
            ]
            .into_iter()
            .filter_map(|(key, value)| Some(line(key, &value?)))
            .collect(),
            "command" => vec![
                line("command", &command.arguments.join(" ")),
                line("directory", &command.directory),
                line("program", &command.program),
            ],
            "machine" => vec![
                line("host", &machine.host),
                line("cpu", &machine.cpu),
                line("cores", &machine.cores.to_string()),
                line("device", &machine.device),
            ],
            _ => self
                .run
                .metrics
                .iter()
                .filter(|(key, _)| !key.starts_with("system/"))
                .flat_map(|(key, summary)| {
                    let text = |value: f64| format!("{value:.5}");
                    let mut lines = vec![(format!("{key} (last)"), summary.last.map(text).unwrap_or_default())];
                    let best = if key.contains("loss") { summary.min } else { summary.max };
                    if let Some((value, step)) = best {
                        lines.push((format!("{key} (best)"), format!("{} at step {step}", text(value))));
                    }
                    lines
                })
                .collect(),
        }
    }
}
