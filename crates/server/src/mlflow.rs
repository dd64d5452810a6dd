//! The REST API that MLflow's clients speak, over Assay's own runs, experiments and files.
//!
//! A handler reads the fields of a request, calls the engine and writes the answer in MLflow's shapes. Codes, messages and
//! limits are those of MLflow 3, since clients act on them; what makes no sense is never an internal error, which they would
//! send again. Traces, prompts, scorers, gateways and webhooks are not here and say so.

mod artifacts;
mod experiments;
mod failure;
mod fields;
#[cfg(test)]
pub(crate) mod hostile;
mod logged;
mod metrics;
mod operands;
mod registry;
mod runs;
mod wire;

use crate::api::{unless_too_large, work};
use assay_engine::Engine;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::Response;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::map_response;
use axum::response::IntoResponse;
use axum::routing::{MethodFilter, MethodRouter, on};
use failure::{Code, Failure};
use fields::Fields;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// The release whose API this is.
const VERSION: &str = "3.8.1";
/// Where the API is; clients use the second from browsers.
const ROOTS: [&str; 2] = ["/api/2.0/mlflow", "/ajax-api/2.0/mlflow"];
/// A request of JSON may be as large as this.
const LARGEST_BODY: usize = 32 << 20;

type Answer<T = Value> = Result<T, Failure>;
type Handler = fn(&Engine, &Fields) -> Answer;
/// Answers bodies that it knows, and only those.
type Quick = fn(&Engine, &[u8]) -> Option<Answer>;

/// Every request of JSON: method, path below the root, and who answers it.
const ENDPOINTS: &[(MethodFilter, &str, Handler)] = &[
    (MethodFilter::POST, "/experiments/create", experiments::create),
    (MethodFilter::GET, "/experiments/get", experiments::get),
    (MethodFilter::GET, "/experiments/get-by-name", experiments::get_by_name),
    (MethodFilter::POST.or(MethodFilter::GET), "/experiments/search", experiments::search),
    (MethodFilter::POST, "/experiments/update", experiments::update),
    (MethodFilter::POST, "/experiments/delete", experiments::delete),
    (MethodFilter::POST, "/experiments/restore", experiments::restore),
    (MethodFilter::POST, "/experiments/set-experiment-tag", experiments::set_tag),
    (MethodFilter::POST, "/experiments/delete-experiment-tag", experiments::delete_tag),
    (MethodFilter::POST, "/runs/create", runs::create),
    (MethodFilter::GET, "/runs/get", runs::get),
    (MethodFilter::POST, "/runs/update", runs::update),
    (MethodFilter::POST, "/runs/delete", runs::delete),
    (MethodFilter::POST, "/runs/restore", runs::restore),
    (MethodFilter::POST, "/runs/search", runs::search),
    (MethodFilter::POST, "/runs/set-tag", runs::set_tag),
    (MethodFilter::POST, "/runs/delete-tag", runs::delete_tag),
    (MethodFilter::POST, "/runs/log-parameter", runs::log_param),
    (MethodFilter::POST, "/runs/log-metric", metrics::log_metric),
    (MethodFilter::POST, "/runs/log-batch", metrics::log_batch),
    (MethodFilter::GET, "/metrics/get-history", metrics::history),
    (MethodFilter::GET, "/metrics/get-history-bulk", metrics::history_bulk),
    (MethodFilter::GET, "/metrics/get-history-bulk-interval", metrics::history_bulk_interval),
    (MethodFilter::GET, "/artifacts/list", artifacts::list_of_run),
    (MethodFilter::POST, "/runs/log-inputs", logged::log_inputs),
    (MethodFilter::POST, "/runs/outputs", logged::log_outputs),
    (MethodFilter::POST, "/runs/log-model", logged::log_model),
    (MethodFilter::POST, "/experiments/search-datasets", logged::search_datasets),
    (MethodFilter::POST, "/logged-models", logged::create),
    (MethodFilter::POST, "/logged-models/search", logged::search),
    (MethodFilter::GET, "/logged-models/{model_id}", logged::get),
    (MethodFilter::PATCH, "/logged-models/{model_id}", logged::finalize),
    (MethodFilter::DELETE, "/logged-models/{model_id}", logged::delete),
    (MethodFilter::POST, "/logged-models/{model_id}/params", logged::log_params),
    (MethodFilter::PATCH, "/logged-models/{model_id}/tags", logged::set_tags),
    (MethodFilter::DELETE, "/logged-models/{model_id}/tags/{tag_key}", logged::delete_tag),
    (MethodFilter::GET, "/logged-models/{model_id}/artifacts/directories", artifacts::list_of_model),
    (MethodFilter::POST, "/registered-models/create", registry::create),
    (MethodFilter::POST, "/registered-models/rename", registry::rename),
    (MethodFilter::PATCH, "/registered-models/update", registry::update),
    (MethodFilter::DELETE, "/registered-models/delete", registry::delete),
    (MethodFilter::GET, "/registered-models/get", registry::get),
    (MethodFilter::GET, "/registered-models/search", registry::search),
    (MethodFilter::POST.or(MethodFilter::GET), "/registered-models/get-latest-versions", registry::latest_versions),
    (MethodFilter::POST, "/registered-models/set-tag", registry::set_tag),
    (MethodFilter::DELETE, "/registered-models/delete-tag", registry::delete_tag),
    (MethodFilter::POST, "/registered-models/alias", registry::set_alias),
    (MethodFilter::DELETE, "/registered-models/alias", registry::delete_alias),
    (MethodFilter::GET, "/registered-models/alias", registry::get_by_alias),
    (MethodFilter::POST, "/model-versions/create", registry::create_version),
    (MethodFilter::PATCH, "/model-versions/update", registry::update_version),
    (MethodFilter::POST, "/model-versions/transition-stage", registry::move_version),
    (MethodFilter::DELETE, "/model-versions/delete", registry::delete_version),
    (MethodFilter::GET, "/model-versions/get", registry::get_version),
    (MethodFilter::GET, "/model-versions/search", registry::search_versions),
    (MethodFilter::GET, "/model-versions/get-download-uri", registry::download_uri),
    (MethodFilter::POST, "/model-versions/set-tag", registry::set_version_tag),
    (MethodFilter::DELETE, "/model-versions/delete-tag", registry::delete_version_tag),
];

/// The routes of the API.
pub(crate) fn router(engine: Arc<Engine>) -> Router {
    let mut router = Router::new();
    for root in ROOTS {
        for (method, path, handler) in ENDPOINTS {
            let quick = (*path == "/runs/log-batch").then_some(metrics::log_plain_batch as Quick);
            router = router.route(&format!("{root}{path}"), endpoint(*method, *handler, quick));
        }
    }
    for root in ["/api/3.0/mlflow", "/ajax-api/3.0/mlflow"] {
        // Of another kind of store than clients know by name.
        let info = async || json(&serde_json::json!({ "store_type": null, "workspaces_enabled": false }));
        router = router.route(&format!("{root}/server-info"), axum::routing::get(info));
    }
    router
        .route("/version", axum::routing::get(async || VERSION))
        .route("/health", axum::routing::get(async || "OK"))
        .merge(artifacts::router())
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(map_response(async |answer| {
            unless_too_large(answer, LARGEST_BODY, |why| Failure::invalid(why).into_response())
        }))
        .with_state(engine)
}

/// What is below the roots and is not there.
pub(crate) fn missing(path: &str) -> Option<Response<Body>> {
    let roots = ["/api/2.0/mlflow", "/ajax-api/2.0/mlflow", "/api/3.0/mlflow", "/ajax-api/3.0/mlflow"];
    roots.iter().any(|root| path.starts_with(root)).then(|| {
        let message = format!("Assay has no {path}: of MLflow it has tracking, artifacts and the model registry");
        Failure::new(Code::EndpointNotFound, message).into_response()
    })
}

fn endpoint(method: MethodFilter, handler: Handler, quick: Option<Quick>) -> MethodRouter<Arc<Engine>> {
    on(
        method,
        async move |State(engine): State<Arc<Engine>>,
                    Path(of_path): Path<HashMap<String, String>>,
                    RawQuery(query): RawQuery,
                    body: Bytes| {
            let answered = work(engine, move |engine| {
                if let Some(found) = quick.and_then(|quick| quick(engine, &body)) {
                    return Ok(found.map_or_else(Failure::into_response, |value| json(&value)));
                }
                let fields = match body.is_empty() {
                    true => Ok(Fields::of_query(&query.unwrap_or_default())),
                    false => Fields::of_body(&body),
                };
                let found = fields.and_then(|fields| handler(engine, &fields.with(of_path)));
                Ok(found.map_or_else(Failure::into_response, |value| json(&value)))
            });
            answered.await.unwrap_or_else(IntoResponse::into_response)
        },
    )
}

fn json(value: &Value) -> Response<Body> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    Response::builder().header(CONTENT_TYPE, "application/json").body(Body::from(body)).unwrap_or_default()
}
