//! Runs side by side: what is the same and what differs.

use crate::runs::numbers;
use crate::{Engine, EngineError, Result};
use assay_domain::entity::Run;
use assay_domain::number::same;
use assay_domain::record::Record;
use assay_domain::{Best, Directions, numbers_apart};
use assay_protocol::{Comparison, Difference};
use std::collections::{BTreeMap, BTreeSet};

impl Engine {
    /// Config, code, data, command, machine and metrics of the runs, one line a key.
    pub fn compare(&self, runs: &str) -> Result<Comparison> {
        let ids = numbers(runs)?;
        if ids.is_empty() {
            return Err(EngineError::Invalid("name the runs to compare, as in runs=1,2".into()));
        }
        let now = (self.clock)();
        let (sides, directions) = self.store.read(|reader| {
            let side = |&id: &assay_domain::RunId| {
                let patches = reader.artifacts(id)?.into_iter().filter(|artifact| artifact.path.starts_with("code/"));
                let patches: Vec<String> =
                    patches.map(|artifact| format!("{} {}", artifact.path, &artifact.hash[..12])).collect();
                Ok(Side { run: reader.run(id, now)?, record: reader.record(id)?, patches })
            };
            let sides = ids.iter().map(side).collect::<Result<Vec<Side>, assay_store::StoreError>>()?;
            Ok((sides, reader.directions()?))
        })?;
        let mut differences = Vec::new();
        for section in ["config", "data", "code", "command", "machine", "metrics"] {
            let of_runs: Vec<Cells> = sides.iter().map(|side| side.cells(section, &directions)).collect();
            let keys: BTreeSet<&String> = of_runs.iter().flat_map(BTreeMap::keys).collect();
            for key in keys {
                let cells: Vec<Option<&Cell>> = of_runs.iter().map(|cells| cells.get(key)).collect();
                differences.push(Difference {
                    section: section.to_owned(),
                    key: key.clone(),
                    values: texts(&cells),
                    differs: cells.windows(2).any(|pair| pair[0] != pair[1]),
                });
            }
        }
        Ok(Comparison { runs: sides.into_iter().map(|side| side.run).collect(), differences })
    }
}

/// A compared value.
#[derive(Debug)]
enum Cell {
    Text(String),
    /// A metric value, and its step if relevant.
    Number(f64, Option<i64>),
}

/// A run's values in a section, by key.
type Cells = BTreeMap<String, Cell>;

impl PartialEq for Cell {
    fn eq(&self, other: &Cell) -> bool {
        match (self, other) {
            (Cell::Text(a), Cell::Text(b)) => a == b,
            (Cell::Number(a, at), Cell::Number(b, other_at)) => same(*a, *b) && at == other_at,
            _ => false,
        }
    }
}

/// The texts of a line; numbers get enough digits to tell them apart.
fn texts(cells: &[Option<&Cell>]) -> Vec<Option<String>> {
    let number = |cell: &Option<&Cell>| match cell {
        Some(Cell::Number(value, _)) => Some(*value),
        _ => None,
    };
    let mut numbers = numbers_apart(&cells.iter().filter_map(number).collect::<Vec<f64>>()).into_iter();
    let text = |cell: &Option<&Cell>| match (*cell)? {
        Cell::Text(text) => Some(text.clone()),
        Cell::Number(_, None) => numbers.next(),
        Cell::Number(_, Some(step)) => numbers.next().map(|number| format!("{number} at step {step}")),
    };
    cells.iter().map(text).collect()
}

struct Side {
    run: Run,
    record: Option<Record>,
    patches: Vec<String>,
}

impl Side {
    fn cells(&self, section: &str, directions: &Directions) -> Cells {
        let texts = |lines: Vec<(String, String)>| -> Cells {
            lines.into_iter().filter(|line| !line.1.is_empty()).map(|(key, text)| (key, Cell::Text(text))).collect()
        };
        match section {
            "config" => self.run.params.iter().map(|(key, value)| (key.clone(), Cell::Text(value.clone()))).collect(),
            "metrics" => self.metrics(directions),
            _ => self.record.as_ref().map(|record| texts(self.facts(record, section))).unwrap_or_default(),
        }
    }

    /// Facts of the record in a section.
    fn facts(&self, record: &Record, section: &str) -> Vec<(String, String)> {
        let line = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let Record { code, command, machine, .. } = record;
        match section {
            "data" => {
                let Some(data) = &record.data else { return Vec::new() };
                let of_split =
                    |(split, count): &(assay_domain::Split, u64)| line(&format!("{split} images"), &count.to_string());
                let snapshot = &data.snapshot[..16.min(data.snapshot.len())];
                let mut lines = vec![line("dataset", &data.dataset), line("snapshot", snapshot)];
                lines.extend(data.samples.iter().map(of_split));
                lines
            }
            "code" => vec![
                line("commit", code.commit.as_deref().unwrap_or_default()),
                line("branch", code.branch.as_deref().unwrap_or_default()),
                line("changes", code.changes()),
                line("changed files", &self.patches.join(", ")),
            ],
            "command" => vec![
                line("command", &command.arguments.join(" ")),
                line("directory", &command.directory),
                line("program", &command.program),
            ],
            _ => vec![
                line("host", &machine.host),
                line("cpu", &machine.cpu),
                line("cores", &machine.cores.to_string()),
                line("device", &machine.device),
            ],
        }
    }

    /// Each metric's last and best value; both extremes if its direction is unknown.
    fn metrics(&self, directions: &Directions) -> Cells {
        let mut cells = Cells::new();
        for (key, summary) in self.run.metrics.iter().filter(|(key, _)| !key.starts_with("system/")) {
            let mut put = |what: &str, cell: Cell| cells.insert(format!("{key} ({what})"), cell);
            if let Some(last) = summary.last {
                put("last", Cell::Number(last, None));
            }
            let best = directions.of(key);
            let extremes = match best {
                Best::Neither => vec![("min", summary.min), ("max", summary.max)],
                Best::Least | Best::Greatest => vec![("best", best.of(summary))],
            };
            for (what, extreme) in extremes {
                if let Some((value, step)) = extreme {
                    put(what, Cell::Number(value, Some(step)));
                }
            }
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(cells: &[Option<Cell>]) -> Vec<Option<String>> {
        texts(&cells.iter().map(Option::as_ref).collect::<Vec<_>>())
    }

    #[test]
    fn values_are_compared_and_not_their_texts() {
        let number = |value: f64| Cell::Number(value, None);
        assert_ne!(number(4e-6), number(9e-7));
        assert_ne!(number(0.1), number(0.1 + f64::EPSILON));
        assert_ne!(number(f64::NAN), number(f64::INFINITY));
        assert_eq!(number(f64::NAN), number(f64::NAN));
        assert_ne!(Cell::Number(1.0, Some(1)), Cell::Number(1.0, Some(2)));
        assert_ne!(Cell::Text("1".into()), number(1.0));
    }

    #[test]
    fn what_differs_looks_different() {
        let cells = [Some(Cell::Number(0.1234567, None)), None, Some(Cell::Number(0.1234568, Some(3)))];
        let texts = text(&cells);
        assert_eq!(texts, [Some("0.1234567".into()), None, Some("0.1234568 at step 3".into())]);
        assert_eq!(text(&[Some(Cell::Text("a".into())), None]), [Some("a".to_owned()), None]);
    }
}
