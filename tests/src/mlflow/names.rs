//! Names of runs, and of what a request is about.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_name_never_replaces_another_and_a_new_run_gets_one() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let name_tag = |name: &str| json!([{ "key": "mlflow.runName", "value": name }]);
    for (name, tag, kept) in
        [("", "", None), ("  ", " ", None), ("given", "", Some("given")), ("", "tagged", Some("tagged"))]
    {
        let asked = json!({ "experiment_id": "0", "run_name": name, "tags": name_tag(tag) });
        let run = post(&client, "runs/create", asked).await;
        let info = &run["run"]["info"];
        let first = info["run_name"].as_str().expect("a name").to_owned();
        match kept {
            Some(kept) => assert_eq!(first, kept),
            None => assert_eq!(first.split('-').count(), 3, "made up: {first:?}"),
        }
        let uid = info["run_id"].as_str().expect("an id");
        for empty in ["", "  "] {
            let tag = json!({ "run_id": uid, "key": "mlflow.runName", "value": empty });
            post(&client, "runs/set-tag", tag).await;
            post(&client, "runs/log-batch", json!({ "run_id": uid, "tags": name_tag(empty) })).await;
            post(&client, "runs/update", json!({ "run_id": uid, "run_name": empty })).await;
        }
        let told = get(&client, &format!("runs/get?run_id={uid}")).await;
        assert_eq!(told["run"]["info"]["run_name"], json!(first));
    }
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_is_not_there_is_missed_by_the_id_that_the_client_knows() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let run = new_run(&client, "0").await;
    let gone = json!({ "run_id": run, "key": "nosuch" });
    let (status, why) = ask(&client, Method::POST, "runs/delete-tag", &gone).await;
    assert_eq!(status, 404);
    assert_eq!(why["message"], json!(format!("No tag with name: nosuch in run with id {run}")));
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_aliases_are_refused_in_either_case() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    post(&client, "registered-models/create", json!({ "name": "m" })).await;
    let version = json!({ "name": "m", "source": "mlflow-artifacts:/0/run/artifacts/model" });
    post(&client, "model-versions/create", version).await;
    for alias in ["latest", "LATEST", "Latest", "v1", "V1", "v99999999999", "7"] {
        let asked = json!({ "name": "m", "alias": alias, "version": "1" });
        let (status, why) = ask(&client, Method::POST, "registered-models/alias", &asked).await;
        assert_eq!((status, &why["error_code"]), (400, &json!("INVALID_PARAMETER_VALUE")), "{alias}");
    }
    for alias in ["v", "V1a", "champion"] {
        post(&client, "registered-models/alias", json!({ "name": "m", "alias": alias, "version": "1" })).await;
    }
    client.door.close().await;
    Ok(())
}
