//! Tests of the filters and orders of searches.

use super::*;

/// Expects each search to be refused, with a part of the message.
async fn are_refused(client: &Client, method: Method, address: &str, searches: &[(Value, &str)]) {
    for (body, part) in searches {
        let (status, why) = match method {
            Method::GET => {
                let query = form_urlencoded(body);
                ask(client, Method::GET, &format!("{address}?{query}"), &Value::Null).await
            }
            _ => ask(client, method.clone(), address, body).await,
        };
        assert_eq!((status, &why["error_code"]), (400, &json!("INVALID_PARAMETER_VALUE")), "{address} {body}: {why}");
        assert!(why["message"].as_str().is_some_and(|message| message.contains(part)), "{address} {body}: {why}");
    }
}

/// The fields of a body as a query.
fn form_urlencoded(body: &Value) -> String {
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let fields = body.as_object().expect("an object").iter();
    fields
        .map(|(name, value)| format!("{name}={}", encoded(value.as_str().expect("a text"))))
        .collect::<Vec<_>>()
        .join("&")
}

const NUMERIC: &str = "Expected numeric value type for";
const QUOTED: &str = "Expected a quoted string value for";
const UNQUOTED: &str = "Parameter value is either not quoted";
const COMPARATOR: &str = "Invalid comparator";

#[tokio::test(flavor = "multi_thread")]
async fn a_search_of_runs_compares_numbers_with_numbers_and_texts_with_texts() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let filters = [
        ("metrics.m != nan", UNQUOTED),
        ("metrics.m < inf", UNQUOTED),
        ("metrics.m = -Infinity", UNQUOTED),
        ("metrics.m > 'a'", NUMERIC),
        ("metrics.m IN ('1')", NUMERIC),
        ("attributes.start_time > '0'", NUMERIC),
        ("params.p = 1", QUOTED),
        ("tags.t = 1", QUOTED),
        ("run_name = 1", QUOTED),
        ("params.p > '0.05'", COMPARATOR),
        ("tags.t <= 'x'", COMPARATOR),
        ("params.p IN ('1')", COMPARATOR),
        ("tags.t NOT IN ('x')", COMPARATOR),
        ("status > 'A'", COMPARATOR),
        ("run_id >= 'x'", COMPARATOR),
        ("dataset.name > 'a'", COMPARATOR),
    ];
    let searches = filters.map(|(filter, part)| (json!({ "experiment_ids": ["0"], "filter": filter }), part));
    are_refused(&client, Method::POST, "runs/search", &searches).await;
    for filter in ["metrics.m != -.5e1", "status IN ('RUNNING')", "params.p IS NULL AND tags.t LIKE '%'"] {
        post(&client, "runs/search", json!({ "experiment_ids": ["0"], "filter": filter })).await;
    }
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_of_experiments_refuses_what_no_experiment_can_have() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let filters = [
        ("creation_time > '0'", NUMERIC),
        ("creation_time LIKE '0'", NUMERIC),
        ("name = 5", QUOTED),
        ("name > 'a'", COMPARATOR),
        ("name IN ('Default')", COMPARATOR),
        ("tags.t = 1", QUOTED),
        ("tags.t > 'a'", COMPARATOR),
        ("experiment_id = '0'", "Invalid attribute key 'experiment_id'"),
    ];
    let searches = filters.map(|(filter, part)| (json!({ "filter": filter, "max_results": 5 }), part));
    are_refused(&client, Method::POST, "experiments/search", &searches).await;
    let orders = [(json!({ "order_by": ["tags.t"], "max_results": 5 }), "Invalid attribute key 't'")];
    are_refused(&client, Method::POST, "experiments/search", &orders).await;
    for asked in
        [json!({ "filter": "creation_time >= 0 AND name ILIKE 'def%'" }), json!({ "order_by": ["experiment_id"] })]
    {
        let found = post(&client, "experiments/search", asked).await;
        assert_eq!(found["experiments"].as_array().map(Vec::len), Some(1));
    }
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_of_models_refuse_values_of_another_type_and_unknown_columns() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let of_models = [("name = 5", QUOTED), ("tags.t = 1", QUOTED)];
    let of_versions =
        [("name = 5", QUOTED), ("version_number = '1'", NUMERIC), ("run_id = 1", QUOTED), ("tags.t = 1", QUOTED)];
    let of = |(filter, part): (&str, &'static str)| (json!({ "filter": filter }), part);
    are_refused(&client, Method::GET, "registered-models/search", &of_models.map(of)).await;
    are_refused(&client, Method::GET, "model-versions/search", &of_versions.map(of)).await;

    let of_logged = [
        ("nosuch = 'a'", "Invalid attribute key 'nosuch'"),
        ("metrics.x > 'a'", NUMERIC),
        ("creation_timestamp = '1'", NUMERIC),
        ("params.p = 1", QUOTED),
        ("name > 'a'", COMPARATOR),
    ];
    let searches = of_logged.map(|(filter, part)| (json!({ "experiment_ids": ["0"], "filter": filter }), part));
    are_refused(&client, Method::POST, "logged-models/search", &searches).await;
    let order = |field: &str| json!({ "experiment_ids": ["0"], "order_by": [{ "field_name": field }] });
    let orders = ["nosuch", "params.p"].map(|field| (order(field), "Invalid order by field name"));
    are_refused(&client, Method::POST, "logged-models/search", &orders).await;
    for field in ["name", "model_type", "creation_time", "last_updated_timestamp", "metrics.x"] {
        post(&client, "logged-models/search", order(field)).await;
    }
    client.door.close().await;
    Ok(())
}
