//! The registry of models, and logged models.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn versions_of_a_registered_model_keep_their_numbers_aliases_and_stages() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    post(&client, "registered-models/create", json!({ "name": "digits" })).await;
    let source = "mlflow-artifacts:/0/run/artifacts/model";
    for number in 1..=3 {
        let version = post(&client, "model-versions/create", json!({ "name": "digits", "source": source })).await;
        assert_eq!(version["model_version"]["version"], json!(number.to_string()));
    }
    post(&client, "registered-models/alias", json!({ "name": "digits", "alias": "champion", "version": "2" })).await;
    let moved = json!({ "name": "digits", "version": "3", "stage": "production", "archive_existing_versions": true });
    let moved = post(&client, "model-versions/transition-stage", moved).await;
    assert_eq!(moved["model_version"]["current_stage"], json!("Production"));
    let champion = get(&client, "registered-models/alias?name=digits&alias=champion").await;
    assert_eq!(champion["model_version"]["version"], json!("2"));
    let gone = json!({ "name": "digits", "version": "2" });
    assert_eq!(ask(&client, Method::DELETE, "model-versions/delete", &gone).await.0, 200);
    let model = get(&client, "registered-models/get?name=digits").await;
    assert_eq!(model["registered_model"]["aliases"], json!([]));
    let next = post(&client, "model-versions/create", json!({ "name": "digits", "source": source })).await;
    assert_eq!(next["model_version"]["version"], json!("4"), "numbers are never used again");
    post(&client, "registered-models/rename", json!({ "name": "digits", "new_name": "numbers" })).await;
    let found = get(&client, "model-versions/search?filter=name%3D%27numbers%27").await;
    assert_eq!(found["model_versions"].as_array().map(Vec::len), Some(3));
    // As the interface lists them.
    let cards: Vec<RegisteredCard> = client.get(path::REGISTRY).await?;
    let versions: Vec<u32> = cards[0].versions.iter().map(|version| version.version).collect();
    assert_eq!((cards.len(), cards[0].model.name.as_str(), versions), (1, "numbers", vec![4, 3, 1]));
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_version_keeps_the_files_of_its_source_and_none_names_itself() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    for name in ["a", "b"] {
        post(&client, "registered-models/create", json!({ "name": name })).await;
    }
    let itself = json!({ "name": "a", "source": "models:/a/1" });
    assert_eq!(ask(&client, Method::POST, "model-versions/create", &itself).await.0, 404);
    let logged = post(&client, "logged-models", json!({ "experiment_id": "0", "name": "net" })).await;
    let id = logged["model"]["info"]["model_id"].as_str().expect("an id");
    let first = json!({ "name": "a", "source": format!("models:/{id}"), "model_id": id });
    post(&client, "model-versions/create", first).await;
    post(&client, "model-versions/create", json!({ "name": "b", "source": "models:/a/1" })).await;
    let unknown = json!({ "name": "b", "source": "models:/a/1", "model_id": "m-unknown" });
    assert_eq!(ask(&client, Method::POST, "model-versions/create", &unknown).await.0, 404);
    let gone = json!({ "name": "a" });
    assert_eq!(ask(&client, Method::DELETE, "registered-models/delete", &gone).await.0, 200);
    let place = get(&client, "model-versions/get-download-uri?name=b&version=1").await;
    assert_eq!(place["artifact_uri"], json!(format!("mlflow-artifacts:/0/models/{id}/artifacts")));
    let found = get(&client, "model-versions/search?filter=name%3D%27b%27").await;
    assert_eq!(found["model_versions"].as_array().map(Vec::len), Some(1), "what was refused is not there");
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_of_the_registry_say_what_is_wrong_with_them() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    post(&client, "registered-models/create", json!({ "name": "RM1" })).await;
    let refused = async |address: String| {
        let (status, why) = ask(&client, Method::GET, &address, &Value::Null).await;
        assert_eq!((status, &why["error_code"]), (400, &json!("INVALID_PARAMETER_VALUE")), "{address}: {why}");
        why["message"].as_str().expect("a message").to_owned()
    };
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let list = "While parsing a list in the query, expected";
    for (what, filter, message) in [
        (
            "model-versions",
            "run_id IN (1,2,3)",
            format!("{list} string value, punctuation, or whitespace, but got different type in list"),
        ),
        ("model-versions", "run_id IN ()", format!("{list} a non-empty list of string values, but got empty list")),
        (
            "model-versions",
            "run_id IN (,)",
            format!("{list} a non-empty list of string values, but got ill-formed list"),
        ),
        ("model-versions", "run_id IN (", "Invalid clause(s) in filter string".into()),
        ("model-versions", "name IN ('a')", "Invalid comparator for attribute".into()),
        ("model-versions", "creation_timestamp > 5", "Invalid attribute key 'creation_timestamp' specified".into()),
        ("model-versions", "tags.a < 'x'", "Invalid comparator for tag".into()),
        ("registered-models", "name != something", "Parameter value is either not quoted".into()),
        ("registered-models", "run_id = 'a'", "Invalid attribute key 'run_id' specified.".into()),
        ("registered-models", "evilhax = true", "Invalid clause(s) in filter string".into()),
    ] {
        let found = refused(format!("{what}/search?filter={}", encoded(filter))).await;
        assert!(found.contains(&message), "{filter}: {found}");
    }
    for (what, order, message) in [
        ("registered-models", "creation_timestamp DESC", "Invalid order by key 'creation_timestamp' specified"),
        ("registered-models", "description", "Invalid order by key 'description' specified"),
        ("registered-models", "last_updated_timestamp DESC blah", "Invalid order_by clause"),
        ("registered-models", "timestamp&order_by=last_updated_timestamp", "`order_by` contains duplicate fields"),
        ("model-versions", "run_id DESC", "Invalid attribute key 'run_id' specified"),
        ("model-versions", "last_updated_timestamp DESC blah", "Invalid order_by clause"),
    ] {
        let found = refused(format!("{what}/search?order_by=name%20ASC&order_by={}", order.replace(' ', "%20"))).await;
        assert!(found.contains(message), "{order}: {found}");
    }
    let found = get(&client, "registered-models/search?order_by=timestamp%20DESC&order_by=name").await;
    assert_eq!(found["registered_models"].as_array().map(Vec::len), Some(1));
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_logged_models_goes_on_with_its_own_request_alone() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let other = post(&client, "experiments/create", json!({ "name": "other" })).await["experiment_id"].clone();
    for name in ["a", "b", "c"] {
        post(&client, "logged-models", json!({ "experiment_id": "0", "name": name })).await;
    }
    let first = json!({ "experiment_ids": ["0"], "max_results": 2 });
    let page = post(&client, "logged-models/search", first.clone()).await;
    let token = page["next_page_token"].as_str().expect("a token").to_owned();
    let mut next = json!({ "experiment_ids": ["0"], "max_results": 100, "page_token": token });
    let page = post(&client, "logged-models/search", next.clone()).await;
    assert_eq!((page["models"].as_array().map(Vec::len), &page["next_page_token"]), (Some(1), &Value::Null));
    for (field, value, message) in [
        ("experiment_ids", json!([other]), "Experiment IDs in the page token do not match"),
        ("order_by", json!([{ "field_name": "creation_time" }]), "Order by in the page token does not match"),
        ("filter", json!("name = 'a'"), "Filter string in the page token does not match"),
        ("page_token", json!("after-2"), "Invalid page token"),
    ] {
        let before = next[field].clone();
        next[field] = value;
        let (status, why) = ask(&client, Method::POST, "logged-models/search", &next).await;
        assert!(status == 400 && why["message"].as_str().is_some_and(|why| why.contains(message)), "{why}");
        next[field] = before;
    }
    client.door.close().await;
    Ok(())
}
