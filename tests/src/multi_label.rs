//! Images of several classes: from a list, by hand, through training and review to a checked model.

use crate::harness::{Client, Workspace};
use anyhow::Result;
use assay_protocol::domain::entity::{Dataset, Evaluation, LabelEdit, Snapshot};
use assay_protocol::domain::scores::Scores;
use assay_protocol::domain::{ClassId, Label, LabelChange, Labelling, RunStatus, Split};
use assay_protocol::{
    DatasetChange, FilePrediction, LabelRequest, PersonRequest, PredictFiles, PredictionPage, RunDetail, SamplePage,
    StartRun, path,
};
use image::{Rgb, RgbImage};
use std::fmt::Write as _;
use std::path::Path;

const CLASSES: [&str; 4] = ["cross", "disc", "frame", "stripes"];
const SIDE: u32 = 32;

/// Steps of an xorshift (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as u32 % end
    }
}

/// Writes images of up to four shapes, each in a quarter of its own and in any colour, and the list of what they show.
fn shapes(folder: &Path, count: usize) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut list = String::from("path,labels\n");
    for number in 0..count {
        let mut image = RgbImage::from_fn(SIDE, SIDE, |_, _| Rgb([0, 1, 2].map(|_| random.below(60) as u8)));
        let quarter = random.below(4);
        let mut shown = Vec::new();
        for (place, name) in CLASSES.iter().enumerate() {
            // The later ones are rarer.
            if random.below(10) >= 5 - place as u32 {
                continue;
            }
            shown.push(*name);
            let corner = (quarter + place as u32) % 4;
            let (left, top) = (corner % 2 * SIDE / 2 + random.below(4), corner / 2 * SIDE / 2 + random.below(4));
            let color = Rgb([0, 1, 2].map(|_| 150 + random.below(100) as u8));
            for (x, y) in (0..12).flat_map(|x| (0..12).map(move |y| (x, y))) {
                let (dx, dy) = (x as f32 - 5.5, y as f32 - 5.5);
                let is_drawn = match place {
                    0 => dx.abs() < 1.6 || dy.abs() < 1.6,
                    1 => dx * dx + dy * dy < 30.0,
                    2 => dx.abs() > 3.6 || dy.abs() > 3.6,
                    _ => y % 4 < 2,
                };
                if is_drawn {
                    image.put_pixel(left + x, top + y, color);
                }
            }
        }
        let name = format!("{number:04}.png");
        image.save(folder.join(&name)).expect("an image");
        let shown = if shown.is_empty() { "none".to_owned() } else { shown.join("|") };
        writeln!(list, "{name},{shown}").expect("a line");
    }
    std::fs::write(folder.join("shapes.csv"), list).expect("the list");
}

async fn label(client: &Client, sample: assay_protocol::domain::SampleId, change: LabelChange) -> Result<LabelEdit> {
    let request = LabelRequest { change, person: "ann".into(), proposed_by: None };
    client.post(&path::sample(sample, "/label"), &request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_several_classes_are_learned_reviewed_and_checked() -> Result<()> {
    let workspace = Workspace::new();
    shapes(workspace.folder(), 1200);
    assert!(workspace.assay(&["import", "shapes.csv"]).status.success());
    let client = workspace.open().await;
    let dataset: Dataset = client.get::<Vec<Dataset>>(path::DATASETS).await?.remove(0);
    assert!(dataset.labelling == Labelling::AnyClasses && dataset.labeled == 1200, "{dataset:?}");
    assert_eq!(dataset.classes, CLASSES);
    // Rare classes and images of none are in all splits by their shares.
    for (place, of_class) in [(0, 600), (3, 240)] {
        let counts = dataset.counts.iter().filter(|count| count.class == ClassId(place));
        let all: u64 = counts.clone().map(|count| count.samples).sum();
        assert!(all.abs_diff(of_class) < 80, "{all} of class {place}");
        let test = counts.filter(|count| count.split == Split::Test).map(|count| count.samples).sum::<u64>();
        assert!((test as f64 - all as f64 / 5.0).abs() < 6.0, "{test} of {all} of class {place} are tested");
    }
    assert!(dataset.splits.iter().all(|split| split.empty > 0 && split.unlabeled == 0));

    // Labels are changed class by class; what is undone comes back whole.
    let one: SamplePage = client.get(&path::dataset(dataset.id, "/samples?class=3&limit=1")).await?;
    let (sample, before) = (one.samples[0].id, one.samples[0].label.clone().expect("a label"));
    assert!(before.contains(ClassId(3)));
    let fewer = label(&client, sample, LabelChange::Remove(ClassId(3))).await?;
    assert_eq!(fewer.after, Some(before.without(ClassId(3))));
    let none = label(&client, sample, LabelChange::Set(Some(Label::default()))).await?;
    assert_eq!(none.after, Some(Label::default()));
    let empty: SamplePage = client.get(&path::dataset(dataset.id, "/samples?class=empty&limit=5000")).await?;
    assert!(empty.samples.iter().any(|found| found.id == sample));
    let person = PersonRequest { person: "ann".into() };
    for _ in 0..2 {
        let _: LabelEdit = client.post(&path::dataset(dataset.id, "/undo"), &person).await?;
    }
    let again: SamplePage = client.get(&path::dataset(dataset.id, "/samples?class=3&limit=1")).await?;
    assert_eq!(again.samples, one.samples);
    let refused = label(&client, sample, LabelChange::Add(ClassId(9))).await.unwrap_err().to_string();
    assert!(refused.contains("no class 9"), "{refused}");
    let change = serde_json::to_vec(&DatasetChange { labelling: Some(Labelling::OneClass), ..Default::default() })?;
    let address = path::dataset(dataset.id, "");
    let refused = client.send::<Dataset>(http::Method::PATCH, &address, change).await.unwrap_err().to_string();
    assert!(refused.contains("several classes or none"), "{refused}");
    let first: Snapshot = client.post(&path::dataset(dataset.id, "/snapshots"), &()).await?;
    assert_eq!(first.labelling, Labelling::AnyClasses);

    // What is learned follows from the dataset.
    let overrides = ["train.epochs=12", "train.best_by=val/f1/stripes", "optimizer.lr=0.003"].map(str::to_owned);
    let start = StartRun { dataset: dataset.name.clone(), overrides: overrides.to_vec(), ..StartRun::default() };
    let run = client.end_of(&client.post(path::RUNS, &start).await?).await?;
    let RunDetail { run, .. } = run;
    assert_eq!(run.status, RunStatus::Finished, "{:?}", run.reason);
    assert_eq!(run.params["train.loss"], "binary-cross-entropy");
    assert!(
        run.metrics["val/micro_f1"].last > Some(0.9) && run.metrics.contains_key("val/f1/disc"),
        "{:?}",
        run.metrics
    );
    assert!(!run.metrics.contains_key("val/top5"));

    // Review: the figures, and each count leads to its images.
    let evaluation: Evaluation = client.get::<Vec<Evaluation>>(path::EVALUATIONS).await?.remove(0);
    let scores: Option<Scores> = client.get(&path::evaluation(evaluation.id, "/scores")).await?;
    let scores = scores.expect("labelled images");
    assert!(scores.labelling == Labelling::AnyClasses && scores.top5.is_none());
    assert!(scores.average_precision.expect("positives") > 0.95 && scores.macro_f1.value > 0.9, "{scores:?}");
    assert_eq!(Some(scores.micro_f1), evaluation.confusion.micro_f1());
    for class in 0..CLASSES.len() {
        let decisions = evaluation.confusion.decisions(class);
        for (query, count) in [
            (format!("label={class}&predicted={class}"), decisions.true_positives),
            (format!("label={class}&predicted_without={class}"), decisions.false_negatives),
            (format!("label_without={class}&predicted={class}"), decisions.false_positives),
        ] {
            let address = path::evaluation(evaluation.id, &format!("/predictions?{query}"));
            assert_eq!(client.get::<PredictionPage>(&address).await?.total, count, "{query}");
        }
    }

    // Prediction says each class by itself; a model without its workspace is checked by the same rules.
    let file = workspace.folder().join("0000.png").display().to_string();
    let request = PredictFiles { paths: vec![file], ..PredictFiles::default() };
    let predicted: Vec<FilePrediction> = client.post(&path::run(run.id, "/predict-files"), &request).await?;
    assert!(predicted[0].classes.iter().all(|class| class.is_predicted == (class.probability > 0.5)));
    client.door.close().await;
    let specification = "images = \"shapes.csv\"\n[minimum]\naccuracy = 0.7\nmacro_f1 = 0.9\nrecall = { disc = 0.8 }\n[invariance]\nbrightness = { by = 0.05, minimum = 0.7 }\n";
    std::fs::write(workspace.folder().join("spec.toml"), specification)?;
    assert!(workspace.assay(&["export", &run.id.to_string(), "model"]).status.success());
    let checked = workspace.assay(&["check", "model", "--spec", "spec.toml"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let csv = workspace.assay(&["predict", "--model", &run.id.to_string(), "--format", "csv", "0000.png", "0001.png"]);
    let csv = String::from_utf8_lossy(&csv.stdout).into_owned();
    assert_eq!(csv.lines().next(), Some("image,labels,cross,disc,frame,stripes"), "{csv}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_of_one_class_an_image_may_have_several_from_then_on() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    client.import_digits().await?;
    let dataset: Dataset = client.get::<Vec<Dataset>>(path::DATASETS).await?.remove(0);
    let page: SamplePage = client.get(&path::dataset(dataset.id, "/samples?limit=1")).await?;
    let sample = page.samples[0].id;
    let refused = label(&client, sample, LabelChange::Add(ClassId(7))).await.unwrap_err().to_string();
    assert!(refused.contains("has one class"), "{refused}");
    let address = path::dataset(dataset.id, "");
    let change = |labelling| serde_json::to_vec(&DatasetChange { labelling: Some(labelling), ..Default::default() });
    let before: Snapshot = client.post(&path::dataset(dataset.id, "/snapshots"), &()).await?;
    let changed: Dataset = client.send(http::Method::PATCH, &address, change(Labelling::AnyClasses)?).await?;
    assert_eq!(changed.labelling, Labelling::AnyClasses);
    let both = label(&client, sample, LabelChange::Add(ClassId(7))).await?;
    assert_eq!(both.after.map(|label| label.classes().len()), Some(2));
    let after: Snapshot = client.post(&path::dataset(dataset.id, "/snapshots"), &()).await?;
    assert!(after.labelling != before.labelling && after.hash != before.hash);
    let _: LabelEdit =
        client.post(&path::dataset(dataset.id, "/undo"), &PersonRequest { person: "ann".into() }).await?;
    let back: Dataset = client.send(http::Method::PATCH, &address, change(Labelling::OneClass)?).await?;
    let same: Snapshot = client.post(&path::dataset(dataset.id, "/snapshots"), &()).await?;
    assert!(back.labelling == Labelling::OneClass && same.id == before.id);
    // What was undone does not come back where it may not be.
    let redone: Result<LabelEdit> =
        client.post(&path::dataset(dataset.id, "/redo"), &PersonRequest { person: "ann".into() }).await;
    assert!(redone.unwrap_err().to_string().contains("has one class"));

    // One class an image is learned by binary cross-entropy too, where that is asked for.
    let overrides = ["train.epochs=2", "train.loss=binary-cross-entropy"].map(str::to_owned);
    let start = StartRun { dataset: dataset.name.clone(), overrides: overrides.to_vec(), ..StartRun::default() };
    let run = client.end_of(&client.post(path::RUNS, &start).await?).await?.run;
    assert_eq!(run.status, RunStatus::Finished, "{:?}", run.reason);
    let overrides = ["train.best_by=val/f1/ten".to_owned()];
    let start = StartRun { dataset: dataset.name, overrides: overrides.to_vec(), ..StartRun::default() };
    let refused: Result<assay_protocol::domain::entity::Run> = client.post(path::RUNS, &start).await;
    assert!(refused.unwrap_err().to_string().contains("no such class"));
    Ok(())
}
