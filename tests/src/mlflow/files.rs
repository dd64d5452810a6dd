//! The files of runs.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn files_are_kept_with_their_run_and_nothing_outside_is_touched() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let run = new_run(&client, "0").await;
    let root = "/api/2.0/mlflow-artifacts/artifacts";
    let upload =
        async |path: &str, bytes: &[u8]| raw(&client, Method::PUT, &format!("{root}/{path}"), bytes.to_vec()).await;
    assert_eq!(upload(&format!("0/{run}/artifacts/model/MLmodel"), b"flavors: {}").await.0, 200);
    assert_eq!(upload(&format!("0/{run}/artifacts/note.txt"), b"hello").await.0, 200);
    assert_eq!(upload("0/models/m-1/artifacts/weights.bin", &[7; 100_000]).await.0, 200);
    let listed = get(&client, &format!("artifacts/list?run_id={run}")).await;
    let expected =
        json!([{ "path": "model", "is_dir": true }, { "path": "note.txt", "is_dir": false, "file_size": 5 }]);
    assert_eq!(listed["files"], expected);
    let found: RunsReply = client.get(path::RUNS).await?;
    let detail: RunDetail = client.get(&path::run(found.runs[0].id, "")).await?;
    let paths: Vec<&str> = detail.artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
    assert_eq!(paths, ["model/MLmodel", "note.txt"]);
    let request = Request::builder().uri(format!("{root}/0/models/m-1/artifacts/weights.bin")).body(Vec::new())?;
    let response = client.door.call(request).await;
    assert_eq!((response.body().len(), response.headers()["x-content-type-options"].to_str()?), (100_000, "nosniff"));

    assert_eq!(upload(&format!("0/{run}/artifacts"), b"x").await.0, 400, "a folder is no file");
    for path in ["..%2f..%2fescaped", "0/..%2f..%2f..%2fescaped", "%2fetc%2fpasswd", "a%5c..%5cb", "a%00b"] {
        let (status, why) = upload(path, b"x").await;
        assert_eq!((status, &why["message"]), (400, &json!("Invalid path")), "{path}");
    }
    let (status, why) =
        ask(&client, Method::GET, &format!("artifacts/list?run_id={run}&path=../.."), &Value::Null).await;
    assert_eq!((status, &why["message"]), (400, &json!("Invalid path")));
    assert!(!workspace.folder().join("escaped").exists());
    assert_eq!(raw(&client, Method::DELETE, &format!("{root}/0/{run}/artifacts/model"), Vec::new()).await.0, 200);
    let listed = get(&client, &format!("artifacts/list?run_id={run}")).await;
    assert_eq!(listed["files"].as_array().map(Vec::len), Some(1));
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_replaced_or_removed_takes_no_room_unless_another_has_its_contents() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let run = new_run(&client, "0").await;
    let root = "/api/2.0/mlflow-artifacts/artifacts";
    let of_run = format!("{root}/0/{run}/artifacts/weights.bin");
    let of_model = format!("{root}/0/models/m-1/artifacts/weights.bin");
    let blobs = || {
        let files = walkdir::WalkDir::new(workspace.folder().join(".assay/blobs")).into_iter().flatten();
        files.filter(|entry| entry.file_type().is_file()).count()
    };
    let put = async |path: &str, bytes: &[u8]| raw(&client, Method::PUT, path, bytes.to_vec()).await.0;
    let before = blobs();
    assert_eq!(
        [put(&of_run, b"one").await, put(&of_model, b"one").await, blobs() as u16 - before as u16],
        [200, 200, 1]
    );
    assert_eq!([put(&of_run, b"two").await, put(&of_model, b"three").await], [200, 200]);
    assert_eq!(blobs() - before, 2);
    assert_eq!(raw(&client, Method::DELETE, &of_run, Vec::new()).await.0, 200);
    assert_eq!(blobs() - before, 1);
    // All files of all models are no file.
    for path in [".", "%2E", "./."] {
        assert_eq!(raw(&client, Method::DELETE, &format!("{root}/{path}"), Vec::new()).await.0, 400, "{path}");
        assert_eq!(put(&format!("{root}/{path}"), b"x").await, 400, "{path}");
    }
    let request = Request::builder().uri(&of_model).body(Vec::new())?;
    assert_eq!(client.door.call(request).await.body(), b"three");
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_the_contents_of_a_snapshot_is_removed_without_it() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let images = workspace.folder().join("images");
    for (class, shade) in [("dark", 10), ("light", 240)] {
        std::fs::create_dir_all(images.join(class))?;
        for number in 0..4 {
            let path = images.join(class).join(format!("{number}.png"));
            image::RgbImage::from_pixel(8, 8, image::Rgb([shade + number; 3])).save(path)?;
        }
    }
    let request = ImportRequest { source: images.display().to_string(), ..ImportRequest::default() };
    client.finish(client.post(path::DATASETS, &request).await?).await?;
    let overrides = ["data.image_size=8", "model.width=4", "train.epochs=1"].map(str::to_owned).to_vec();
    let run: Run =
        client.post(path::RUNS, &StartRun { dataset: "images".into(), overrides, ..StartRun::default() }).await?;
    let ended = client.end_of(&run).await?;
    let snapshot = ended.record.and_then(|record| record.data).expect("a snapshot").snapshot;
    let blob = workspace.folder().join(".assay/blobs").join(&snapshot[..2]).join(&snapshot);
    let contents = std::fs::read(&blob)?;
    let address = "/api/2.0/mlflow-artifacts/artifacts/0/models/m-1/artifacts/copy.json";
    assert_eq!(raw(&client, Method::PUT, address, contents).await.0, 200);
    assert_eq!(raw(&client, Method::DELETE, address, Vec::new()).await.0, 200);
    assert!(blob.exists());

    // Its life is known here: a client that adds figures to it does not end it again.
    post(&client, "runs/update", json!({ "run_id": run.uid, "status": "RUNNING", "end_time": 1 })).await;
    let after: RunDetail = client.get(&path::run(run.id, "")).await?;
    assert_eq!((after.run.status, after.run.ended), (ended.run.status, ended.run.ended));
    client.door.close().await;
    Ok(())
}

/// Sends a request over TCP and returns the status; none where the server is gone.

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_no_folder_too() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let run = new_run(&client, "0").await;
    for root in [format!("0/{run}/artifacts"), "0/models/m-1/artifacts".to_owned()] {
        let put = async |path: &str| {
            raw(&client, Method::PUT, &format!("/api/2.0/mlflow-artifacts/artifacts/{root}/{path}"), b"x".to_vec())
                .await
        };
        for (first, second) in [("f.txt", "f.txt/inner.txt"), ("d/inner.txt", "d"), ("a/b/c", "a/b"), ("e", "e/f/g/h")]
        {
            assert_eq!(put(first).await.0, 200, "{first}");
            let (status, why) = put(second).await;
            assert_eq!(status, 400, "{second}: {why}");
            assert!(why["message"].as_str().is_some_and(|why| why.contains("cannot be a file")), "{why}");
            assert_eq!(put(first).await.0, 200, "it may be replaced still");
        }
        // A common prefix does not make a folder.
        for path in ["f.txt2", "dd", "d-", "a/bb"] {
            assert_eq!(put(path).await.0, 200, "{path}");
        }
    }
    let listed = get(&client, &format!("artifacts/list?run_id={run}")).await;
    let files: Vec<(&str, bool)> = listed["files"]
        .as_array()
        .expect("files")
        .iter()
        .filter_map(|file| Some((file["path"].as_str()?, file["is_dir"].as_bool()?)))
        .collect();
    assert_eq!(
        files,
        [("a", true), ("d", true), ("d-", false), ("dd", false), ("e", false), ("f.txt", false), ("f.txt2", false)]
    );
    client.door.close().await;
    Ok(())
}
