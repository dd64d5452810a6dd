//! `kill -9` in the middle of training and of labeling: nothing that was acknowledged is lost.

use crate::harness::{Workspace, digits, kill, until};
use anyhow::Result;
use assay_protocol::domain::entity::{Dataset, LabelEdit};
use assay_protocol::domain::{ClassId, Label, LabelChange, RunStatus};
use assay_protocol::{About, EventPage, EventsQuery, LabelRequest, RunDetail, SampleDetail, SamplePage, path};
use std::process::Stdio;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_training_is_crashed_keeps_its_points_and_resumes() -> Result<()> {
    let workspace = Workspace::new();
    assert!(workspace.assay(&["import", digits().to_str().expect("a path")]).status.success());
    let mut training = workspace
        .command(&["train", "train.epochs=12", "train.batch_size=32"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // A second process looks on through the first one's socket.
    let before: RunDetail = until("a checkpoint", async || {
        let output = workspace.assay(&["--json", "show", "1"]);
        let detail: RunDetail = serde_json::from_slice(&output.stdout).ok()?;
        (detail.checkpoints.len() == 2 && detail.run.metrics["val/loss"].count >= 2).then_some(detail)
    })
    .await?;
    assert_eq!(before.run.status, RunStatus::Running);
    kill(&mut training);

    let crashed: RunDetail = workspace.json(&["show", "1"]);
    assert_eq!(crashed.run.status, RunStatus::Crashed);
    let points = |detail: &RunDetail| detail.run.metrics["train/loss"].count;
    assert!(points(&crashed) >= points(&before), "points were lost");
    assert!(crashed.run.reason.as_deref().is_some_and(|reason| reason.contains("resume")));

    let resumed = workspace.assay(&["train", "--resume", "1"]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    let finished: RunDetail = workspace.json(&["show", "1"]);
    assert_eq!(finished.run.status, RunStatus::Finished);
    assert_eq!(finished.run.metrics["epoch"].last, Some(12.0));
    assert_eq!(finished.run.progress.done, finished.run.progress.total);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_in_the_queue_of_a_killed_process_is_done_when_it_is_resumed() -> Result<()> {
    let workspace = Workspace::new();
    assert!(workspace.assay(&["import", digits().to_str().expect("a path")]).status.success());
    let train = |name: &str, epochs: &str| {
        let mut command = workspace.command(&["train", "--name", name, epochs]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    };
    let status_of = |run: &str| {
        let output = workspace.assay(&["--json", "show", run]);
        Some(serde_json::from_slice::<RunDetail>(&output.stdout).ok()?.run.status)
    };
    let mut owner = train("first", "train.epochs=1000")?;
    until("the first works", async || (status_of("first")? == RunStatus::Running).then_some(())).await?;
    let mut guest = train("second", "train.epochs=1")?;
    until("the second waits", async || (status_of("second")? == RunStatus::Queued).then_some(())).await?;
    kill(&mut guest);
    kill(&mut owner);
    assert_eq!(status_of("second"), Some(RunStatus::Queued));
    let resumed = workspace.assay(&["train", "--resume", "second"]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert_eq!(status_of("second"), Some(RunStatus::Finished));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_keeps_every_acknowledged_label() -> Result<()> {
    let workspace = Workspace::new();
    assert!(workspace.assay(&["import", digits().to_str().expect("a path")]).status.success());
    let mut serving = workspace.serve();
    let guest = workspace.open().await;
    assert!(!guest.door.is_owner().await);
    let dataset = guest.get::<Vec<Dataset>>(path::DATASETS).await?[0].id;
    let page: SamplePage = guest.get(&path::dataset(dataset, "/samples?limit=60")).await?;
    let nine = Label::one(ClassId(9));
    let mut acknowledged = Vec::new();
    for (number, sample) in page.samples.iter().enumerate() {
        if number == 40 {
            kill(&mut serving.child);
        }
        let request =
            LabelRequest { change: LabelChange::Set(Some(nine.clone())), person: "ann".into(), proposed_by: None };
        // After the kill the guest becomes the owner and labeling goes on.
        let edit: LabelEdit = guest.post(&path::sample(sample.id, "/label"), &request).await?;
        acknowledged.push(edit);
    }
    assert!(guest.door.is_owner().await);
    for edit in acknowledged {
        let detail: SampleDetail = guest.get(&path::sample(edit.sample, "")).await?;
        assert_eq!(detail.sample.label.as_ref(), Some(&nine));
        assert_eq!(detail.history.last(), Some(&edit));
    }
    guest.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_at_any_moment_is_mended_by_the_next_one() -> Result<()> {
    const COUNT: u32 = 40;
    let workspace = Workspace::new();
    let images = workspace.folder().join("images");
    std::fs::create_dir(&images)?;
    let picture = |number: u32| -> Result<Vec<u8>> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let color = image::Rgb([number as u8, (number >> 8) as u8, 7]);
        image::RgbImage::from_pixel(4, 4, color).write_to(&mut bytes, image::ImageFormat::Png)?;
        Ok(bytes.into_inner())
    };
    let name = |place: u32| images.join(format!("{place}.png"));
    let mut shown: Vec<u32> = (0..COUNT).collect();
    for number in 0..COUNT {
        std::fs::write(name(number), picture(number)?)?;
    }
    let begin = || workspace.command(&["import", "images"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    // Killed while the dataset is created; the next import continues.
    for millis in [1, 20, 40, 60] {
        let mut import = begin()?;
        tokio::time::sleep(Duration::from_millis(millis)).await;
        kill(&mut import);
    }
    assert!(workspace.assay(&["import", "images"]).status.success());
    let page: SamplePage = workspace.json(&["data", "samples", "images", "--limit", "1000"]);
    assert_eq!(page.samples.len(), COUNT as usize);
    let hashes: Vec<(String, assay_protocol::domain::SampleId)> =
        page.samples.iter().map(|sample| (sample.hash.clone(), sample.id)).collect();
    for millis in [1, 10, 20, 30, 40, 50, 60, 80] {
        // Renumber all files, and kill somewhere in between.
        shown.rotate_right(1);
        for (place, number) in shown.iter().enumerate() {
            std::fs::write(name(place as u32), picture(*number)?)?;
        }
        let mut import = begin()?;
        tokio::time::sleep(Duration::from_millis(millis)).await;
        kill(&mut import);
    }
    let output = workspace.assay(&["import", "images"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page: SamplePage = workspace.json(&["data", "samples", "images", "--limit", "1000"]);
    let mut now: Vec<(String, assay_protocol::domain::SampleId)> =
        page.samples.iter().map(|sample| (sample.hash.clone(), sample.id)).collect();
    let mut before = hashes;
    now.sort();
    before.sort();
    assert_eq!(now, before, "each sample is still its picture");
    for sample in &page.samples {
        assert_eq!(sample.state(), None);
        let file = std::fs::read(images.join(&sample.path))?;
        let place: usize = sample.path.trim_end_matches(".png").parse()?;
        assert_eq!(file, picture(shown[place])?);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_workspace_goes_on_with_its_training_when_it_is_opened_again() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    client.import_digits().await?;
    let request = assay_protocol::StartRun {
        dataset: "digits".into(),
        overrides: vec!["train.epochs=6".into()],
        ..Default::default()
    };
    let run: assay_protocol::domain::entity::Run = client.post(path::RUNS, &request).await?;
    until("training is under way", async || {
        let detail: RunDetail = client.get(&path::run(run.id, "")).await.ok()?;
        (detail.run.progress.done > 5).then_some(())
    })
    .await?;
    client.door.close().await;
    let client = workspace.open().await;
    let detail = client.end_of(&run).await?;
    assert_eq!((detail.run.status, detail.run.metrics["epoch"].last), (RunStatus::Finished, Some(6.0)));
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_closes_does_not_wait_for_its_own_long_polls() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let about: About = client.get(path::ABOUT).await?;
    let query = EventsQuery { after: about.last_event.0, wait_secs: 60.0 };
    let address = format!("{}{}", path::EVENTS, query.to_query());
    let poll = client.get::<EventPage>(&address);
    tokio::pin!(poll);
    tokio::select! {
        biased;
        _ = &mut poll => panic!("there is nothing new"),
        () = std::future::ready(()) => {} // it has been asked for
    }
    tokio::time::timeout(Duration::from_secs(30), client.door.close()).await?;
    let page = tokio::time::timeout(Duration::from_secs(30), poll).await??;
    assert!(page.events.is_empty());
    Ok(())
}
