//! The whole loop through the API: import, label, train, compare, review, predict, export.

use crate::harness::{Workspace, digits};
use anyhow::Result;
use assay_protocol::domain::entity::{Author, Dataset, Evaluation, LabelEdit, Run};
use assay_protocol::domain::{ClassId, Label, LabelChange, RunStatus, Split};
use assay_protocol::{
    Comparison, LabelRequest, ModelCard, PersonRequest, PredictionPage, PredictionReply, RunsReply, SampleDetail,
    SamplePage, SeriesReply, StartRun, path,
};

#[tokio::test(flavor = "multi_thread")]
async fn from_a_folder_to_a_reviewed_and_exported_model() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    client.import_digits().await?;
    let datasets: Vec<Dataset> = client.get(path::DATASETS).await?;
    let dataset = &datasets[0];
    assert_eq!((dataset.samples, dataset.labeled, dataset.problems), (1797, 1797, 0));
    assert_eq!(dataset.classes, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);

    // Label: set, undo, redo; the history keeps everything.
    let page: SamplePage = client.get(&path::dataset(dataset.id, "/samples?limit=1&split=train")).await?;
    let sample = &page.samples[0];
    let seven = Label::one(ClassId(7));
    let label = |change| LabelRequest { change, person: "ann".into(), proposed_by: None };
    let address = path::sample(sample.id, "/label");
    let edit: LabelEdit = client.post(&address, &label(LabelChange::Set(Some(seven.clone())))).await?;
    assert_eq!((&edit.before, &edit.after), (&sample.label, &Some(seven.clone())));
    let person = PersonRequest { person: "ann".into() };
    let undone: LabelEdit = client.post(&path::dataset(dataset.id, "/undo"), &person).await?;
    assert_eq!((&undone.after, undone.undoes), (&sample.label, Some(edit.id)));
    let redone: LabelEdit = client.post(&path::dataset(dataset.id, "/redo"), &person).await?;
    assert_eq!(redone.after, Some(seven));
    let _: LabelEdit = client.post(&path::dataset(dataset.id, "/undo"), &person).await?;
    let nothing: Result<LabelEdit> = client.post(&path::dataset(dataset.id, "/undo"), &person).await;
    assert!(nothing.unwrap_err().to_string().contains("nothing to undo"));
    let detail: SampleDetail = client.get(&path::sample(sample.id, "")).await?;
    assert_eq!(detail.sample.label, sample.label);
    assert_eq!(detail.history.len(), 5);
    assert_eq!(detail.history[0].author, Author::Import);

    // Train two runs that differ in one thing.
    let start = |lr: &str| StartRun {
        dataset: "digits".into(),
        overrides: vec!["train.epochs=4".into(), format!("optimizer.lr={lr}")],
        ..StartRun::default()
    };
    let first: Run = client.post(path::RUNS, &start("0.003")).await?;
    let second: Run = client.post(path::RUNS, &start("0.001")).await?;
    assert_eq!(second.status, RunStatus::Queued);
    let first = client.end_of(&first).await?;
    let second = client.end_of(&second).await?;
    assert_eq!((first.run.status, second.run.status), (RunStatus::Finished, RunStatus::Finished));
    let record = first.record.as_ref().expect("a record");
    assert_eq!(record.data.as_ref().map(|data| data.samples[0]), Some((Split::Train, 1257)));
    assert!(record.config.contains("image_size = 8") && !record.machine.cpu.is_empty());
    assert_eq!(first.run.metrics["val/loss"].count, 4);
    assert_eq!(first.checkpoints.len(), 2);

    // Compare: just what differs.
    let runs = format!("{}?runs={},{}", path::COMPARE, first.run.id, second.run.id);
    let comparison: Comparison = client.get(&runs).await?;
    let config: Vec<&str> = comparison
        .differences
        .iter()
        .filter(|line| line.section == "config" && line.differs)
        .map(|line| line.key.as_str())
        .collect();
    assert_eq!(config, ["optimizer.lr"]);
    let chart = format!("{}?runs={},{}&key=val/loss", path::CHART, first.run.id, second.run.id);
    let chart = client.door.call(http::Request::get(chart).body(Vec::new())?).await;
    assert!(String::from_utf8_lossy(chart.body()).starts_with("<svg"));
    let series: Vec<SeriesReply> =
        client.get(&format!("{}?runs={}&key=train/loss", path::SERIES, first.run.id)).await?;
    assert!(series[0].buckets.len() > 5);
    let found: RunsReply = client.get(&format!("{}?filter=optimizer.lr%3E0.002", path::RUNS)).await?;
    assert_eq!(found.runs.iter().map(|run| run.id).collect::<Vec<_>>(), [first.run.id]);

    // Review: the worst first, and the cell of the matrix leads to its samples.
    let evaluation: &Evaluation = &first.evaluations[0];
    assert_eq!((evaluation.split, evaluation.confusion.total()), (Split::Test, 361));
    let page: PredictionPage = client.get(&path::evaluation(evaluation.id, "/predictions?wrong=true")).await?;
    assert!(page.predictions.windows(2).all(|pair| pair[0].loss >= pair[1].loss));
    let worst = &page.predictions[0];
    let of = |label: &Label| label.only().expect("one class");
    let (label, predicted) = (of(worst.label.as_ref().expect("a label")), of(&worst.predicted));
    let cell = format!("/predictions?label={label}&predicted={predicted}");
    let cell: PredictionPage = client.get(&path::evaluation(evaluation.id, &cell)).await?;
    assert!(cell.predictions.iter().all(|found| found.label == worst.label && found.predicted == worst.predicted));

    // Predict the worst sample's own file: the same answer as in the review.
    let image = client.door.call(http::Request::get(path::sample(worst.sample, "/image")).body(Vec::new())?).await;
    let reply: PredictionReply =
        client.send(http::Method::POST, &path::run(first.run.id, "/predict"), image.into_body()).await?;
    assert_eq!(reply.classes[0].class, worst.predicted.names(&evaluation.classes));
    assert!((reply.classes[0].probability - worst.probabilities[predicted.0 as usize]).abs() < 1e-4);
    let models: Vec<ModelCard> = client.get(path::MODELS).await?;
    assert_eq!(models.len(), 4);
    let files: Vec<String> = client.get(&path::run(first.run.id, "/export")).await?;
    assert_eq!(files, ["model.safetensors", "config.toml", "classes.txt", "record.json", "model.onnx", "README.md"]);
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_record_gives_the_same_numbers_whatever_the_threads_and_the_cache() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    client.import_digits().await?;
    let cache = workspace.folder().join(".assay/cache/decoded");
    let train = async |threads: usize| -> Result<_> {
        let overrides =
            vec!["train.epochs=2".into(), "augment.crop=0.6".into(), format!("train.loader_threads={threads}")];
        let run: Run =
            client.post(path::RUNS, &StartRun { dataset: "digits".into(), overrides, ..StartRun::default() }).await?;
        let metrics = client.end_of(&run).await?.run.metrics;
        Ok((metrics["train/loss"].last, metrics["val/loss"].last))
    };
    let decoded = train(1).await?;
    let shards: Vec<_> = walkdir::WalkDir::new(&cache).into_iter().flatten().filter(|e| e.path().is_file()).collect();
    assert_eq!(shards.len(), 2, "one of whole images, one of those that crops are taken from");
    assert_eq!(train(3).await?, decoded, "from the cache");
    for shard in &shards {
        let bytes = std::fs::read(shard.path())?;
        std::fs::write(shard.path(), bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>())?;
    }
    assert_eq!(train(2).await?, decoded, "the cache is damaged");
    std::fs::remove_dir_all(&cache)?;
    assert_eq!(train(2).await?, decoded, "the cache is gone");
    std::fs::remove_dir_all(&cache)?;
    std::fs::write(&cache, "no folder can be made here")?;
    assert_eq!(train(2).await?, decoded, "there is no cache");
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn importing_again_changes_nothing_and_new_images_move_no_old_one() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let folder = workspace.folder().join("images");
    let unpacked =
        std::process::Command::new("tar").arg("xzf").arg(digits()).arg("-C").arg(workspace.folder()).status()?;
    assert!(unpacked.success());
    std::fs::create_dir(&folder)?;
    for class in ["0", "1", "2"] {
        std::fs::rename(workspace.folder().join(class), folder.join(class))?;
    }
    let held_back = std::fs::read_dir(folder.join("1"))?.take(20).map(|entry| entry.map(|entry| entry.path()));
    let held_back: Vec<_> = held_back.collect::<std::io::Result<_>>()?;
    let contents: Vec<Vec<u8>> = held_back.iter().map(std::fs::read).collect::<std::io::Result<_>>()?;
    for path in &held_back {
        std::fs::remove_file(path)?;
    }
    let request = assay_protocol::ImportRequest { source: folder.display().to_string(), ..Default::default() };
    let import = async || client.finish(client.post(path::DATASETS, &request).await?).await;
    let splits = async || -> Result<Vec<(String, Split)>> {
        let dataset = client.get::<Vec<Dataset>>(path::DATASETS).await?[0].id;
        let page: SamplePage = client.get(&path::dataset(dataset, "/samples?limit=5000")).await?;
        Ok(page.samples.into_iter().map(|sample| (sample.path, sample.split)).collect())
    };
    import().await?;
    let before = splits().await?;
    assert!(import().await?.message.starts_with("0 new, 0 changed"));
    for (path, bytes) in held_back.iter().zip(contents) {
        std::fs::write(path, bytes)?;
    }
    assert!(import().await?.message.starts_with("20 new, 0 changed"));
    let after = splits().await?;
    assert!(before.iter().all(|sample| after.contains(sample)), "an old sample changed its split");
    // A moved file is the same sample.
    std::fs::rename(&held_back[0], folder.join("1/renamed.png"))?;
    assert!(import().await?.message.starts_with("0 new, 0 changed, 0 left out, 1 moved"));
    client.door.close().await;
    Ok(())
}
