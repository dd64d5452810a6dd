//! The result line and the findings of an import.

use assay_domain::entity::{Dataset, Problem, ProblemKind};
use assay_domain::{Label, counted};
use assay_store::Copy;
use std::collections::BTreeSet;

/// The counts and notes of an import.
#[derive(Default)]
pub(super) struct Told {
    pub(super) new: usize,
    pub(super) moved: usize,
    pub(super) changed: usize,
    pub(super) returned: usize,
    pub(super) missing: usize,
    pub(super) relabelled: usize,
    pub(super) notes: Vec<String>,
}

impl Told {
    pub(super) fn sentence(&self, dataset: &Dataset, problems: &[Problem]) -> String {
        let left_out = problems.iter().filter(|problem| problem.kind == ProblemKind::LeftOut);
        let left_out = assay_formats::left_out(left_out.map(|problem| problem.reason.as_str()));
        let mut parts = vec![format!("{} new, {} changed, {left_out}", self.new, self.changed)];
        let mut also = |count: usize, what: &str| parts.extend((count > 0).then(|| format!("{count} {what}")));
        also(self.moved, "moved");
        also(self.returned, "found again");
        also(self.missing, "missing");
        also(self.relabelled, "labelled anew by the source");
        let of_kind = |kind: ProblemKind| problems.iter().filter(|problem| problem.kind == kind).count();
        also(of_kind(ProblemKind::LabelDiffers), "labelled differently by a person and the source");
        also(of_kind(ProblemKind::SameImage), "with contradicting copies");
        also(of_kind(ProblemKind::Contradicted), "about which the source contradicts itself");
        let mut sentence = format!(
            "{}; {} has {}, {} labelled, {}",
            parts.join(", "),
            dataset.name,
            counted(dataset.samples, "image"),
            dataset.labeled,
            match dataset.classes.len() {
                1 => "1 class".to_owned(),
                count => format!("{count} classes"),
            }
        );
        let mut state = |count: u64, what: &str| {
            if count > 0 {
                sentence += &format!(", {count} {what}");
            }
        };
        state(dataset.missing, "missing");
        state(dataset.changed, "whose image changed");
        state(dataset.removed_samples, "removed");
        for note in &self.notes {
            sentence += &format!("; {note}");
        }
        sentence
    }
}

pub(super) fn spoken(label: Option<&Label>, schema: &[String]) -> String {
    label.map_or_else(|| "no label".into(), |label| format!("{:?}", label.names(schema)))
}

/// Copies that differ in label, or are in both training and test.
pub(super) fn contradictions(copies: &[Copy], schema: &[String]) -> Vec<Problem> {
    let of_image = |same: &[Copy]| {
        let differ = |of: &dyn Fn(&Copy) -> String| same.iter().map(of).collect::<BTreeSet<_>>().len() > 1;
        let labels = |copy: &Copy| spoken(copy.label.as_ref(), schema);
        let what = match (differ(&labels), differ(&|copy| copy.split.to_string())) {
            (false, false) => return None,
            (true, false) => "the same image has different labels",
            (false, true) => "the same image is in different splits",
            (true, true) => "the same image has different labels and is in different splits",
        };
        let told: Vec<String> =
            same.iter().map(|copy| format!("{} ({}, {})", copy.path, labels(copy), copy.split)).collect();
        Some(Problem {
            path: same.first()?.path.clone(),
            kind: ProblemKind::SameImage,
            reason: format!("{what}: {}", told.join(", ")),
        })
    };
    copies.chunk_by(|one, other| one.hash == other.hash).filter_map(of_image).collect()
}
