//! Hostile requests: whatever they hold, the answer is never an internal error, and what others logged stays as it was.
//! `PROPTEST_CASES=20000` makes a long run of it.

use super::{ENDPOINTS, ROOTS};
use crate::{Door, DoorOptions, Work};
use assay_protocol::path;
use axum::http::{Method, Request};
use axum::routing::MethodFilter;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use std::path::Path;
use tokio::runtime::Runtime;

/// Names of fields that endpoints read.
const FIELDS: &[&str] = &[
    "experiment_id",
    "experiment_ids",
    "name",
    "new_name",
    "artifact_location",
    "lifecycle_stage",
    "view_type",
    "filter",
    "order_by",
    "max_results",
    "page_token",
    "run_id",
    "run_uuid",
    "run_ids",
    "run_name",
    "run_view_type",
    "user_id",
    "status",
    "start_time",
    "end_time",
    "key",
    "value",
    "step",
    "timestamp",
    "metrics",
    "params",
    "tags",
    "metric_key",
    "start_step",
    "end_step",
    "path",
    "datasets",
    "dataset",
    "models",
    "model_id",
    "model_type",
    "source_run_id",
    "source_type",
    "source",
    "digest",
    "schema",
    "profile",
    "experiment_id",
    "version",
    "alias",
    "stage",
    "stages",
    "archive_existing_versions",
    "description",
    "run_link",
    "model_json",
    "tag_key",
    "artifact_directory_path",
    "inputs",
    "dataset_name",
    "ascending",
    "field_name",
    "model_uuid",
    "is_in",
];

/// Texts that mean something somewhere.
fn text() -> impl Strategy<Value = String> {
    let known = [
        "a",
        "0",
        "1",
        "2",
        "-1",
        "9223372036854775807",
        "9223372036854775808",
        "NaN",
        "-Infinity",
        "1e999",
        "true",
        "",
        "RUNNING",
        "FINISHED",
        "READY",
        "ALL",
        "ACTIVE_ONLY",
        "DELETED_ONLY",
        "Production",
        "Archived",
        "champion",
        "../../outside",
        "/etc/passwd",
        "..\\..\\x",
        "a/../../b",
        ".",
        "a//b",
        "mlflow-artifacts:/1/x",
        "file:///etc",
        "metrics.a > 1",
        "params.`a b` LIKE '%x%'",
        "tags.\"a\" ILIKE 'A'",
        "attributes.start_time DESC",
        "name = 'a'",
        "a AND b",
        "status IN ('RUNNING'",
        "run_id IN ()",
        "metrics.a > 'x' AND",
        "creation_time > 1",
        "after-1",
        "after-4294967295",
        "'; DROP TABLE runs; --",
        "\0",
        "\u{202e}evil",
        "mlflow.runName",
        "mlflow.note.content",
        "mlflow.parentRunId",
        "mlflow.datasets",
        "Default",
        "%2e%2e%2f",
        "\r\nX: y",
        "m-a",
    ];
    prop_oneof![
        8 => select(known.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => (select(vec!["x", "ü", "/", "'"]), 0..20_000usize).prop_map(|(sign, times)| sign.repeat(times)),
    ]
}

/// JSON of names that are known, of any kinds.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        6 => text().prop_map(Value::String),
        2 => any::<i64>().prop_map(|number| json!(number)),
        2 => (-2i64..4).prop_map(|number| json!(number)),
        1 => any::<f64>().prop_map(|number| json!(number)),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        let object = prop::collection::vec((select(FIELDS.to_vec()), inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::Array),
            object.prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

/// A request before it is known which ids there are.
#[derive(Clone, Debug)]
struct Hostile {
    endpoint: Index,
    method: Index,
    root: usize,
    /// What stands for the parts of a path that are open.
    part: String,
    fields: Vec<(&'static str, Value)>,
    /// Whether fields that name a run or an experiment name one that is there.
    is_known: bool,
    /// Bytes that are no JSON, instead of fields.
    bytes: Option<Vec<u8>>,
}

fn hostile() -> impl Strategy<Value = Hostile> {
    let fields = prop::collection::vec((select(FIELDS.to_vec()), value()), 0..8);
    let bytes = prop::option::weighted(0.1, prop::collection::vec(any::<u8>(), 1..60));
    (any::<Index>(), any::<Index>(), 0..2usize, text(), fields, any::<bool>(), bytes).prop_map(
        |(endpoint, method, root, part, fields, is_known, bytes)| Hostile {
            endpoint,
            method,
            root,
            part,
            fields,
            is_known,
            bytes,
        },
    )
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A workspace behind its door, with a run that no hostile request knows and one that they do.
pub(crate) struct Hunted {
    pub(crate) door: Door,
    pub(crate) runtime: Runtime,
    folder: tempfile::TempDir,
    /// Nobody may touch it.
    pub(crate) kept: String,
    /// Hostile requests may do to it what they want.
    pub(crate) run: String,
}

const POINTS: usize = 50;

impl Hunted {
    pub(crate) fn new() -> Hunted {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("outside"), "as it was").expect("a file");
        let runtime = Runtime::new().expect("a runtime");
        let options =
            DoorOptions { root: folder.path().join(".assay"), command: vec!["tests".into()], work: Work::Own };
        let door = runtime.block_on(Door::open(options)).expect("the workspace opens");
        let mut hunted = Hunted { door, runtime, folder, kept: String::new(), run: String::new() };
        // Its experiment has a number that no hostile request names.
        let experiments = ["0", "1", "2", "3", "4", "of somebody else"];
        let made = experiments.map(|name| hunted.post("experiments/create", &json!({ "name": name })));
        let experiment = &made[made.len() - 1];
        hunted.kept = hunted.make(&experiment["experiment_id"]);
        hunted.run = hunted.make(&json!("0"));
        let points: Vec<Value> =
            (0..POINTS).map(|n| json!({ "key": "a", "value": n, "timestamp": n, "step": n })).collect();
        hunted.post("runs/log-batch", &json!({ "run_id": hunted.kept, "metrics": points }));
        hunted.post("registered-models/create", &json!({ "name": "a" }));
        hunted.post(
            "model-versions/create",
            &json!({ "name": "a", "source": "mlflow-artifacts:/1/x", "run_id": hunted.run }),
        );
        hunted
    }

    fn make(&self, experiment: &Value) -> String {
        let made = self.post("runs/create", &json!({ "experiment_id": experiment }));
        made["run"]["info"]["run_id"].as_str().expect("an id").to_owned()
    }

    pub(crate) fn send(&self, method: &Method, address: &str, body: Vec<u8>) -> (u16, Value) {
        let request = Request::builder().method(method).uri(address).body(body).expect("a request");
        let response = self.runtime.block_on(self.door.call(request));
        (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or_default())
    }

    fn post(&self, address: &str, body: &Value) -> Value {
        let (status, answer) =
            self.send(&Method::POST, &format!("{}/{address}", ROOTS[0]), body.to_string().into_bytes());
        assert_eq!(status, 200, "{address}: {answer}");
        answer
    }

    /// Sends a hostile request; what is wrong with the answer.
    fn suffers(&self, hostile: &Hostile) -> Result<(), TestCaseError> {
        let (filter, endpoint, _) = ENDPOINTS[hostile.endpoint.index(ENDPOINTS.len())];
        let methods = [
            (Method::GET, MethodFilter::GET),
            (Method::POST, MethodFilter::POST),
            (Method::PATCH, MethodFilter::PATCH),
            (Method::DELETE, MethodFilter::DELETE),
        ];
        let methods: Vec<Method> =
            methods.into_iter().filter(|(_, one)| filter.or(*one) == filter).map(|(method, _)| method).collect();
        let method = &methods[hostile.method.index(methods.len())];
        let part = if hostile.part.is_empty() { "m-0".into() } else { encoded(&hostile.part) };
        let address = endpoint.replace("{model_id}", &part).replace("{tag_key}", &part);
        let mut address = format!("{}{address}", ROOTS[hostile.root]);
        let mut fields: serde_json::Map<String, Value> =
            hostile.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        if hostile.is_known {
            fields.insert("run_id".into(), json!(self.run));
            fields.insert("experiment_ids".into(), json!(["0"]));
        }
        let mut body = Vec::new();
        if method == Method::GET {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let pairs = fields.iter().map(|(name, value)| format!("{name}={}", encoded(&text(value))));
            address = format!("{address}?{}", pairs.collect::<Vec<_>>().join("&"));
        } else {
            body = hostile.bytes.clone().unwrap_or_else(|| Value::Object(fields).to_string().into_bytes());
        }
        if address.len() > 60_000 {
            return Ok(());
        }
        let (status, answer) = self.send(method, &address, body);
        prop_assert!(status < 500 || status == 501, "{method} {address}: {status} {answer}");
        let says_why =
            answer["error_code"].is_string() && answer["message"].as_str().is_some_and(|why| !why.is_empty());
        prop_assert!(status == 200 || says_why, "{method} {address}: {status} {answer}");
        Ok(())
    }

    /// Whether everything is readable, whole, and as it was where nobody may touch it.
    pub(crate) fn is_whole(&self) -> Result<(), TestCaseError> {
        let (status, runs) = self.send(&Method::GET, path::RUNS, Vec::new());
        prop_assert_eq!(status, 200, "{}", runs);
        for run in runs["runs"].as_array().into_iter().flatten() {
            let id = &run["id"];
            for address in [format!("{}/{id}", path::RUNS), format!("{}?runs={id}", path::SERIES)] {
                let (status, answer) = self.send(&Method::GET, &address, Vec::new());
                prop_assert_eq!(status, 200, "{}: {}", address, answer);
            }
        }
        for address in [path::EXPERIMENTS, path::ALERTS, path::MODELS, path::JOBS] {
            let (status, answer) = self.send(&Method::GET, address, Vec::new());
            prop_assert_eq!(status, 200, "{}: {}", address, answer);
        }
        let address = format!("{}/metrics/get-history?run_id={}&metric_key=a", ROOTS[0], self.kept);
        let (_, history) = self.send(&Method::GET, &address, Vec::new());
        let values = history["metrics"].as_array().into_iter().flatten().map(|point| point["value"].as_f64());
        prop_assert!(values.eq((0..POINTS).map(|n| Some(n as f64))), "{history}");
        let (_, checks) = self.send(&Method::GET, &format!("{}?deep=true", path::DOCTOR), Vec::new());
        let is_wrong = |check: &&Value| check["ok"] == json!(false);
        prop_assert!(!checks.as_array().expect("checks").iter().any(|check| is_wrong(&check)), "{checks}");
        let mut beside: Vec<_> = names(self.folder.path());
        beside.sort();
        prop_assert_eq!(beside, [".assay", "outside"]);
        prop_assert_eq!(std::fs::read_to_string(self.folder.path().join("outside")).ok(), Some("as it was".into()));
        Ok(())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

pub(crate) fn runner() -> TestRunner {
    TestRunner::new(Config { failure_persistence: None, ..Config::default() })
}

#[test]
fn no_request_makes_it_fail_or_touches_what_is_of_others() {
    let hunted = Hunted::new();
    runner()
        .run(&prop::collection::vec(hostile(), 1..16), |requests| {
            requests.iter().try_for_each(|request| hunted.suffers(request))
        })
        .unwrap_or_else(|why| panic!("{why}"));
    hunted.is_whole().unwrap_or_else(|why| panic!("{why}"));
    hunted.runtime.block_on(hunted.door.close());
}

#[test]
fn no_path_of_a_file_leads_out_of_the_workspace() {
    let hunted = Hunted::new();
    let parts = || {
        let part = prop_oneof![
            select(vec![
                "..",
                ".",
                "",
                "%2e%2e",
                "%2E%2e%2F",
                "..%2f",
                "%5c..",
                "a",
                "b.txt",
                "%00",
                "C:",
                "outside",
                "~"
            ])
            .prop_map(str::to_owned),
            any::<String>().prop_map(|text| encoded(&text)),
        ];
        prop::collection::vec(part, 1..8)
    };
    let methods = select(vec![Method::PUT, Method::GET, Method::DELETE, Method::POST]);
    let places = select(vec!["artifacts/", "artifacts?path=", "mpu/create/"]);
    let requests = (methods, places, parts(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..40));
    runner()
        .run(&requests, |(method, place, parts, is_long, bytes)| {
            let times = if is_long { 20 } else { 1 };
            let address = format!("/api/2.0/mlflow-artifacts/{place}{}", vec![parts.join("/"); times].join("/"));
            let (status, answer) = hunted.send(&method, &address, bytes);
            prop_assert!(status < 500 || status == 501, "{method} {address}: {status} {answer}");
            Ok(())
        })
        .unwrap_or_else(|why| panic!("{why}"));
    hunted.is_whole().unwrap_or_else(|why| panic!("{why}"));
    hunted.runtime.block_on(hunted.door.close());
}

#[test]
fn points_and_times_at_the_ends_of_what_is_possible_are_kept_and_shown() {
    let hunted = Hunted::new();
    let whole = || prop_oneof![2 => any::<i64>(), 1 => select(vec![i64::MIN, i64::MAX, 0, -1])];
    let value = prop_oneof![
        prop::num::f64::ANY.prop_map(|number| match number {
            number if number.is_finite() => json!(number),
            number if number.is_nan() => json!("NaN"),
            number => json!(if number > 0.0 { "Infinity" } else { "-Infinity" }),
        }),
        Just(json!(f64::MAX)),
        Just(json!(-f64::MAX)),
    ];
    let time = prop_oneof![2 => 0..=i64::MAX, 1 => select(vec![0, i64::MAX])];
    let points = prop::collection::vec((whole(), time, value), 1..20);
    runner()
        .run(&(whole(), whole(), points), |(start, end, points)| {
            let made = hunted.post("runs/create", &json!({ "experiment_id": "0", "start_time": start }));
            let run = made["run"]["info"]["run_id"].as_str().expect("an id");
            let metrics: Vec<Value> = points
                .iter()
                .map(|(step, at, value)| json!({ "key": "m", "value": value, "timestamp": at, "step": step }))
                .collect();
            hunted.post("runs/log-batch", &json!({ "run_id": run, "metrics": metrics }));
            hunted.post("runs/update", &json!({ "run_id": run, "status": "FINISHED", "end_time": end }));
            let address = format!("{}/metrics/get-history?run_id={run}&metric_key=m", ROOTS[0]);
            let (status, history) = hunted.send(&Method::GET, &address, Vec::new());
            prop_assert_eq!(status, 200, "{}", history);
            prop_assert_eq!(history["metrics"].as_array().map_or(0, Vec::len), points.len());
            let (_, found) = hunted.send(&Method::GET, &format!("{}/find/{run}", path::RUNS), Vec::new());
            for address in [
                format!("{}/{found}", path::RUNS),
                format!("{}?runs={found}&buckets=7", path::SERIES),
                format!("{}?runs={found},1", path::COMPARE),
            ] {
                let (status, answer) = hunted.send(&Method::GET, &address, Vec::new());
                prop_assert_eq!(status, 200, "{}: {}", address, answer);
            }
            let address = format!("{}?runs={found}&key=m", path::CHART);
            let (status, answer) = hunted.send(&Method::GET, &address, Vec::new());
            let has_finite = points.iter().any(|(.., value)| value.is_number());
            prop_assert_eq!(status, if has_finite { 200 } else { 404 }, "{}: {}", address, answer);
            Ok(())
        })
        .unwrap_or_else(|why| panic!("{why}"));
    hunted.is_whole().unwrap_or_else(|why| panic!("{why}"));
    hunted.runtime.block_on(hunted.door.close());
}
