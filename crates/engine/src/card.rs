//! The model card: what a model is, what it was made of, and how good it is, as Markdown (Mitchell et al. 2019).

use crate::{Engine, Result};
use assay_domain::entity::{CheckpointKind, Run};
use assay_domain::record::Record;
use assay_domain::{Labelling, RunId, number};
use assay_learn::{Classifier, Config};
use std::fmt::Write;

impl Engine {
    /// The card of a run's model.
    pub(crate) fn model_card(
        &self,
        run: &Run,
        kind: CheckpointKind,
        record: &Record,
        classifier: &Classifier,
    ) -> Result<String> {
        let config = Config::resolve(&record.config, &[]).map_err(assay_learn::LearnError::from)?;
        let mut card = format!("# {}\n\n", run.name);
        if !run.note.is_empty() {
            card += &format!("{}\n\n", run.note);
        }
        let mut rows = |title: &str, rows: &[(&str, String)]| {
            card += &format!("## {title}\n\n| | |\n|---|---|\n");
            for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
                card += &format!("| {name} | {} |\n", value.replace('|', "\\|").replace('\n', "<br>"));
            }
            card.push('\n');
        };
        let size = classifier.image_size();
        let params = config.params();
        let param = |key: &str| params.get(key).cloned().unwrap_or_default();
        rows(
            "Model",
            &[
                ("network", param("model.name")),
                ("parameters", classifier.parameters().to_string()),
                ("first weights", record.weights.as_ref().map_or("random".into(), |weights| weights.from.clone())),
                ("checkpoint", kind.as_str().to_owned()),
                (
                    "input",
                    format!("RGB images, scaled to {size} x {size} pixels (bilinear, antialiased, shape not kept)"),
                ),
                (
                    "normalisation",
                    format!("mean {:?}, deviation {:?}, of values from 0 to 1", config.data.mean, config.data.std),
                ),
                (
                    "output",
                    format!(
                        "a logit for each class, in the order of classes.txt; probabilities by {}",
                        match classifier.labelling() {
                            Labelling::OneClass => "softmax, and the most probable class is said",
                            Labelling::AnyClasses => "sigmoid, and each class above one half is said",
                        }
                    ),
                ),
            ],
        );
        if let Some(data) = &record.data {
            let counts: Vec<String> = data.samples.iter().map(|(split, count)| format!("{count} {split}")).collect();
            rows(
                "Data",
                &[
                    ("dataset", data.dataset.clone()),
                    ("snapshot", data.snapshot.clone()),
                    ("images", counts.join(", ")),
                    ("classes", data.classes.join(", ")),
                ],
            );
        }
        let code = &record.code;
        rows(
            "Code",
            &[
                ("commit", code.commit.clone().unwrap_or_else(|| "none".into())),
                ("branch", code.branch.clone().unwrap_or_default()),
                ("remote", code.remote.clone().unwrap_or_default()),
                ("changes", code.changes().into()),
                ("command", record.command.arguments.join(" ")),
                ("program", record.command.program.clone()),
                ("machine", format!("{}, {}", record.machine.cpu, record.machine.device)),
                ("seed", record.seed.to_string()),
            ],
        );
        card += &self.figures(run.id)?;
        Ok(card)
    }

    /// The figures of a run's evaluations, a table for each.
    fn figures(&self, run: RunId) -> Result<String> {
        let mut text = String::new();
        let evaluations = self.store.read(|reader| reader.evaluations(Some(run)))?;
        for evaluation in evaluations {
            let Some(scores) = self.scores(evaluation.id)? else { continue };
            let percent = |value: f64| format!("{:.2} %", value * 100.0);
            let (low, high) = scores.accuracy.interval;
            // Writing to a string does not fail.
            let accuracy = scores.labelling.accuracy_name();
            let _ = write!(
                text,
                "## {} images of the {} split\n\n| figure | value |\n|---|---|\n| {accuracy} | {} ({} to {} with 95 % confidence) |\n| macro F1 | {} |\n| mean average precision | {} |\n| loss | {} |\n| expected calibration error | {} |\n\n| class | images | precision | recall | F1 |\n|---|---|---|---|---|\n",
                scores.samples,
                evaluation.split,
                percent(scores.accuracy.value),
                percent(low),
                percent(high),
                percent(scores.macro_f1.value),
                scores.average_precision.map_or("–".into(), percent),
                number(scores.loss),
                percent(scores.calibration_error),
            );
            for class in &scores.classes {
                let share = |value: Option<f64>| value.map_or("–".into(), percent);
                let score = class.score;
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {} | {} |",
                    class.class.replace('|', "\\|"),
                    score.support,
                    share(score.precision),
                    share(score.recall),
                    share(score.f1)
                );
            }
            text.push('\n');
        }
        Ok(text)
    }
}
